package mmaplog

import (
	"testing"
	"time"
)

func TestGatherWaitsForTheGroup(t *testing.T) {
	var now, joined int64
	g := gather{}
	looks := 0
	wait := func(arrive int64) (waited int64) {
		joined, looks = 1, 0
		start := now
		g.wait(func() int64 { now += 1000; return now }, func() int64 {
			looks++
			joined += arrive
			return joined
		})
		return now - start
	}
	if wait(0) != 0 {
		t.Error("it waits although it has seen no round")
	}
	g.note(64, 0, int64(time.Millisecond))
	if got := wait(2); joined < 64 || joined > 66 || got > int64(80*time.Microsecond) {
		t.Errorf("waited until %d joined, %d ns; want 64", joined, got)
	}
	if wait(70); looks != 1 {
		t.Errorf("%d looks although all were there", looks)
	}
	if got := wait(0); got < int64(gatherIdle) || got > int64(gatherIdle)+5000 {
		t.Errorf("waited %d ns for nobody, want %v", got, gatherIdle)
	}
	if wait(0) != 0 {
		t.Error("it waits again right after nobody came")
	}
	if wait(0) == 0 {
		t.Error("it does not try again")
	}
	for range 3 {
		if wait(0) != 0 {
			t.Error("the second pause is not longer")
		}
	}
	g = gather{}
	g.note(1000, 0, int64(200*time.Microsecond))
	if got := wait(1); joined > 110 || got < int64(100*time.Microsecond) || got > int64(103*time.Microsecond) {
		t.Errorf("waited until %d joined, one in a microsecond, %d ns; want half a sync", joined, got)
	}
	g = gather{}
	g.note(32, 32, int64(20*time.Microsecond))
	if got := wait(0); g.expected != 64 || got > int64(12*time.Microsecond) {
		t.Errorf("expects %d, waited %d ns; want both halves and half a sync", g.expected, got)
	}
	g = gather{}
	g.note(32, 32, 1000)
	if wait(0) != 0 {
		t.Error("it waits for a disk that is faster than a look at the clock")
	}
}

// TestGatherEndsWhereTheClockStands: with a clock that tests move, yields bound the wait.
func TestGatherEndsWhereTheClockStands(t *testing.T) {
	g := gather{}
	g.note(2, 0, int64(time.Second))
	looks := 0
	g.wait(func() int64 { return 1 }, func() int64 { looks++; return 0 })
	if looks < gatherYields || looks > gatherYields+2 || g.pause == 0 {
		t.Errorf("%d looks", looks)
	}
}
