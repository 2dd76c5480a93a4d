package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// delayed is a message to be delivered later.
func delayed(value string, d time.Duration) leat.Message {
	return leat.Message{Value: []byte(value), Delay: d}
}

// takeLate is take for a bubble of virtual time, in which messages may come years later.
func takeLate(t *testing.T, sub *leat.Subscription, n int) []*leat.Message {
	t.Helper()
	var got []*leat.Message
	for m, err := range sub.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, m.Clone()); len(got) == n {
			break
		}
	}
	return got
}

// waiting gives the number of delayed messages that wait, once the loop knows of all.
func (b *bed) waiting() int {
	b.t.Helper()
	n := 0
	if err := b.node.delays.do(soon(b.t), "count", func(l *delayLoop) { n = l.state.Waiting() }); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// listed gives the values of Key of the messages that wait, by due time.
func listed(t *testing.T, bus *leat.Bus, filter leat.DelayFilter) string {
	t.Helper()
	var keys []string
	for {
		page, err := bus.Delayed(soon(t), filter)
		if err != nil {
			t.Fatalf("Delayed: %v", err)
		}
		for _, m := range page.Messages {
			keys = append(keys, string(m.Key))
		}
		if page.Next == "" {
			return strings.Join(keys, " ")
		}
		filter.After = page.Next
	}
}

func TestDelayedMessagesAreDeliveredWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{}, InMemory())
		p, sub := b.producer("t"), b.subscribe("t", leat.From(leat.Earliest))
		began := time.Now()
		r := publish(t, p, delayed("an hour", time.Hour))
		if r.Offset != -1 || r.Handle == "" || r.Topic != "t" || r.Time.IsZero() {
			t.Errorf("receipt %+v", r)
		}
		publish(t, p, leat.Message{Value: []byte("a minute"), DeliverAt: began.Add(time.Minute),
			Key:     []byte("k"),
			Headers: []leat.Header{{Key: "h", Value: []byte("v")}}})
		publish(t, p, leat.Message{Value: []byte("the past"), DeliverAt: began.Add(-time.Hour)})
		publish(t, p, text("now"))
		answers := make(chan leat.Receipt, 1)
		p.PublishAsync(delayed("a second", time.Second), func(r leat.Receipt, err error) {
			if err != nil {
				t.Errorf("PublishAsync: %v", err)
			}
			answers <- r
		})
		if err := p.TryPublish(delayed("two seconds", 2*time.Second)); err != nil {
			t.Errorf("TryPublish: %v", err)
		}
		if r := receive(t, "the answer", answers); r.Handle == "" || r.Offset != -1 {
			t.Errorf("receipt %+v", r)
		}
		publish(t, p, delayed("days", 40*24*time.Hour))
		got := takeLate(t, sub, 7)
		if want := "now the past a second two seconds a minute an hour days"; values(got) != want &&
			values(got) != strings.Replace(want, "now the past", "the past now", 1) {
			t.Fatalf("delivered %q, want %q", values(got), want)
		}
		dues := []time.Duration{0, 0, time.Second, 2 * time.Second, time.Minute, time.Hour,
			40 * 24 * time.Hour}
		for i, m := range got {
			if late := m.Time.Sub(began) - dues[i]; late < 0 || late > 2*time.Millisecond {
				t.Errorf("%s was delivered %v after it was due", m.Value, late)
			}
			if m.Offset != int64(i) {
				t.Errorf("%s has offset %d, want %d", m.Value, m.Offset, i)
			}
		}
		m := got[4]
		if string(m.Key) != "k" || len(m.Headers) != 2 || m.Headers[0].Key != core.DelayIDHeader ||
			m.Headers[1].Key != "h" || string(m.Headers[1].Value) != "v" {
			t.Errorf("delivered with key %q, headers %v", m.Key, m.Headers)
		}
		if got := string(got[5].Headers[0].Value); got != r.Handle {
			t.Errorf("delivered with handle %s, want %s", got, r.Handle)
		}
	})
}

