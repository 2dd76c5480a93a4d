package benchkit

import (
	"context"
	"slices"
)

// interleave runs every case once in a round to warm up and then once per round, in turning order:
// A B, B A, A B … so that a trend of the machine cancels out. It stops at the first error.
func interleave(ctx context.Context, rounds int, cases ...func(round int) error) error {
	for round := WarmUp; round < rounds; round++ {
		order := slices.Clone(cases)
		if round&1 == 1 {
			slices.Reverse(order)
		}
		for _, run := range order {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := run(round); err != nil {
				return err
			}
		}
	}
	return nil
}

// samples collects one value per round and forgets the warm-up.
type samples []float64

func (s *samples) add(round int, value float64) {
	if round > WarmUp {
		*s = append(*s, value)
	}
}

// median is the middle value, the mean of the middle two, or 0 for none. It does not reorder values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratios divides round by round; a round without floor counts 0.
func ratios(values, floors []float64) []float64 {
	out := make([]float64, min(len(values), len(floors)))
	for i := range out {
		if floors[i] != 0 {
			out[i] = values[i] / floors[i]
		}
	}
	return out
}
