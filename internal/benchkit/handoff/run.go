package handoff

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Result is what one run measured.
type Result struct {
	Messages int64
	Nanos    int64 // from the start of all sides to the end of the last
	Latency  *Latency
	Allocs   int64 // of the whole process during the run
}

// PerSecond is the throughput in messages per second.
func (r Result) PerSecond() float64 { return float64(r.Messages) * 1e9 / float64(max(r.Nanos, 1)) }

// AllocsPerMessage counts what the run itself needs, such as its goroutines, too.
func (r Result) AllocsPerMessage() float64 { return float64(r.Allocs) / float64(max(r.Messages, 1)) }

// Latency is every latency of a run.
type Latency struct {
	sorted []int64
	unit   float64 // of the values, in microseconds
}

// newLatency takes values over and sorts them.
func newLatency(values []int64, unit float64) *Latency {
	slices.Sort(values)
	return &Latency{values, unit}
}

// Count is the number of latencies.
func (l *Latency) Count() int64 { return int64(len(l.sorted)) }

// At is the latency in microseconds that a share of them, 0 to 1, does not exceed.
func (l *Latency) At(share float64) float64 {
	return float64(l.sorted[int(share*float64(len(l.sorted)-1))]) * l.unit
}

// Case runs n messages through one peer in one scenario.
type Case func(n int64) (Result, error)

// Scale finds how many messages take about a given time, and keeps it for later rounds.
type Scale struct {
	run  Case
	n    int64
	step int64 // n is a multiple of it
}

const (
	firstMessages = 5 * Step
	growthMax     = 64 // of n from one run to the next: the first run may be all start
	scaleRuns     = 8  // runs until the length has to be right
)

// Timed makes a case whose length is given in time. Message counts are multiples of step.
func Timed(step int64, run Case) *Scale {
	return &Scale{run: run, n: max(firstMessages/step, 1) * step, step: step}
}

// Run measures for about d, between half and twice of it, once it knows how many messages that takes. It
// gives the result of the last run.
func (s *Scale) Run(d time.Duration) (result Result, err error) {
	for range scaleRuns {
		if result, err = s.run(s.n); err != nil {
			return result, err
		}
		factor := float64(d) / float64(max(result.Nanos, 1))
		if factor >= 0.5 && factor <= 2 {
			break
		}
		s.n = max(int64(float64(s.n)*min(factor, growthMax))/s.step, 1) * s.step
	}
	return result, nil
}

// Together starts all sides at once and measures until the last of them has returned. The first error
// in their order is returned.
func Together(n int64, sides ...func() error) (Result, error) {
	var before, after runtime.MemStats
	failures := make([]error, len(sides))
	start := make(chan struct{})
	var running sync.WaitGroup
	for i, side := range sides {
		running.Go(func() {
			<-start
			failures[i] = side()
		})
	}
	runtime.GC() // what earlier rounds left behind is not collected within this one
	runtime.ReadMemStats(&before)
	began := time.Now()
	close(start)
	running.Wait()
	nanos := int64(time.Since(began))
	runtime.ReadMemStats(&after)
	result := Result{Messages: n, Nanos: nanos, Allocs: int64(after.Mallocs - before.Mallocs)}
	return result, errors.Join(failures...)
}
