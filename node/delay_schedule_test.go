package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// every is a schedule of topic "t".
func every(name, cron string, missed leat.MissedRuns) leat.Schedule {
	return leat.Schedule{Topic: "t", Name: name, Cron: cron, Missed: missed,
		Message: leat.Message{Value: []byte(name)}}
}

// scheduledAt gives when a run was due, by its header.
func scheduledAt(t *testing.T, m *leat.Message) time.Time {
	t.Helper()
	if len(m.Headers) < 2 || m.Headers[0].Key != core.DelayIDHeader ||
		m.Headers[1].Key != core.ScheduledTimeHeader {
		t.Fatalf("a run with headers %v", m.Headers)
	}
	at, err := time.Parse(core.ScheduledTime, string(m.Headers[1].Value))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// runsOf gives what runs there are and when they were due, as seconds from begin; with + those that came more
// than 10 s late.
func runsOf(t *testing.T, messages []*leat.Message, begin time.Time) string {
	t.Helper()
	var list []string
	for _, m := range messages {
		due, late := scheduledAt(t, m), ""
		if m.Time.Before(due) {
			t.Errorf("the run of %v came at %v", due, m.Time)
		}
		if m.Time.Sub(due) > 10*time.Second {
			late = "+"
		}
		list = append(list, fmt.Sprintf("%s@%d%s", m.Value, int(due.Sub(begin).Seconds()), late))
	}
	return strings.Join(list, " ")
}

func (b *bed) put(s leat.Schedule) {
	b.t.Helper()
	if err := b.PutSchedule(b.t.Context(), s); err != nil {
		b.t.Fatalf("PutSchedule(%+v): %v", s, err)
	}
}

// nextRunWaits gives the run that waits.
func (b *bed) nextRunWaits() leat.DelayedMessage {
	b.t.Helper()
	page, err := b.Delayed(soon(b.t), leat.DelayFilter{})
	if err != nil || len(page.Messages) != 1 {
		b.t.Fatalf("Delayed = %+v, %v; want one run", page, err)
	}
	return page.Messages[0]
}

// TestSchedules: runs come when they are due, whether the node is opened again or not, until the schedule is
// deleted or replaced. Virtual time begins at midnight.
func TestSchedules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 3})
		begin := time.Now()
		b.put(every("a", "*/10 * * * *", leat.MissedOnce))
		b.put(every("b", "@every 15m", leat.MissedOnce))
		got := takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 5)
		if text := runsOf(t, got, begin); text != "a@600 b@900 a@1200 a@1800 b@1800" &&
			text != "a@600 b@900 a@1200 b@1800 a@1800" {
			t.Errorf("runs %s", text)
		}
		synctest.Wait()
		b = b.reopen()
		b.put(every("b", "@every 15m", leat.MissedOnce)) // changes nothing
		if list, err := b.Schedules(t.Context(), "t"); err != nil || len(list) != 2 ||
			!list[1].Next.Equal(begin.Add(45*time.Minute)) {
			t.Errorf("Schedules = %+v, %v; want b to be due at 45 minutes", list, err)
		}
		b.put(every("b", "0 1 * * *", leat.MissedOnce))
		synctest.Wait()
		if n := b.waiting(); n != 2 {
			t.Errorf("%d runs wait, want 2", n)
		}
		deleted, err := b.DeleteSchedule(t.Context(), "t", "a")
		if err != nil || !deleted {
			t.Errorf("DeleteSchedule = %v, %v", deleted, err)
		}
		got = takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 6)
		if text := runsOf(t, got[5:], begin); text != "b@3600" {
			t.Errorf("after that %s", text)
		}
		synctest.Wait()
		if n := b.waiting(); n != 1 {
			t.Errorf("%d runs wait, want 1", n)
		}
		mustDo(t, "DeleteTopic", b.DeleteTopic(t.Context(), "t"))
		synctest.Wait()
		if list, err := b.Schedules(t.Context(), ""); len(list) != 0 || err != nil || b.waiting() != 0 {
			t.Errorf("left when the topic is gone: %+v, %v, %d wait", list, err, b.waiting())
		}
	})
}

// TestMissedRuns: what was due while the node was down comes as the policy says, if the run that waited is
// stored or if it was cut off.
func TestMissedRuns(t *testing.T) {
	for missed, want := range map[leat.MissedRuns]string{
		leat.MissedOnce: "x@60 x@300+ x@360",
		leat.MissedSkip: "x@60 x@360",
		leat.MissedAll:  "x@60 x@120+ x@180+ x@240+ x@300+ x@360",
	} {
		t.Run(missed.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := one(t, leat.TopicConfig{})
				begin := time.Now()
				b.put(every("x", "* * * * *", missed))
				takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 1)
				synctest.Wait()
				b.close()
				pass(4*time.Minute + 29*time.Second)
				b = openBed(t, b.fs)
				got := takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), len(strings.Fields(want)))
				if text := runsOf(t, got, begin); text != want {
					t.Errorf("runs %s, want %s", text, want)
				}
			})
		})
	}
}

