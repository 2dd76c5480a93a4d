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

// Latency is a set of latencies in five numbers, in microseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// summarize sorts values and reads them; unit is one of theirs in microseconds.
func summarize(values []int64, unit float64) *Latency {
	slices.Sort(values)
	last := len(values) - 1
	at := func(thousandths int) float64 { return float64(values[last*thousandths/1000]) * unit }
	return &Latency{Count: int64(len(values)), P50: at(500), P99: at(990), P999: at(999), Max: at(1000)}
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
