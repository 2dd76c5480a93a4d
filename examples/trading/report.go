package main

import (
	"fmt"
	"io"
	"time"
)

// result is what a market has sent, and what its consumers saw.
type result struct {
	options
	ticks      int64
	took       time.Duration
	fast, slow *consumer
	superseded int64  // ticks that the slow one was spared
	closing    []tick // of the market, by instrument
}

func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "%d instruments, %d ticks in %v\n", r.instruments, r.ticks, r.took.Round(time.Millisecond))
	fmt.Fprintf(out, "fast: saw %d ticks, missed %d, out of order %d\n", r.fast.ticks, r.fast.missed,
		r.fast.backwards)
	r.fast.printAges(out)
	fmt.Fprintf(out, "slow: saw %d ticks, %d were superseded, out of order %d\n", r.slow.ticks, r.superseded,
		r.slow.backwards)
	r.slow.printAges(out)
}

// printAges tells how old ticks were when the consumer came to them.
func (c *consumer) printAges(out io.Writer) {
	at := func(percentile float64) time.Duration {
		return round(time.Duration(c.ages.ValueAtPercentile(percentile)))
	}
	fmt.Fprintf(out, "  age of a tick: p50 %v, p99 %v, p99.9 %v, max %v\n", at(50), at(99), at(99.9),
		round(time.Duration(c.ages.Max())))
}

// check finds what must not be.
func (r *result) check() error {
	switch {
	case r.fast.ticks != r.ticks || r.fast.missed > 0 || r.fast.backwards > 0:
		return fmt.Errorf("the fast consumer saw %d of %d ticks, missed %d, %d were out of order", r.fast.ticks,
			r.ticks, r.fast.missed, r.fast.backwards)
	case r.slow.ticks+r.superseded != r.ticks || r.slow.missed != r.superseded || r.slow.backwards > 0:
		return fmt.Errorf("the slow consumer saw %d of %d ticks, %d were superseded, %d missed, %d out of order",
			r.slow.ticks, r.ticks, r.superseded, r.slow.missed, r.slow.backwards)
	}
	for i := range r.closing {
		want := &r.closing[i]
		for who, c := range map[string]*consumer{"fast": r.fast, "slow": r.slow} {
			if got := &c.seen[i]; *got != *want {
				return fmt.Errorf("instrument %d closed as %+v, the %s consumer has %+v", i, *want, who, *got)
			}
		}
	}
	return nil
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
