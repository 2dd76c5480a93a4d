package benchkit

import (
	"math"
	"slices"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// TestMedianInterval compares with the table of order statistics: for n values the k-th from either end.
func TestMedianInterval(t *testing.T) {
	tests := []struct {
		n          int
		lo, hi     float64
		confidence float64
	}{
		{0, 0, 0, 0},
		{1, 1, 1, 0},
		{4, 1, 4, 0.875},
		{5, 1, 5, 0.9375},
		{6, 1, 6, 0.96875},
		{9, 2, 8, 0.9609375},
		{10, 2, 9, 0.978515625},
		{20, 6, 15, 0.9586105346679688},
	}
	for _, tt := range tests {
		var values []float64
		for i := tt.n; i > 0; i-- {
			values = append(values, float64(i))
		}
		got := medianInterval(values)
		if got.Lo != tt.lo || got.Hi != tt.hi || !near(got.Confidence, tt.confidence) {
			t.Errorf("medianInterval of 1…%d = %+v; want [%v, %v] at %v", tt.n, got, tt.lo, tt.hi, tt.confidence)
		}
	}
}

func TestSpread(t *testing.T) {
	tests := []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{7}, 0}, {[]float64{0, 0, 5}, 0}, {[]float64{5, 1, 3, 2, 4}, 2.0 / 3},
		{[]float64{100, 100, 100}, 0},
	}
	for _, tt := range tests {
		if got := spread(tt.values); !near(got, tt.want) {
			t.Errorf("spread(%v) = %v; want %v", tt.values, got, tt.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{10, 20, 30, 40}
	for p, want := range map[float64]float64{0: 10, 0.25: 17.5, 0.5: 25, 1: 40} {
		if got := quantile(values, p); !near(got, want) {
			t.Errorf("quantile(%v) = %v; want %v", p, got, want)
		}
	}
}

func TestCurves(t *testing.T) {
	h := NewHistogram()
	for i := range int64(1000) {
		h.Record((i + 1) * 1000)
	}
	curve := h.Curve()
	at := make(map[float64]float64)
	for _, q := range curve {
		at[q.P] = q.Micros
	}
	if math.Abs(at[0.5]-500) > 1 || math.Abs(at[0.99]-990) > 1 || math.Abs(at[1]-1000) > 1 {
		t.Errorf("curve %v; want 500, 990 and 1000 µs at 0.5, 0.99 and 1", curve)
	}
	if _, ok := at[0.9999]; ok {
		t.Errorf("curve %v has a point at 0.9999 of 1,000 values", curve)
	}
	if NewHistogram().Curve() != nil {
		t.Error("the curve of nothing has points")
	}
	got := medianCurve([][]Quantile{{{0.5, 1}, {1, 9}}, {{0.5, 3}, {1, 7}}, {{0.5, 2}, {0.99, 5}, {1, 8}}})
	want := []Quantile{{0.5, 2}, {1, 9}}
	if !slices.Equal(got, want) {
		t.Errorf("medianCurve = %v; want %v", got, want)
	}
}
