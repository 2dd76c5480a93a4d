package actors

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

func TestBackoffBounds(t *testing.T) {
	for _, b := range []backoff{restartBackoff, retryBackoff, {first: time.Nanosecond, limit: time.Hour}} {
		var j, same jitter
		j.state.Store(7)
		same.state.Store(7)
		different := false
		for n := range 200 {
			plain := b.limit
			if n < 32 {
				plain = min(b.limit, b.first<<n)
			}
			for range 20 {
				d := b.delay(n, &j)
				low, high := plain*8/10, min(plain*12/10, b.limit)
				if d < low-1 || d > high+1 {
					t.Fatalf("delay(%d) from %v = %v, want [%v, %v]", n, b.first, d, low, high)
				}
				if again := b.delay(n, &same); again != d {
					t.Fatalf("delay(%d) = %v and %v under one seed", n, d, again)
				}
				different = different || d != plain
			}
		}
		if !different {
			t.Errorf("no jitter in delays from %v", b.first)
		}
	}
}

// failing counts what a supervised actor does.
type failing struct {
	starts  int
	stopped bool
	bad     bool // panic over every message
	fatal   bool // panic in Started too
}

func (f *failing) props(s *System) *Props {
	return s.Props(func() Actor {
		f.starts++
		return actorFunc(func(ctx Context) {
			switch ctx.Message().(type) {
			case *Started:
				if f.fatal {
					panic("cannot start")
				}
			case string:
				if f.bad {
					panic("bad message")
				}
			case *Stopped:
				f.stopped = true
			}
		})
	})
}

// TestSupervisorGivesUp restarts an actor that cannot start five times, with growing pauses, and then
// stops it: reported, and what it had in its mailbox is told.
func TestSupervisorGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures reports
		var log bytes.Buffer
		s := NewSystem(SystemOptions{OnFailure: failures.add, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		defer closeSystem(t, s)
		f := failing{fatal: true}
		message := &told{}
		pid := mustSpawn(t, s, f.props(s))
		s.Send(pid, message)
		<-time.After(time.Second)
		synctest.Wait()
		if f.starts != 1+restartBudget || !f.stopped || s.lookup(pid) != nil {
			t.Errorf("%d starts, stopped %v; want %d, true", f.starts, f.stopped, 1+restartBudget)
		}
		restarted, given := failures.all(Restarted), failures.all(StoppedActor)
		if len(restarted) != restartBudget || len(given) != 1 || given[0].Attempt != restartBudget+1 {
			t.Fatalf("reported %+v and %+v, want %d restarts and a stop", restarted, given, restartBudget)
		}
		for i, r := range restarted {
			plain := 10 * time.Millisecond << i
			if r.Delay < plain*8/10 || r.Delay > plain*12/10 || r.Attempt != i+1 || len(r.Stack) == 0 {
				t.Errorf("restart %d after %v, want %v ±20 %%", i, r.Delay, plain)
			}
		}
		if !errors.Is(message.err, core.ErrClosed) {
			t.Errorf("the queued message was told %v, want %v", message.err, core.ErrClosed)
		}
		if !strings.Contains(log.String(), "cannot start") || !strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("log without the failure: %s", log.String())
		}
	})
}

// TestSupervisorProgress lets an actor fail far more often than the budget, with successes in between.
func TestSupervisorProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures reports
		s := NewSystem(SystemOptions{OnFailure: failures.add})
		defer closeSystem(t, s)
		f := failing{bad: true}
		pid := mustSpawn(t, s, f.props(s))
		for range 4 * restartBudget {
			s.Send(pid, "panics")
			s.Send(pid, 1)
			<-time.After(15 * time.Millisecond)
			synctest.Wait()
		}
		if n := len(failures.all(Restarted)); n != 4*restartBudget || f.stopped {
			t.Errorf("%d restarts, stopped %v; want %d, false", n, f.stopped, 4*restartBudget)
		}
		for _, r := range failures.all(Restarted) {
			if r.Delay > 12*time.Millisecond {
				t.Errorf("delay %v after progress, want about 10ms", r.Delay)
			}
		}
	})
}

// TestSupervisorWindow spreads failures without progress over more than the window.
func TestSupervisorWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(SystemOptions{})
		defer closeSystem(t, s)
		f := failing{bad: true}
		pid := mustSpawn(t, s, f.props(s))
		for range 3 * restartBudget {
			s.Send(pid, "panics")
			<-time.After(31 * time.Second)
		}
		synctest.Wait()
		if f.stopped || f.starts != 1+3*restartBudget {
			t.Errorf("%d starts, stopped %v; want %d, false", f.starts, f.stopped, 1+3*restartBudget)
		}
	})
}

// TestSupervisorLifecyclePanics has an actor panic in every lifecycle handler: it restarts and stops.
func TestSupervisorLifecyclePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures reports
		s := NewSystem(SystemOptions{OnFailure: failures.add})
		defer closeSystem(t, s)
		starts := 0
		pid := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
			switch ctx.Message().(type) {
			case *Started:
				starts++
			case *Restarting, *Stopping, *Stopped, string:
				panic(ctx.Message())
			}
		})))
		s.Send(pid, "fail")
		<-time.After(time.Second)
		synctest.Wait()
		if err := s.Stop(t.Context(), pid); err != nil {
			t.Errorf("Stop = %v", err)
		}
		if n := len(failures.all(Ignored)); starts != 2 || n != 3 {
			t.Errorf("%d starts, %d ignored panics; want 2, 3", starts, n)
		}
	})
}

// TestSupervisorChildren restarts a failing child, and stops children with their parent, even a child
// that waits for its restart.
func TestSupervisorChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures reports
		s := NewSystem(SystemOptions{OnFailure: failures.add})
		defer closeSystem(t, s)
		f := failing{bad: true}
		var child *PID
		parent := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
			if _, ok := ctx.Message().(*Started); ok {
				child = ctx.Spawn(f.props(s))
			}
		})))
		synctest.Wait()
		s.Send(child, "panics")
		<-time.After(time.Second)
		synctest.Wait()
		if f.starts != 2 || len(failures.all(Restarted)) != 1 {
			t.Errorf("child started %d times, want 2", f.starts)
		}
		s.Send(child, "panics")
		synctest.Wait()
		start := time.Now()
		if err := s.Stop(t.Context(), parent); err != nil || !f.stopped || time.Since(start) != 0 {
			t.Errorf("Stop = %v after %v, child stopped %v; want nil at once, true", err, time.Since(start), f.stopped)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if f.starts != 2 {
			t.Errorf("the child came back to life: %d starts", f.starts)
		}
	})
}

func TestActionString(t *testing.T) {
	for a, want := range map[Action]string{Restarted: "restarted", AckFailed: "ack failed", 99: "action(99)"} {
		if got := a.String(); got != want {
			t.Errorf("Action(%d) = %q, want %q", uint8(a), got, want)
		}
	}
	wrapped := errors.New("inside")
	if err := error(&Panic{Value: wrapped}); !errors.Is(err, wrapped) || err.Error() != "panic: inside" {
		t.Errorf("Panic = %v, want one that wraps %v", err, wrapped)
	}
}