// TestDelayedTimeToLive: what a delayed message has to live begins when it is delivered, not when it is
// stored; and it is over then as that of any message.
func TestDelayedTimeToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{}, InMemory())
		p := b.producer("t")
		publish(t, p, leat.Message{Value: []byte("short"), TTL: time.Second, Delay: time.Hour,
			Headers: []leat.Header{{Key: "h", Value: []byte("v")}}})
		publish(t, p, leat.Message{Value: []byte("long"), TTL: time.Hour, Delay: time.Hour})
		began := time.Now()
		got := takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 2)
		if values(got) != "short long" || got[0].TTL != time.Second || got[1].TTL != time.Hour {
			t.Fatalf("delivered %q, to live %v and %v", values(got), got[0].TTL, got[1].TTL)
		}
		if h := got[0].Headers; len(h) != 2 || h[0].Key != core.DelayIDHeader || h[1].Key != "h" {
			t.Errorf("delivered with headers %v", h)
		}
		if time.Since(began) < time.Hour {
			t.Errorf("delivered after %v", time.Since(began))
		}
		pass(time.Minute)
		if got := values(takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), 1)); got != "long" {
			t.Errorf("a minute later %q is delivered, want long", got)
		}
	})
}

func TestDelayedMessagesAreRefused(t *testing.T) {
	b := one(t, leat.TopicConfig{MaxRecordBytes: 1024}, InMemory())
	p := b.producer("t")
	now := time.Now()
	tests := []struct {
		name string
		m    leat.Message
		want error
	}{
		{"both", leat.Message{Delay: time.Second, DeliverAt: now}, leat.ErrInvalidRecord},
		{"with an ID", leat.Message{ID: "x", Delay: time.Second}, leat.ErrInvalidRecord},
		{"with a TTL too long", leat.Message{TTL: core.MaxTTL + 1, Delay: time.Second}, leat.ErrInvalidRecord},
		{"too short", delayed("", time.Millisecond-1), leat.ErrInvalidRecord},
		{"negative", delayed("", -time.Second), leat.ErrInvalidRecord},
		{"too long", delayed("", core.MaxDelay+1), leat.ErrInvalidRecord},
		{"too late", leat.Message{DeliverAt: now.Add(core.MaxDelay + time.Hour)}, leat.ErrInvalidRecord},
		{"the year 9999", leat.Message{DeliverAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
			leat.ErrInvalidRecord},
		{"too large", delayed(strings.Repeat("x", 990), time.Second), leat.ErrRecordTooLarge},
		{"too many headers", leat.Message{Headers: make([]leat.Header, core.MaxHeaders), Delay: time.Second},
			leat.ErrInvalidRecord},
	}
	for _, tt := range tests {
		_, err := p.Publish(soon(t), tt.m)
		wantError(t, tt.name, err, tt.want)
		wantError(t, tt.name+", TryPublish", p.TryPublish(tt.m), tt.want)
		answer := make(chan error, 1)
		p.PublishAsync(tt.m, func(_ leat.Receipt, err error) { answer <- err })
		wantError(t, tt.name+", PublishAsync", receive(t, tt.name, answer), tt.want)
	}
	_, err := p.PublishBatch(soon(t), []leat.Message{text("a"), delayed("b", time.Second)})
	wantError(t, "PublishBatch", err, leat.ErrInvalidRecord)
	_, err = b.Delayed(soon(t), leat.DelayFilter{Limit: -1})
	wantError(t, "a limit of -1", err, leat.ErrInvalidConfig)
	_, err = b.Delayed(soon(t), leat.DelayFilter{After: "1.2"})
	wantError(t, "a page that is none", err, leat.ErrInvalidConfig)
	_, err = b.Delayed(soon(t), leat.DelayFilter{Topic: "u"})
	wantError(t, "an unknown topic", err, leat.ErrTopicNotFound)
	_, err = b.CancelDelayed(soon(t), "d1.x")
	wantError(t, "a handle that is none", err, leat.ErrInvalidRecord)
	_, _, err = b.Reschedule(soon(t), "d1.16.0.0.00000000", now.Add(2*core.MaxDelay))
	wantError(t, "a time too late", err, leat.ErrInvalidRecord)
	if n := b.waiting(); n != 0 {
		t.Errorf("%d messages wait", n)
	}
	none := b.producer("t", leat.WithAck(leat.AckNone))
	if r := publish(t, none, delayed("x", time.Hour)); r.Handle != "" || r.Offset != -1 {
		t.Errorf("receipt at level none: %+v", r)
	}
	eventually(t, "the message at level none waits", func() bool { return b.waiting() == 1 })
}

func TestDelayedCancelAndReschedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{}, InMemory())
		p := b.producer("t")
		wantOutcome := func(what, handle string, want leat.DelayOutcome) {
			t.Helper()
			if got, err := b.CancelDelayed(t.Context(), handle); got != want || err != nil {
				t.Errorf("%s: CancelDelayed = %v, %v; want %v", what, got, err, want)
			}
		}
		first := publish(t, p, delayed("first", time.Minute)).Handle
		second := publish(t, p, delayed("second", time.Minute)).Handle
		third := publish(t, p, delayed("third", time.Minute)).Handle
		wantOutcome("first", first, leat.DelayCancelled)
		wantOutcome("first again", first, leat.DelayCancelled)
		h, _ := core.ParseDelayHandle(second)
		h.Tag++
		wantOutcome("another tag", h.String(), leat.DelayUnknown)
		h.Offset += 1000
		wantOutcome("beyond the end", h.String(), leat.DelayUnknown)
		moved, outcome, err := b.Reschedule(t.Context(), second, time.Now().Add(time.Hour))
		if outcome != leat.DelayMoved || err != nil || moved == second || moved == "" {
			t.Fatalf("Reschedule = %s, %v, %v", moved, outcome, err)
		}
		wantOutcome("the old handle", second, leat.DelayMoved)
		again, outcome, err := b.Reschedule(t.Context(), second, time.Now())
		if again != "" || outcome != leat.DelayMoved || err != nil {
			t.Errorf("Reschedule of an old handle = %q, %v, %v", again, outcome, err)
		}
		sub := b.subscribe("t", leat.From(leat.Earliest))
		began := time.Now()
		got := takeLate(t, sub, 1)
		if values(got) != "third" {
			t.Fatalf("delivered %q, want third", values(got))
		}
		synctest.Wait()
		wantOutcome("third", third, leat.DelayFired)
		if again, outcome, err := b.Reschedule(t.Context(), third, time.Now()); again != "" ||
			outcome != leat.DelayFired ||
			err != nil {
			t.Errorf("Reschedule of a delivered message = %q, %v, %v", again, outcome, err)
		}
		moved, outcome, err = b.Reschedule(t.Context(), moved, time.Now().Add(-time.Hour)) // at once
		if outcome != leat.DelayMoved || err != nil {
			t.Fatalf("Reschedule = %s, %v, %v", moved, outcome, err)
		}
		if got = takeLate(t, sub, 1); values(got) != "second" || time.Since(began) > 2*time.Minute {
			t.Errorf("delivered %q after %v, want second", values(got), time.Since(began))
		}
		if string(got[0].Headers[0].Value) != moved {
			t.Errorf("delivered as %s, want %s", got[0].Headers[0].Value, moved)
		}
	})
}

