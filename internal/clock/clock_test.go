package clock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func TestSystemFollowsTheBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, mono := clock.System.Now(), clock.System.Mono()
		if err := clock.Sleep(t.Context(), clock.System, time.Hour); err != nil {
			t.Fatalf("Sleep = %v, want nil", err)
		}
		if got := clock.System.Now() - now; got != int64(time.Hour) {
			t.Errorf("Now moved by %d ns, want one hour", got)
		}
		if got := clock.System.Mono() - mono; got != int64(time.Hour) {
			t.Errorf("Mono moved by %d ns, want one hour", got)
		}
	})
}

func TestSystemNowIsWallTime(t *testing.T) {
	before := time.Now().UnixNano()
	got := clock.System.Now()
	after := time.Now().UnixNano()
	if got < before || got > after {
		t.Errorf("Now() = %d, want within [%d, %d]", got, before, after)
	}
}

// TestTimers holds both clocks to one contract.
func TestTimers(t *testing.T) {
	manual := clock.NewManual(0)
	clocks := []struct {
		name    string
		clock   clock.Clock
		advance func(d time.Duration)
	}{
		{"system", clock.System, func(d time.Duration) { <-time.After(d) }},
		{"manual", manual, manual.Advance},
	}
	for _, tt := range clocks {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkTimer(t, tt.clock, tt.advance) })
		})
	}
}

func checkTimer(t *testing.T, c clock.Clock, advance func(time.Duration)) {
	timer := c.NewTimer(10 * time.Second)
	advance(9 * time.Second)
	if fired(timer) {
		t.Fatal("fired after 9 s of 10")
	}
	advance(2 * time.Second)
	if !fired(timer) {
		t.Fatal("did not fire after 11 s of 10")
	}
	if timer.Stop() {
		t.Error("Stop after firing and receiving = true, want false")
	}

	timer.Reset(time.Second)
	if !timer.Stop() {
		t.Error("Stop while pending = false, want true")
	}
	advance(2 * time.Second)
	if fired(timer) {
		t.Error("fired after Stop")
	}

	timer.Reset(time.Second)
	advance(2 * time.Second)
	timer.Reset(time.Minute)
	if fired(timer) {
		t.Error("a time from before Reset was received after it")
	}
	if !timer.Stop() {
		t.Error("Stop after Reset = false, want true")
	}

	at := c.NewTimer(0)
	advance(time.Nanosecond)
	if !fired(at) {
		t.Error("a timer of 0 did not fire at once")
	}
}

func fired(timer clock.Timer) bool {
	select {
	case <-timer.C():
		return true
	default:
		return false
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := clock.System.Mono()
		err := clock.Sleep(ctx, clock.System, time.Hour)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sleep = %v, want %v", err, context.DeadlineExceeded)
		}
		if got := clock.System.Mono() - start; got != int64(time.Minute) {
			t.Errorf("Sleep took %d ns, want one minute", got)
		}
	})
}

func TestSleepOfNothing(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, d := range []time.Duration{-1, 0} {
		if err := clock.Sleep(t.Context(), clock.System, d); err != nil {
			t.Errorf("Sleep(%d) = %v, want nil", d, err)
		}
		if err := clock.Sleep(ended, clock.System, d); !errors.Is(err, context.Canceled) {
			t.Errorf("Sleep(%d) with an ended context = %v, want %v", d, err, context.Canceled)
		}
	}
}
