package actors

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

func TestMemberTouchAllocatesNothing(t *testing.T) {
	m := &Member{}
	m.touched.Store(true)
	if n := testing.AllocsPerRun(1000, m.Touch); n != 0 {
		t.Errorf("Touch allocates %v times", n)
	}
}

func TestMemberTouchWakesOnce(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 1)
		before := a.handled(b)
		for range 10_000 {
			a.deliver(0, 1)
			_ = a.ack(0)
		}
		pass(time.Second)
		// One touch, one fold, the answer of the group, and what the answer found touched.
		if n := a.handled(b) - before; n > 6 {
			t.Errorf("10,000 acks cost %d messages of the member, want at most 6", n)
		}
		if got := b.log.offset(testGroup, testTopic, 0); got != 10_000 {
			t.Errorf("stored offset = %d, want 10000", got)
		}
	})
}

// handled is how many messages the member's actor has handled.
func (s *fakeSink) handled(b *groupBed) uint64 {
	return b.system.lookup(s.member.link.pid).mailbox.progress()
}

func TestMemberIdleOnlyBeats(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 8)
		a.deliver(0, 1)
		_ = a.ack(0) // what was busy once is idle again
		if err := b.join("c", 8).member.Close(t.Context()); err != nil {
			t.Errorf("Close = %v", err)
		}
		pass(3500 * time.Millisecond)
		member, group := a.handled(b), b.system.lookup(b.coordinator.groups[groupKey{testGroup, testTopic}])
		grouped := group.mailbox.progress()
		pass(300 * time.Second)
		if n := a.handled(b) - member; n != 100 {
			t.Errorf("an idle member woke %d times in 300 s, want 100: one each 3 s", n)
		}
		// A heartbeat each 3 s, and a look at the deadline at most each 7 s.
		if n := group.mailbox.progress() - grouped; n < 100 || n > 150 {
			t.Errorf("the group handled %d messages in 300 s, want 100 to 150", n)
		}
		if appends, _ := b.log.count(); appends != 1 {
			t.Errorf("%d appends for one ack", appends)
		}
	})
}

func TestMemberCommitWithNothingToDo(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 1)
		if err := a.member.Commit(t.Context()); err != nil {
			t.Errorf("Commit of nothing = %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.member.Commit(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Commit with an ended context = %v, want %v", err, context.Canceled)
		}
		if appends, _ := b.log.count(); appends != 0 {
			t.Errorf("%d appends, want none", appends)
		}
	})
}

// TestMemberCommitCoversWhatIsOnItsWay commits while an older append runs.
func TestMemberCommitCoversWhatIsOnItsWay(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.log.delay = func() time.Duration { return time.Second }
		a := b.join("a", 1)
		a.deliver(0, 1)
		_ = a.ack(0)
		pass(100 * time.Millisecond)
		a.deliver(0, 1)
		_ = a.ack(0)
		if err := a.member.Commit(t.Context()); err != nil {
			t.Errorf("Commit = %v", err)
		}
		if got := b.log.offset(testGroup, testTopic, 0); got != 2 {
			t.Errorf("stored offset after Commit = %d, want 2", got)
		}
	})
}

func TestMemberCloseWithAnEndedContext(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a, c := b.join("a", 2), b.join("c", 2)
		a.deliver(0, 6)
		_ = a.ack(0)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.member.Close(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Close = %v, want %v", err, context.Canceled)
		}
		synctest.Wait()
		wantOwned(t, c, 0, 1)
		pass(time.Second)
		if got := b.log.offset(testGroup, testTopic, 0); got != 6 {
			t.Errorf("stored offset = %d, want 6", got)
		}
	})
}

func TestMemberReleasesEachPartitionOnItsOwn(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 4)
		for p := range int32(4) {
			a.deliver(p, 1)
		}
		c := b.join("c", 4)
		_ = a.ack(3)
		pass(100 * time.Millisecond)
		wantOwned(t, c, 3)
		_ = a.ack(2)
		pass(100 * time.Millisecond)
		wantOwned(t, c, 2, 3)
		if want := []int32{3, 2}; !slices.Equal(a.released, want) {
			t.Errorf("released %v, want %v", a.released, want)
		}
		pass(time.Minute)
		wantOwned(t, a, 0, 1) // in flight for a minute, and nobody asked for them
	})
}

