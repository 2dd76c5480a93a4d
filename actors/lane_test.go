package actors

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnstilePassesTheTokenOn makes room for three at once and says so once.
func TestTurnstilePassesTheTokenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stile turnstile
		var room atomic.Int32
		take := func() bool {
			for {
				n := room.Load()
				if n == 0 || room.CompareAndSwap(n, n-1) {
					return n > 0
				}
			}
		}
		stile.open() // nobody waits: nothing to remember
		var passed atomic.Int32
		done := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if stile.pass(done, nil, take) {
					passed.Add(1)
				}
			})
		}
		synctest.Wait()
		room.Store(3)
		stile.open()
		synctest.Wait()
		if passed.Load() != 3 {
			t.Errorf("%d passed, want 3", passed.Load())
		}
		close(done)
		wg.Wait()
		if passed.Load() != 3 {
			t.Errorf("%d passed in the end, want 3", passed.Load())
		}
		if !stile.pass(nil, time.After(time.Second), func() bool { return true }) ||
			stile.pass(nil, time.After(time.Second), func() bool { return false }) {
			t.Error("pass must answer what try did")
		}
	})
}

// TestControlLaneWraps fills and empties the lane over many laps.
func TestControlLaneWraps(t *testing.T) {
	var l controlLane
	if _, ok := l.pop(); ok || l.len() != 0 {
		t.Fatal("a new lane is not empty")
	}
	next := 0
	for lap := range 10 {
		for i := range controlCapacity {
			if !l.push(lap*controlCapacity + i) {
				t.Fatalf("lap %d: push %d = false", lap, i)
			}
		}
		if l.push("extra") || l.len() != controlCapacity {
			t.Fatalf("lap %d: %d messages and room for more, want %d and none", lap, l.len(), controlCapacity)
		}
		for range controlCapacity {
			if msg, ok := l.pop(); !ok || msg != next {
				t.Fatalf("pop = %v, %v; want %d", msg, ok, next)
			}
			next++
		}
	}
}

// onlyWhileOpen is a dispatcher of a shard that has ended.
type onlyWhileOpen struct {
	t      *testing.T
	closed atomic.Bool
}

func (d *onlyWhileOpen) Throughput() int { return 10 }

func (d *onlyWhileOpen) Schedule(fn func()) {
	if d.closed.Load() {
		d.t.Error("a stopped actor was scheduled")
		return
	}
	go fn() // ends before the actor has stopped
}

// TestLanesAfterTheDispatcher posts to a mailbox whose actor and dispatcher are gone.
func TestLanesAfterTheDispatcher(t *testing.T) {
	s := newTestSystem(t, SystemOptions{})
	d := &onlyWhileOpen{t: t}
	m := mustMailbox[toldSlot](t, MailboxOptions{DataCapacity: 4})
	sender := mustSender(t, m)
	pid := mustSpawn(t, s, m.Props(receive(func(Context) {}), d))
	claim, ok := sender.TryClaim(1)
	if err := s.Stop(t.Context(), pid); err != nil || !ok {
		t.Fatalf("TryClaim = %v, Stop = %v", ok, err)
	}
	eventually(t, "mailbox idle", func() bool { return m.state.Load() == stateIdle })
	d.closed.Store(true)
	control, data := &told{}, &told{}
	m.PostUserMessage(control)
	slots, _ := claim.Slots()
	slots[0].message = data
	sender.Publish(claim)
	if control.err == nil || data.err == nil || m.Len() != 0 {
		t.Errorf("told %v and %v, %d left; want both told and none left", control.err, data.err, m.Len())
	}
}
