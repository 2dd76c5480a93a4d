package actors

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

func TestTimersFireInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(SystemOptions{})
		defer closeSystem(t, s)
		var got journal
		start := time.Now()
		pid := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
			if name, ok := ctx.Message().(string); ok {
				got.add(fmt.Sprint(name, " ", time.Since(start)))
			}
		})))
		s.After(3*time.Second, pid, "c")
		s.After(time.Second, pid, "a")
		cancelled := s.After(2*time.Second, pid, "never")
		s.After(2*time.Second, pid, "b1")
		s.After(2*time.Second, pid, "b2")
		s.After(-time.Second, pid, "now")
		<-time.After(1500 * time.Millisecond)
		if !s.Cancel(cancelled) || s.Cancel(cancelled) || s.Cancel(0) {
			t.Error("Cancel: want true once, then false, and false for no timer")
		}
		<-time.After(time.Hour)
		synctest.Wait()
		want := []string{"now 0s", "a 1s", "b1 2s", "b2 2s", "c 3s"}
		if !slices.Equal(got.lines(), want) {
			t.Errorf("fired %q, want %q", got.lines(), want)
		}
	})
}

// TestTimersSleepWhenEmpty counts pending timers of the clock.
func TestTimersSleepWhenEmpty(t *testing.T) {
	c := clock.NewManual(0)
	s := newTestSystem(t, SystemOptions{Clock: c})
	fired := make(chan struct{}, 1)
	pid := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
		if _, ok := ctx.Message().(string); ok {
			fired <- struct{}{}
		}
	})))
	if c.Timers() != 0 {
		t.Errorf("%d timers before the first After", c.Timers())
	}
	s.After(time.Minute, pid, "tick")
	eventually(t, "one timer", func() bool { return c.Timers() == 1 })
	c.Advance(time.Minute)
	<-fired
	eventually(t, "no timer", func() bool { return c.Timers() == 0 })
	c.Advance(time.Hour)
	if len(fired) != 0 {
		t.Error("fired twice")
	}
}

// TestTimersFullMailbox has a due message for an actor without room: the others are not held up, it
// arrives late, and after 5 s it would be given up.
func TestTimersFullMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(SystemOptions{})
		defer closeSystem(t, s)
		release := make(chan struct{})
		var got journal
		busy := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
			if name, ok := ctx.Message().(string); ok {
				if name == "block" {
					<-release
				}
				got.add(name)
			}
		})))
		free := mustSpawn(t, s, s.Props(receive(func(ctx Context) {
			if name, ok := ctx.Message().(string); ok {
				got.add(name)
			}
		})))
		s.Send(busy, "block")
		synctest.Wait()
		for range controlCapacity {
			s.Send(busy, 0)
		}
		lost := &told{}
		s.After(time.Second, busy, lost)
		s.After(5*time.Second, busy, "late")
		s.After(2*time.Second, free, "free")
		<-time.After(7 * time.Second)
		synctest.Wait()
		if want := []string{"free"}; !slices.Equal(got.lines(), want) {
			t.Errorf("after 7 s: %q, want %q", got.lines(), want)
		}
		if !errors.Is(lost.err, core.ErrFull) {
			t.Errorf("the message that waited 5 s was told %v, want %v", lost.err, core.ErrFull)
		}
		close(release)
		<-time.After(time.Second)
		synctest.Wait()
		if want := []string{"free", "block", "late"}; !slices.Equal(got.lines(), want) {
			t.Errorf("after the release: %q, want %q", got.lines(), want)
		}
	})
}

func TestTimersAfterClose(t *testing.T) {
	s := NewSystem(SystemOptions{})
	pid := mustSpawn(t, s, s.Props(receive(func(Context) {})))
	s.After(time.Hour, pid, "never")
	closeSystem(t, s)
	if id := s.After(0, pid, "late"); id != 0 {
		t.Errorf("After a closed System = %d, want 0", id)
	}
}

// TestTimersToNobody sends to an actor that stopped before the time came.
func TestTimersToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(SystemOptions{})
		defer closeSystem(t, s)
		pid := mustSpawn(t, s, s.Props(receive(func(Context) {})))
		message := &told{}
		s.After(time.Second, pid, message)
		if err := s.Stop(t.Context(), pid); err != nil {
			t.Errorf("Stop = %v", err)
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if !errors.Is(message.err, core.ErrClosed) {
			t.Errorf("told %v, want %v", message.err, core.ErrClosed)
		}
	})
}
