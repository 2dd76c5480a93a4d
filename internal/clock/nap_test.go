package clock_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func TestNap(t *testing.T) {
	if clock.Nap(clock.NewManual(0), time.Millisecond) {
		t.Error("a clock that is moved by hand was slept on")
	}
	if clock.Nap(clock.System, 0) {
		t.Error("slept for no time")
	}
	slept := int64(0)
	for range 100 { // a signal may end one of them early
		before := clock.System.Mono()
		if got, want := clock.Nap(clock.System, time.Millisecond), runtime.GOOS == "linux"; got != want {
			t.Fatalf("Nap = %v on %s", got, runtime.GOOS)
		} else if !got {
			return
		}
		if slept = max(slept, clock.System.Mono()-before); slept >= int64(time.Millisecond) {
			return
		}
	}
	t.Errorf("100 naps of 1 ms took %v at most", time.Duration(slept))
}
