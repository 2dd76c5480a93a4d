package histogram

import (
	"slices"
	"sync/atomic"
	"time"
)

// Histogram counts values. Its methods may be called from any goroutine.
type Histogram struct {
	scale  float64 // values in a unit of the snapshot
	bounds []int64 // ascending, inclusive
	counts []atomic.Uint64
	sum    atomic.Int64
}

// Durations makes a histogram of nanoseconds from 1 µs to 10 s, whose snapshot is in seconds.
func Durations() *Histogram {
	return newHistogram(1e9, steps(int64(time.Microsecond), int64(10*time.Second)))
}

// Counts makes a histogram of numbers from 1 to 1,000,000.
func Counts() *Histogram { return newHistogram(1, steps(1, 1_000_000)) }

// steps gives 1, 2.5 and 5 times each power of ten, rounded down.
func steps(from, to int64) []int64 {
	var bounds []int64
	for decade := from; decade < to; decade *= 10 {
		bounds = append(bounds, decade, decade*5/2, decade*5)
	}
	return append(bounds, to)
}

func newHistogram(scale float64, bounds []int64) *Histogram {
	return &Histogram{scale: scale, bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Add counts one value; one below 0 counts as 0.
func (h *Histogram) Add(value int64) {
	value = max(value, 0)
	at, _ := slices.BinarySearch(h.bounds, value)
	h.counts[at].Add(1)
	h.sum.Add(value)
}

// Snapshot is what a histogram has counted.
type Snapshot struct {
	Bounds []float64 // ascending, inclusive
	Counts []uint64  // values up to each bound, cumulative
	Count  uint64    // of all values, those beyond the last bound too
	Sum    float64
}

// Snapshot gives what was counted. Values that are added meanwhile may be in Sum and not in Count.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Bounds: make([]float64, len(h.bounds)), Counts: make([]uint64, len(h.bounds))}
	for i, bound := range h.bounds {
		s.Count += h.counts[i].Load()
		s.Bounds[i], s.Counts[i] = float64(bound)/h.scale, s.Count
	}
	s.Count += h.counts[len(h.bounds)].Load()
	s.Sum = float64(h.sum.Load()) / h.scale
	return s
}