// TestTooManyMissedRuns: of more missed runs than there may be the newest come.
func TestTooManyMissedRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{})
		begin := time.Now()
		b.put(every("x", "* * * * *", leat.MissedAll))
		synctest.Wait()
		b.close()
		pass(48*time.Hour + 30*time.Second)
		b = openBed(t, b.fs)
		got := takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 20)
		for i, m := range got {
			want := begin.Add(time.Duration(48*60-core.MaxMissedRuns+1+i) * time.Minute)
			if at := scheduledAt(t, m); !at.Equal(want) {
				t.Fatalf("run %d was due at %v, want %v", i, at, want)
			}
		}
	})
}

// TestRunsThatAreCancelled: a run can be cancelled and rescheduled like any delayed message, and the next one
// comes.
func TestRunsThatAreCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{}, InMemory())
		begin := time.Now()
		b.put(every("x", "@every 1m", leat.MissedSkip))
		synctest.Wait()
		if outcome, err := b.CancelDelayed(t.Context(), b.nextRunWaits().Handle); outcome != leat.DelayCancelled ||
			err != nil {
			t.Fatalf("CancelDelayed = %v, %v", outcome, err)
		}
		synctest.Wait()
		later := begin.Add(170 * time.Second)
		if _, outcome, err := b.Reschedule(t.Context(), b.nextRunWaits().Handle, later); outcome !=
			leat.DelayMoved || err != nil {
			t.Fatalf("Reschedule = %v, %v", outcome, err)
		}
		got := takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 2)
		if text := runsOf(t, got, begin); text != "x@120+ x@180" || got[0].Time.Sub(later) > time.Second {
			t.Errorf("runs %s, the first at %v", text, got[0].Time)
		}
	})
}

// TestRunsThatWereCutOff: whatever of a run's end and of the next run is missing in __delay when the node is
// opened, the schedule goes on, and nothing comes twice.
func TestRunsThatWereCutOff(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	mustDo(t, "PutSchedule", b.PutSchedule(soon(t), every("x", "0 0 1 1 *", leat.MissedOnce)))
	eventually(t, "a run waits", func() bool { return b.waiting() == 1 })
	first := b.nextRunWaits()
	b.deliver(0, "x", first.Handle) // as a node that was cut off then
	b = b.reopen()
	eventually(t, "the next run waits", func() bool {
		return b.waiting() == 1 && b.nextRunWaits().Due.Equal(first.Due.AddDate(1, 0, 0))
	})
	// A power cut took the next run as well, but not what its target has of it.
	var s schedule
	if err := b.node.delays.do(soon(t), "test", func(l *delayLoop) {
		s = *l.plans.byName[scheduleName{b.partition(0).topic.id, "x"}]
	}); err != nil {
		t.Fatal(err)
	}
	lost := core.DelayKey{Random: s.Random, Number: uint64(first.Due.AddDate(2, 0, 0).UnixMilli())}
	h := core.DelayHandle{Topic: s.Topic, Offset: b.node.delays.part.log.End() + 7, Tag: lost.Tag()}
	b.deliver(0, "x", h.String())
	b.deliver(0, "x", b.nextRunWaits().Handle)
	b = b.reopen()
	eventually(t, "the run behind that waits", func() bool {
		return b.waiting() == 1 && b.nextRunWaits().Due.Equal(first.Due.AddDate(3, 0, 0))
	})
	// A run whose schedule is gone: the record that removes it was stored, the end of the run was not.
	gone := core.Schedule{Topic: s.Topic, Name: "x"}
	b.node.delays.stopping.Store(true) // nothing is dropped in this life
	m := leat.Message{Key: gone.EncodeKey(nil)}
	if _, err := b.node.delays.publish("test", core.AckDisk, &m); err != nil {
		t.Fatal(err)
	}
	b.node.delays.stopping.Store(false)
	b = b.reopen()
	eventually(t, "it is dropped", func() bool { return b.waiting() == 0 })
	if list, err := b.Schedules(soon(t), "t"); err != nil || len(list) != 0 {
		t.Errorf("Schedules = %+v, %v", list, err)
	}
}

// TestRunsThatWereRefused: a next run that a full disk does not take is stored once there is room.
func TestRunsThatWereRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{})
		begin := time.Now()
		b.put(every("x", "* * * * *", leat.MissedAll))
		synctest.Wait()
		mustDo(t, "refuse", b.node.delays.do(t.Context(), "test", func(l *delayLoop) {
			s := l.plans.byName[scheduleName{b.partition(0).topic.id, "x"}]
			if s.waits < 0 {
				t.Error("no run waits")
			}
			// As plan is answered when its record was refused.
			l.state.End(core.DelayedEnd{Offset: s.waits, Outcome: core.DelayDropped})
			s.waits, s.last = -1, s.last-60_000
			ticket := l.ticket(delayFiring{plan: s})
			l.settle(&delayDone{ticket: ticket, err: errors.New("full")}, 0)
		}))
		got := takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 2)
		if text := runsOf(t, got, begin); text != "x@60 x@120" {
			t.Errorf("runs %s", text)
		}
	})
}