func TestDelayedList(t *testing.T) {
	b := newBed(t, WithTopic("t", leat.TopicConfig{}), WithTopic("u", leat.TopicConfig{}))
	p, q := b.producer("t"), b.producer("u")
	base := time.Now().Add(time.Hour).Truncate(time.Second)
	for i := range 30 {
		m := leat.Message{Key: fmt.Appendf(nil, "k%02d", i),
			DeliverAt: base.Add(time.Duration(i*7%30) * time.Minute)}
		publish(t, p, m)
		if i%10 == 0 {
			publish(t, q, leat.Message{Key: m.Key, DeliverAt: m.DeliverAt.Add(time.Second)})
		}
	}
	var byDue []string
	for minute := range 30 {
		for i := range 30 {
			if i*7%30 == minute {
				byDue = append(byDue, fmt.Sprintf("k%02d", i))
			}
		}
	}
	if got, want := listed(t, b.Bus, leat.DelayFilter{Topic: "t"}), strings.Join(byDue, " "); got != want {
		t.Errorf("listed %s, want %s", got, want)
	}
	if got, want := listed(t, b.Bus, leat.DelayFilter{Topic: "t", Limit: 7}), strings.Join(byDue,
		" "); got != want {
		t.Errorf("listed by pages %s, want %s", got, want)
	}
	if got := listed(t, b.Bus, leat.DelayFilter{Limit: 4}); len(strings.Fields(got)) != 33 {
		t.Errorf("listed of all topics %s", got)
	}
	if got := listed(t, b.Bus, leat.DelayFilter{Topic: "u"}); got != "k00 k10 k20" {
		t.Errorf("listed of u %s", got)
	}
	if got := listed(t, b.Bus, leat.DelayFilter{Key: []byte("k10")}); got != "k10 k10" {
		t.Errorf("listed of k10 %s", got)
	}
	span := leat.DelayFilter{Topic: "t", From: base.Add(5 * time.Minute), To: base.Add(8 * time.Minute)}
	if got, want := listed(t, b.Bus, span), strings.Join(byDue[5:8], " "); got != want {
		t.Errorf("listed of a span %s, want %s", got, want)
	}
	page, err := b.Delayed(soon(t), leat.DelayFilter{Topic: "t", Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if m := page.Messages[0]; m.Topic != "t" || m.Partition != 0 || !m.Due.Equal(base) || m.Stored.IsZero() ||
		m.Bytes != 32 {
		t.Errorf("listed %+v", m)
	}
	if outcome, err := b.CancelDelayed(soon(t), page.Messages[0].Handle); outcome != leat.DelayCancelled ||
		err != nil {
		t.Errorf("CancelDelayed = %v, %v", outcome, err)
	}
	if got, want := listed(t, b.Bus, leat.DelayFilter{Topic: "t"}), strings.Join(byDue[1:],
		" "); got != want {
		t.Errorf("listed %s, want %s", got, want)
	}
}

func TestDelayedMessagesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 3})
		p := b.producer("t")
		gone := publish(t, p, keyed("gone", "gone"))
		_ = gone
		cancelled := publish(t, p, leat.Message{Value: []byte("cancelled"), Delay: time.Hour}).Handle
		moved := publish(t, p, leat.Message{Value: []byte("moved"), Delay: time.Minute}).Handle
		for i := range 20 {
			publish(t, p, leat.Message{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i),
				Delay: time.Duration(20-i) * time.Minute})
		}
		if outcome, err := b.CancelDelayed(t.Context(), cancelled); outcome != leat.DelayCancelled ||
			err != nil {
			t.Fatalf("CancelDelayed = %v, %v", outcome, err)
		}
		if _, outcome, err := b.Reschedule(t.Context(), moved, time.Now().Add(30*time.Minute)); err != nil ||
			outcome != leat.DelayMoved {
			t.Fatalf("Reschedule = %v, %v", outcome, err)
		}
		pass(5*time.Minute + time.Second)
		b = b.reopen()
		for handle, want := range map[string]leat.DelayOutcome{cancelled: leat.DelayCancelled,
			moved: leat.DelayMoved} {
			if outcome, err := b.CancelDelayed(t.Context(), handle); outcome != want || err != nil {
				t.Errorf("after a restart CancelDelayed = %v, %v; want %v", outcome, err, want)
			}
		}
		if n := b.waiting(); n != 16 {
			t.Errorf("after a restart %d messages wait, want 16", n)
		}
		b.close()
		pass(10 * time.Minute) // overdue meanwhile
		b = openBed(t, b.fs)
		sub := b.subscribe("t", leat.From(leat.Earliest))
		seen := map[string]int{}
		for _, m := range takeLate(t, sub, 22) {
			seen[string(m.Value)]++
		}
		for i := range 20 {
			if seen[fmt.Sprint(i)] != 1 {
				t.Errorf("%d was delivered %d times", i, seen[fmt.Sprint(i)])
			}
		}
		if seen["moved"] != 1 || seen["cancelled"] != 0 {
			t.Errorf("moved was delivered %d times, cancelled %d times", seen["moved"], seen["cancelled"])
		}
	})
}