// TestMemberGetsBackWhatItGaveUp has the member that joined leave while a partition is being revoked.
func TestMemberGetsBackWhatItGaveUp(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 2)
		a.deliver(0, 1)
		a.deliver(1, 1)
		c := b.join("c", 2)
		if err := c.member.Close(t.Context()); err != nil {
			t.Errorf("Close = %v", err)
		}
		pass(time.Second)
		a.ackAll()
		pass(time.Second)
		wantOwned(t, a, 0, 1)
		last := a.starts[len(a.starts)-1]
		if last.Partition != 1 || last.Offset != 1 || last.Generation <= a.starts[0].Generation {
			t.Errorf("assigned %+v, want partition 1 at 1 under a new generation", last)
		}
		if !a.deliver(1, 1) {
			t.Error("the partition does not deliver again")
		}
	})
}

// brokenSink panics on its first assignment.
type brokenSink struct{ fakeSink }

func (s *brokenSink) Assigned(int32, int64, int32) { panic("broken sink") }

func TestMemberOfABrokenSinkLeaves(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		s := &brokenSink{fakeSink{t: t, name: "broken", parts: map[int32]*fakePart{}}}
		m, err := b.coordinator.Join(testGroup, testTopic, 1, s)
		if err != nil {
			t.Fatalf("Join = %v", err)
		}
		pass(time.Second)
		if core.CodeOf(s.fault()) != core.CodeInternal {
			t.Errorf("fault = %v, want an internal error", s.fault())
		}
		a := b.join("a", 1)
		wantOwned(t, a, 0)
		if err := m.Commit(t.Context()); core.CodeOf(err) != core.CodeInternal {
			t.Errorf("Commit = %v, want an internal error", err)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// panickingLog breaks its contract once.
type panickingLog struct {
	*memoryLog
	once sync.Once
}

func (l *panickingLog) Append(commits []core.Commit, done func(error)) {
	l.once.Do(func() { panic("broken log") })
	l.memoryLog.Append(commits, done)
}

func TestGroupForgetsItsMembersAfterAPanic(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.owners = nil
		b.coordinator.log = &panickingLog{memoryLog: b.log}
		a := b.join("a", 1)
		a.deliver(0, 4)
		_ = a.ack(0)
		pass(time.Second)
		if err := a.fault(); err == nil {
			t.Error("a member of a group that failed was not told")
		}
		before := b.state().Generation
		c := b.join("c", 1)
		wantOwned(t, c, 0)
		if start := c.starts[0]; start.Offset != 4 || start.Generation <= before {
			t.Errorf("c starts at %+v, want offset 4 under a new generation", start)
		}
		if err := c.member.Commit(t.Context()); err != nil {
			t.Errorf("Commit = %v", err)
		}
		if got := b.log.offset(testGroup, testTopic, 0); got != 4 {
			t.Errorf("stored offset = %d, want 4", got)
		}
	})
}

// blockingLog breaks its contract: the first Append blocks its actor until the gate opens.
type blockingLog struct {
	*memoryLog
	gate chan struct{}
}

func (l *blockingLog) Append(commits []core.Commit, done func(error)) {
	<-l.gate
	l.memoryLog.Append(commits, done)
}

// TestMemberTriesAgainWhenItsGroupIsBusy fills the lane of a group for longer than a sender waits.
func TestMemberTriesAgainWhenItsGroupIsBusy(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		log := &blockingLog{memoryLog: b.log, gate: make(chan struct{})}
		b.coordinator.log = log
		a, c := b.join("a", 2), b.join("c", 2)
		a.deliver(0, 3)
		_ = a.ack(0)
		pass(time.Second) // the group blocks
		group := b.coordinator.groups[groupKey{testGroup, testTopic}]
		for b.system.deliver(group, groupNudge{}) {
			continue
		}
		c.deliver(1, 5)
		_ = c.ack(1)
		pass(6 * time.Second)
		if b.system.DeadLetters() == 0 {
			t.Fatal("nothing was turned away: the test does not do what it says")
		}
		close(log.gate)
		pass(time.Second)
		for p, want := range []int64{3, 5} {
			if got := b.log.offset(testGroup, testTopic, int32(p)); got != want {
				t.Errorf("stored offset of %d = %d, want %d", p, got, want)
			}
		}
		pass(30 * time.Second)
		for _, s := range []*fakeSink{a, c} {
			if err := s.fault(); err != nil {
				t.Errorf("%s was fenced: %v", s.name, err)
			}
		}
	})
}
