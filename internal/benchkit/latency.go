package benchkit

import (
	"maps"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of every histogram: what lies outside counts as the bound.
const (
	latencyMin    = int64(1)
	latencyMax    = int64(60e9)
	latencyDigits = 3
)

// Histogram collects latencies in nanoseconds, from 1 ns to 60 s with three digits. It belongs to one
// goroutine.
type Histogram struct {
	hdr *hdrhistogram.Histogram
}

// NewHistogram makes an empty histogram of about 200 KiB.
func NewHistogram() *Histogram {
	return &Histogram{hdr: hdrhistogram.New(latencyMin, latencyMax, latencyDigits)}
}

func newHistograms(n int) []*Histogram {
	histograms := make([]*Histogram, n)
	for i := range histograms {
		histograms[i] = NewHistogram()
	}
	return histograms
}

// Record adds one latency. It does not allocate or block.
func (h *Histogram) Record(nanos int64) {
	// In bounds, so there is no error.
	_ = h.hdr.RecordValue(min(max(nanos, latencyMin), latencyMax))
}

// Merge adds everything in other.
func (h *Histogram) Merge(other *Histogram) { h.hdr.Merge(other.hdr) }

// Reset empties the histogram.
func (h *Histogram) Reset() { h.hdr.Reset() }

// Latency is a histogram in five numbers, in microseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// Summary reads the histogram; an empty one is all zeros.
func (h *Histogram) Summary() Latency {
	if h.hdr.TotalCount() == 0 {
		return Latency{}
	}
	micros := func(percentile float64) float64 { return float64(h.hdr.ValueAtPercentile(percentile)) / 1e3 }
	return Latency{
		Count: h.hdr.TotalCount(),
		P50:   micros(50),
		P99:   micros(99),
		P999:  micros(99.9),
		Max:   float64(h.hdr.Max()) / 1e3,
	}
}

// Quantile is a point of a percentile curve.
type Quantile struct {
	P      float64 `json:"p"` // share of the values that are not above, 0 to 1
	Micros float64 `json:"us"`
}

// curveGrid are the shares a curve has points at. They are the same for all, so that the curves of rounds
// can be put together point by point.
var curveGrid = []float64{0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995,
	0.99975, 0.9999, 0.99995, 0.99999, 0.999999, 0.9999999, 1}

// Curve reads the percentile curve, up to where one value decides; the last point is the maximum.
func (h *Histogram) Curve() []Quantile {
	count := float64(h.hdr.TotalCount())
	if count == 0 {
		return nil
	}
	var curve []Quantile
	for _, p := range curveGrid {
		if p < 1 && (1-p)*count < 1 {
			continue
		}
		curve = append(curve, Quantile{p, float64(h.hdr.ValueAtPercentile(p*100)) / 1e3})
	}
	return curve
}

// medianCurve takes the median of each point that all rounds have, and the highest maximum. Without the
// points that only some rounds have it rises as theirs do.
func medianCurve(rounds [][]Quantile) []Quantile {
	values := make(map[float64][]float64)
	for _, curve := range rounds {
		for _, q := range curve {
			values[q.P] = append(values[q.P], q.Micros)
		}
	}
	var curve []Quantile
	for _, p := range slices.Sorted(maps.Keys(values)) {
		if len(values[p]) < len(rounds) {
			continue
		}
		micros := median(values[p])
		if p == 1 {
			micros = slices.Max(values[p])
		}
		curve = append(curve, Quantile{p, micros})
	}
	return curve
}

// medianLatency takes each number's median over rounds, and the highest maximum: a stall is never
// voted away.
func medianLatency(rounds []Latency) Latency {
	pick := func(of func(Latency) float64) float64 {
		values := make([]float64, len(rounds))
		for i, r := range rounds {
			values[i] = of(r)
		}
		return median(values)
	}
	var l Latency
	for _, r := range rounds {
		l.Count += r.Count
		l.Max = max(l.Max, r.Max)
	}
	l.P50 = pick(func(l Latency) float64 { return l.P50 })
	l.P99 = pick(func(l Latency) float64 { return l.P99 })
	l.P999 = pick(func(l Latency) float64 { return l.P999 })
	return l
}