func TestDelayedMessagesGoWithTheirTopic(t *testing.T) {
	b := newBed(t, WithTopic("t", leat.TopicConfig{}), WithTopic("u", leat.TopicConfig{}))
	p, q := b.producer("t"), b.producer("u")
	handle := ""
	for range 3000 {
		p.PublishAsync(delayed("t", time.Hour), nil)
	}
	handle = publish(t, p, delayed("last", time.Hour)).Handle
	publish(t, q, delayed("u", time.Hour))
	if n := b.waiting(); n != 3002 {
		t.Fatalf("%d messages wait, want 3002", n)
	}
	if err := b.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what waited for the topic is gone", func() bool { return b.waiting() == 1 })
	if outcome, err := b.CancelDelayed(soon(t), handle); outcome != leat.DelayDropped || err != nil {
		t.Errorf("CancelDelayed = %v, %v; want dropped", outcome, err)
	}
	b = b.reopen()
	if n := b.waiting(); n != 1 {
		t.Errorf("after a restart %d messages wait, want 1", n)
	}
}

func TestDelayedKeepOrderWithinAMillisecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{}, InMemory())
		p := b.producer("t")
		at := time.Now().Add(time.Minute)
		const n = 5000
		for i := range n {
			p.PublishAsync(leat.Message{Value: fmt.Append(nil, i), DeliverAt: at}, nil)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, m := range takeLate(t, b.subscribe("t", leat.From(leat.Earliest)), n) {
			if string(m.Value) != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, m.Value)
			}
		}
		synctest.Wait()
		stats := b.node.delays.stats.export()
		if stats.Fired != n || stats.Waiting != 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