// TestRunsThatAreDropped: a schedule goes on without the end of a run that it dropped, which a full disk may
// refuse.
func TestRunsThatAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{})
		begin := time.Now()
		b.put(every("x", "* * * * *", leat.MissedSkip))
		synctest.Wait()
		mustDo(t, "drop", b.node.delays.do(t.Context(), "test", func(l *delayLoop) {
			s := l.plans.byName[scheduleName{b.partition(0).topic.id, "x"}]
			key := core.DelayKey{Random: s.Random, Number: uint64(s.last)}
			if err := l.dropRun(key, s.waits); err != nil || s.waits >= 0 {
				t.Errorf("dropped: %v; %d waits", err, s.waits)
			}
		}))
		got := takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 1)
		if text := runsOf(t, got, begin); text != "x@120" {
			t.Errorf("runs %s", text)
		}
	})
}

// TestSchedulesAreBounded: a node has so many, and those that are there can be put again.
func TestSchedulesAreBounded(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage}, InMemory())
	b.put(every("x", "@daily", leat.MissedOnce))
	mustDo(t, "fill", b.node.delays.do(soon(t), "test", func(l *delayLoop) {
		for i := range maxSchedules - 1 {
			l.plans.byName[scheduleName{1, fmt.Sprint(i)}] = &schedule{}
		}
	}))
	if err := b.PutSchedule(soon(t), every("y", "@daily", leat.MissedOnce)); !errors.Is(err, leat.ErrLimited) {
		t.Errorf("one more: %v", err)
	}
	b.put(every("x", "@hourly", leat.MissedOnce))
}

// TestSchedulesThroughPowerCuts: each run of a schedule that has missed many comes once and in order, at
// whatever operations of the disk the power goes.
func TestSchedulesThroughPowerCuts(t *testing.T) {
	minute := time.Now().UTC().Add(-time.Hour).Truncate(time.Minute)
	s := core.Schedule{Name: "x", Level: core.AckDisk, Missed: core.MissedAll, Zone: "UTC",
		Spec:  minute.Format("* 4 15 2 1 *"), // every second of that minute
		Start: minute.Add(-time.Second).UnixNano(), Record: runRecord(t, "x")}
	for seed := range uint64(cut(6, 3)) {
		c := &delayCrash{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 8)), fs: mmaplog.Heap()}
		b := openBed(t, c.fs, WithTopic("t", leat.TopicConfig{Partitions: 2}))
		s.Topic, s.Random = b.partition(0).topic.id, seed+1
		b.node.delays.stopping.Store(true) // no run comes before the power may go
		if _, err := b.node.delays.publish("test", core.AckDisk, &leat.Message{Key: s.EncodeKey(nil),
			Value: s.EncodeValue(nil)}); err != nil {
			t.Fatal(err)
		}
		b.node.delays.stopping.Store(false)
		b.close()
		for life := range 4 {
			c.liveWith(life, func(b *bed, over func() bool) {
				settles(func() bool { return over() || b.caughtUp() })
			})
		}
		c.checkRuns(minute)
		if t.Failed() {
			return
		}
	}
}

// caughtUp reports whether no run is due now.
func (b *bed) caughtUp() bool {
	page, err := b.Delayed(soon(b.t), leat.DelayFilter{})
	return err == nil && len(page.Messages) == 1 && page.Messages[0].Due.After(time.Now())
}

// checkRuns looks for the runs of a minute.
func (c *delayCrash) checkRuns(minute time.Time) {
	c.t.Helper()
	b := openBed(c.t, c.fs, WithTopic("t", leat.TopicConfig{Partitions: 2}))
	defer b.close()
	eventually(c.t, "all runs are there", b.caughtUp)
	if n := b.partition(0).highWater.Load(); n != 60 {
		c.t.Errorf("LEAT_SEED=%d: %d runs, want 60", c.seed, n)
	}
	for i, m := range take(c.t, b.subscribe("t", leat.From(leat.Earliest)), 60) {
		if at := scheduledAt(c.t, m); !at.Equal(minute.Add(time.Duration(i) * time.Second)) {
			c.t.Errorf("LEAT_SEED=%d: run %d was due at %v", c.seed, i, at)
		}
	}
}

func runRecord(t *testing.T, value string) []byte {
	t.Helper()
	size, err := core.EncodedRecordSize(nil, []byte(value), nil)
	if err != nil {
		t.Fatal(err)
	}
	record := make([]byte, size)
	core.PutRecord(record, nil, []byte(value), nil, 0, 0)
	return record
}
