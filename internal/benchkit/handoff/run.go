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

// Scale finds how many messages take about d and keeps it for later rounds: first runs of a growing
// length, then the one that counts.
type Scale struct {
	run  Case
	n    int64 // 0 before the first round
	step int64 // n is a multiple of it
}

const firstMessages = 5 * Step

// Timed makes a case whose length is given in time. Message counts are multiples of step.
func Timed(step int64, run Case) *Scale { return &Scale{run: run, step: step} }

// Run measures for about d.
func (s *Scale) Run(d time.Duration) (Result, error) {
	for n := int64(firstMessages); s.n == 0; {
		result, err := s.run(s.whole(n))
		if err != nil {
			return result, err
		}
		// A run of an eighth of the time tells the rate; before that it may be the start that counts.
		if result.Nanos >= int64(d)/8 {
			s.n = s.whole(int64(result.PerSecond() * d.Seconds()))
		}
		n *= 4
	}
	return s.run(s.n)
}

func (s *Scale) whole(n int64) int64 { return max(n/s.step, 1) * s.step }

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
