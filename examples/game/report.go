package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// report prints what some players saw of a game of so many ticks, and says if they missed any.
func report(out io.Writer, who string, players []*player, ticks int) error {
	var all []time.Duration
	missed := 0
	for _, p := range players {
		all = append(all, p.latencies...)
		missed += ticks - len(p.latencies)
	}
	slices.Sort(all)
	fmt.Fprintf(out, "%s\n  saw %d ticks after p50 %v, p99 %v, at most %v, and missed %d\n", who, len(all),
		quantile(all, 0.50), quantile(all, 0.99), quantile(all, 1), missed)
	if missed > 0 {
		return fmt.Errorf("%s: %d ticks were missed", who, missed)
	}
	return nil
}

// quantile gives the q-quantile of sorted values, rounded for reading.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	d := sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
