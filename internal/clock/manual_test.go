package clock_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func TestManualMovesOnlyWhenTold(t *testing.T) {
	m := clock.NewManual(1_000)
	if m.Now() != 1_000 || m.Mono() != 0 {
		t.Fatalf("new clock: Now %d, Mono %d; want 1000, 0", m.Now(), m.Mono())
	}
	m.Advance(500)
	if m.Now() != 1_500 || m.Mono() != 500 {
		t.Errorf("after Advance(500): Now %d, Mono %d; want 1500, 500", m.Now(), m.Mono())
	}
	m.SetWall(7)
	if m.Now() != 7 || m.Mono() != 500 {
		t.Errorf("after SetWall(7): Now %d, Mono %d; want 7, 500", m.Now(), m.Mono())
	}
}

func TestManualFiresInOrderOfDueTime(t *testing.T) {
	m := clock.NewManual(100)
	var timers []clock.Timer
	for _, d := range []time.Duration{30, 10, 20, 90} {
		timers = append(timers, m.NewTimer(d))
	}
	m.Advance(30)
	if got := m.Timers(); got != 1 {
		t.Errorf("Timers() = %d, want 1", got)
	}
	var got []int64
	for _, timer := range timers[:3] {
		got = append(got, (<-timer.C()).UnixNano())
	}
	if want := []int64{130, 110, 120}; !slices.Equal(got, want) {
		t.Errorf("timers received %v, want %v", got, want)
	}
}

func TestManualWallStepKeepsTimers(t *testing.T) {
	m := clock.NewManual(0)
	timer := m.NewTimer(10)
	m.SetWall(int64(time.Hour))
	if fired(timer) {
		t.Error("a step of the wall clock fired a timer")
	}
	m.Advance(10)
	if got := (<-timer.C()).UnixNano(); got != int64(time.Hour)+10 {
		t.Errorf("received %d, want one hour and 10 ns", got)
	}
}

func TestManualAwaitTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := clock.NewManual(0)
		done := make(chan error)
		go func() { done <- clock.Sleep(t.Context(), m, time.Second) }()
		m.AwaitTimers(1)
		m.Advance(time.Second)
		if err := <-done; err != nil {
			t.Errorf("Sleep = %v, want nil", err)
		}
		if got := m.Timers(); got != 0 {
			t.Errorf("Timers() after Sleep = %d, want 0", got)
		}
	})
}

func TestManualRefusesToGoBack(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Advance(-1) did not panic")
		}
	}()
	clock.NewManual(0).Advance(-1)
}
