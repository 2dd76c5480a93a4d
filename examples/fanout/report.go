package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// result is what all subscribers saw.
type result struct {
	verdict
	subscribers int
	ticks       uint64 // sent
	took        time.Duration
	latencies   *hdrhistogram.Histogram // of every delivery
}

func newResult(subscribers []*subscriber, ticks uint64, took time.Duration) *result {
	r := &result{subscribers: len(subscribers), ticks: ticks, took: took, latencies: newLatencies()}
	for _, s := range subscribers {
		r.add(s.judge(ticks))
		r.latencies.Merge(s.latencies)
	}
	return r
}

func (r *result) clean() bool { return r.lost == 0 && r.duplicated == 0 && r.reordered == 0 }

// rows are the bounds of the histogram that is printed: each four times the one before.
const (
	firstRow = 16 * time.Microsecond
	barWidth = 50
)

func (r *result) print(out io.Writer) {
	seconds := r.took.Seconds()
	fmt.Fprintf(out, "%d subscribers, %d ticks in %.1f s: %d deliveries, %.0f a second\n",
		r.subscribers, r.ticks, seconds, r.delivered, float64(r.delivered)/seconds)
	fmt.Fprintf(out, "lost %d, duplicated %d, reordered %d\n", r.lost, r.duplicated, r.reordered)
	if r.delivered == 0 {
		return
	}
	at := func(percentile float64) time.Duration {
		return round(time.Duration(r.latencies.ValueAtPercentile(percentile)))
	}
	fmt.Fprintf(out, "latency from the intended time: p50 %v, p99 %v, p99.9 %v, max %v\n",
		at(50), at(99), at(99.9), round(time.Duration(r.latencies.Max())))
	rest := uint64(r.latencies.TotalCount())
	bars := r.latencies.Distribution()
	for bound := firstRow; rest > 0; bound *= 4 {
		var count uint64
		for len(bars) > 0 && bars[0].To <= int64(bound) {
			count += uint64(bars[0].Count)
			bars = bars[1:]
		}
		rest -= min(count, rest)
		share := float64(count) / float64(r.latencies.TotalCount())
		fmt.Fprintf(out, "%10s %6.2f %% %s\n", "≤ "+round(bound).String(), 100*share,
			strings.Repeat("█", int(share*barWidth+0.5)))
	}
}

// round leaves about three digits.
func round(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}
