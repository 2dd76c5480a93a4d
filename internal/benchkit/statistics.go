package benchkit

import (
	"math"
	"slices"
)

// confidenceWanted is the confidence of every interval, where there are enough rounds for it.
const confidenceWanted = 0.95

// Interval is a confidence interval of a median. It assumes nothing about the distribution: its ends are
// values that were measured (order statistics).
type Interval struct {
	Lo         float64 `json:"lo"`
	Hi         float64 `json:"hi"`
	Confidence float64 `json:"confidence"` // 0 to 1; below 0.95 where there are fewer than six values
}

// medianInterval gives the narrowest interval of order statistics with confidenceWanted, or all of the
// range if that has less. No value gives zeros.
func medianInterval(values []float64) Interval {
	n := len(values)
	if n == 0 {
		return Interval{}
	}
	sorted := slices.Sorted(slices.Values(values))
	// The median is outside [sorted[k], sorted[n-1-k]] if at most k of n values fall on one side of it.
	k, outside := 0, 2*binomialHalf(n, 0)
	for k+1 <= (n-1)/2 {
		next := outside + 2*binomialHalf(n, k+1)
		if 1-next < confidenceWanted {
			break
		}
		k, outside = k+1, next
	}
	return Interval{Lo: sorted[k], Hi: sorted[n-1-k], Confidence: max(0, 1-outside)}
}

// binomialHalf is the chance of k heads in n throws.
func binomialHalf(n, k int) float64 {
	upper, _ := math.Lgamma(float64(n + 1))
	lower, _ := math.Lgamma(float64(k + 1))
	rest, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(upper - lower - rest - float64(n)*math.Ln2)
}

// quantile interpolates between the two values around share p of sorted values (type 7 of Hyndman and Fan).
func quantile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := p * float64(len(sorted)-1)
	below := int(at)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (at-float64(below))*(sorted[above]-sorted[below])
}

// spread is the distance between the quartiles as a share of the median, 0 for a median of 0.
func spread(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := quantile(sorted, 0.5)
	if middle == 0 {
		return 0
	}
	return (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / math.Abs(middle)
}