func TestDelayedWaitForATargetThatTakesNothing(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	b.partition(0).gate.set(true) // as if too much waited for the disk
	handle := publish(t, p, delayed("first", 5*time.Millisecond)).Handle
	publish(t, p, delayed("second", 5*time.Millisecond))
	publish(t, p, delayed("third", 5*time.Millisecond))
	eventually(t, "the target was tried", func() bool {
		blocked := false
		err := b.node.delays.do(soon(t), "look", func(l *delayLoop) {
			for _, lane := range l.targets {
				blocked = lane.Blocked(l.node.clock.Now()/1e6) > 0 && l.state.Waiting() == 3
			}
		})
		return err == nil && blocked
	})
	if outcome, err := b.CancelDelayed(soon(t), handle); outcome != leat.DelayCancelled || err != nil {
		t.Errorf("CancelDelayed = %v, %v", outcome, err)
	}
	b.partition(0).gate.set(false)
	if got := values(take(t, b.subscribe("t", leat.From(leat.Earliest)), 2)); got != "second third" {
		t.Errorf("delivered %q", got)
	}
}

// TestDelayedWaitForATargetThatCannotBeRead: what waits for it is tried seldom, for others are held up by it.
func TestDelayedWaitForATargetThatCannotBeRead(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	handle := publish(t, b.producer("t"), delayed("x", time.Hour)).Handle
	h, err := core.ParseDelayHandle(handle)
	if err != nil {
		t.Fatal(err)
	}
	err = b.node.delays.do(soon(t), "fire", func(l *delayLoop) {
		e, _ := l.state.Remove(h.Offset)
		lane := l.lane(delayTarget{h.Topic, h.Partition})
		part := lane.part
		lane.part = &partition{topic: part.topic} // as if it could not be opened
		if err := l.fireOne(e, 1000); err != nil {
			t.Errorf("fireOne: %v", err)
		}
		lane.part = part
		if lane.Blocked(1000) != 11_000 || l.state.State(h.Offset) != core.DelayWaiting {
			t.Errorf("the target is tried again at %d, the message has state %d", lane.Blocked(1000),
				l.state.State(h.Offset))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDelayedEndsThatWereRefused: an end that a full disk refused is written again once the log goes on, and
// until then no mark says that it is there.
func TestDelayedEndsThatWereRefused(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	var lost []core.DelayHandle
	for range 3 {
		h, err := core.ParseDelayHandle(publish(t, p, delayed("delivered", time.Hour)).Handle)
		if err != nil {
			t.Fatal(err)
		}
		lost = append(lost, h)
	}
	var lane *delayLane
	err := b.node.delays.do(soon(t), "lose ends", func(l *delayLoop) {
		lane = l.lane(delayTarget{lost[0].Topic, lost[0].Partition})
		for i, h := range lost {
			r, _, _, err := recordAt(l.records, h.Offset)
			d, err2 := core.DecodeDelayRecord(&r)
			if err != nil || err2 != nil {
				t.Errorf("message %d: %v, %v", i, err, err2)
				return
			}
			l.state.Remove(h.Offset)
			lane.Sent()
			lane.Stored()
			l.ending.Add(core.DelayEnding{Lane: &lane.DelayLane, Key: d.Key, At: int64(i), Offset: h.Offset})
		}
		l.readBack(lost[2].Offset)
		if at, write := lane.NextMark(true, 3); write || lane.Idle() {
			t.Errorf("a mark at %d is due %v, idle %v; want neither while two ends are missing", at, write,
				lane.Idle())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ends are there", func() bool {
		there := false
		err := b.node.delays.do(soon(t), "look", func(l *delayLoop) {
			at, due := lane.NextMark(true, 3)
			marked := due && at == 2 || lane.Since(0, 3) == 2
			there = l.ending.Len() == 0 && lane.Idle() && marked
			for _, h := range lost[:2] {
				there = there && l.state.Outcome(h.Offset, h.Tag) == core.DelayFired
			}
		})
		return err == nil && there
	})
}

// TestDelayedEndThatIsTheLast: an end that was refused is written again also where no other one follows.
func TestDelayedEndThatIsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{})
		h, err := core.ParseDelayHandle(publish(t, b.producer("t"), delayed("delivered", time.Hour)).Handle)
		if err != nil {
			t.Fatal(err)
		}
		var lane *delayLane
		mustDo(t, "lose the end", b.node.delays.do(t.Context(), "test", func(l *delayLoop) {
			lane = l.lane(delayTarget{h.Topic, h.Partition})
			r, _, _, err := recordAt(l.records, h.Offset)
			d, err2 := core.DecodeDelayRecord(&r)
			if err != nil || err2 != nil {
				t.Errorf("%v, %v", err, err2)
				return
			}
			l.state.Remove(h.Offset)
			lane.Sent()
			lane.Stored()
			l.ending.Add(core.DelayEnding{Lane: &lane.DelayLane, Key: d.Key, Offset: h.Offset})
		}))
		<-time.After(2 * time.Second)
		mustDo(t, "look", b.node.delays.do(t.Context(), "test", func(l *delayLoop) {
			if outcome := l.state.Outcome(h.Offset, h.Tag); outcome != core.DelayFired ||
				l.ending.Len() != 0 || !lane.Idle() {
				t.Errorf("ended as %v, %d ends are on their way, idle %v", outcome, l.ending.Len(), lane.Idle())
			}
		}))
	})
}

// TestDelayedEndsThatAreFound: the end of a message that its target has when the node is opened is among
// those that are written again if they are refused, and no mark passes it before it is there.
func TestDelayedEndsThatAreFound(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	text := publish(t, b.producer("t"), delayed("delivered", time.Hour)).Handle
	h, err := core.ParseDelayHandle(text)
	if err != nil {
		t.Fatal(err)
	}
	var lane *delayLane
	err = b.node.delays.do(soon(t), "find", func(l *delayLoop) {
		lane = l.lane(delayTarget{h.Topic, h.Partition})
		if err := l.delivered(lane, text, 7); err != nil {
			t.Errorf("delivered: %v", err)
		}
		if at, due := lane.NextMark(true, 8); l.ending.Len() != 1 || lane.Idle() || due {
			t.Errorf("%d ends are on their way, idle %v, a mark at %d is due %v", l.ending.Len(),
				lane.Idle(), at, due)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end is there", func() bool {
		there := false
		err := b.node.delays.do(soon(t), "look", func(l *delayLoop) {
			there = l.ending.Len() == 0 && lane.Idle() && l.state.Outcome(h.Offset, h.Tag) == core.DelayFired
		})
		return err == nil && there
	})
}

// TestDelayedChangesThatWereRefused: a message waits on where the record that was to replace it is refused.
func TestDelayedChangesThatWereRefused(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	handle := publish(t, b.producer("t"), delayed("x", time.Hour)).Handle
	held, _, err := b.node.delays.hold(soon(t), "test", handle)
	if err != nil || held == nil || b.waiting() != 0 {
		t.Fatalf("hold = %v, %v; %d messages wait", held, err, b.waiting())
	}
	bad := leat.Message{Headers: make([]leat.Header, core.MaxHeaders+1)}
	_, err = b.node.delays.replace(soon(t), "test", held, bad)
	wantError(t, "replace", err, leat.ErrInvalidRecord)
	if n := b.waiting(); n != 1 {
		t.Errorf("%d messages wait, want 1", n)
	}
	if outcome, err := b.CancelDelayed(soon(t), handle); outcome != leat.DelayCancelled || err != nil {
		t.Errorf("CancelDelayed = %v, %v", outcome, err)
	}
}

func TestDelaysEndWithTheirLog(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	handle := publish(t, p, delayed("x", time.Hour)).Handle
	b.node.delays.part.setFault(core.Errorf(core.CodeIO, "test", "broken"))
	publish(t, p, text("others go on"))
	_, err := p.Publish(soon(t), delayed("y", time.Millisecond))
	wantError(t, "Publish", err, core.ErrIO)
	_, err = b.CancelDelayed(soon(t), handle)
	wantError(t, "CancelDelayed", err, core.ErrIO)
	_, err = b.Delayed(soon(t), leat.DelayFilter{})
	wantError(t, "Delayed", err, core.ErrIO)
	if err := b.closeBroken(); err != nil && !errors.Is(err, core.ErrIO) {
		t.Errorf("Close: %v", err)
	}
	_, err = b.CancelDelayed(soon(t), handle)
	if err == nil {
		t.Error("CancelDelayed works on a closed bus")
	}
}

// TestDelayedHaveNoTimeBeforeTheyAreDue: not even where the journal has read the clock before, as on a
// machine that let it wait in between.
func TestDelayedHaveNoTimeBeforeTheyAreDue(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	s, d := b.partition(0).shard, b.node.delays
	s.spinLock()
	defer s.unlock()
	j := &s.journal
	j.begin()
	began := j.time
	for d.firedAt.Load() <= began {
		d.firedAt.Store(b.node.clock.Now() / 1e6 * 1e6)
	}
	if now := j.fresh(&entry{producer: nobody}, began); now != began {
		t.Errorf("another message begins a batch at %d, %d after the last", now, now-began)
	}
	if now := j.fresh(&entry{producer: d.index}, began); now < d.firedAt.Load() || now != j.time {
		t.Errorf("a delayed message has the time %d, it was handed out at %d", now, d.firedAt.Load())
	}
}
