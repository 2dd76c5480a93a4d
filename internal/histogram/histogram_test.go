package histogram

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	h := Durations()
	for _, d := range []time.Duration{-1, 0, time.Microsecond, time.Microsecond + 1, time.Second, time.Minute} {
		h.Add(int64(d))
	}
	s := h.Snapshot()
	if s.Count != 6 || math.Abs(s.Sum-61.000002001) > 1e-12 {
		t.Errorf("count %d, sum %v; want 6 and 61.000002001", s.Count, s.Sum)
	}
	if len(s.Bounds) != 22 || s.Bounds[0] != 1e-6 || s.Bounds[21] != 10 || !slices.IsSorted(s.Bounds) {
		t.Errorf("bounds %v; want 22 from 1e-06 to 10", s.Bounds)
	}
	for bound, want := range map[int]uint64{0: 3, 1: 4, 17: 4, 18: 5, 21: 5} {
		if s.Counts[bound] != want {
			t.Errorf("up to %v: %d; want %d", s.Bounds[bound], s.Counts[bound], want)
		}
	}
}

func TestCounts(t *testing.T) {
	h := Counts()
	var adding sync.WaitGroup
	for range 4 {
		adding.Go(func() {
			for n := range int64(1000) {
				h.Add(n + 1)
			}
		})
	}
	adding.Wait()
	s := h.Snapshot()
	if s.Count != 4000 || s.Sum != 4*500500 || s.Counts[0] != 4 || s.Counts[len(s.Counts)-1] != 4000 {
		t.Errorf("%+v; want 4000 values, 4 of them 1", s)
	}
	if n := testing.AllocsPerRun(100, func() { h.Add(7) }); n != 0 {
		t.Errorf("Add allocates %v times", n)
	}
}
