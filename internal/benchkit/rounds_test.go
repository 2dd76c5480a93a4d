package benchkit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestInterleaveTurnsTheOrder(t *testing.T) {
	var order strings.Builder
	note := func(name string) func(int) error {
		return func(int) error { order.WriteString(name); return nil }
	}
	if err := interleave(t.Context(), 4, note("a"), note("b")); err != nil {
		t.Fatal(err)
	}
	// The round to warm up has number -1, which is odd.
	if got, want := order.String(), "ba"+"ab"+"ba"+"ab"+"ba"; got != want {
		t.Errorf("order = %s; want %s", got, want)
	}
}

func TestInterleaveStops(t *testing.T) {
	broken, calls := errors.New("broken"), 0
	err := interleave(t.Context(), 3, func(round int) error {
		calls++
		if round == 1 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || calls != 3 {
		t.Errorf("interleave = %v after %d calls; want %v after 3", err, calls, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := interleave(ctx, 3, func(int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("interleave with an ended context = %v; want %v", err, context.Canceled)
	}
}

func TestMedian(t *testing.T) {
	tests := []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}}
	for _, tt := range tests {
		before := slices.Clone(tt.values)
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v; want %v", tt.values, got, tt.want)
		}
		if !slices.Equal(before, tt.values) {
			t.Errorf("median reordered %v to %v", before, tt.values)
		}
	}
}

func TestSamplesForgetTheWarmUp(t *testing.T) {
	var s samples
	for round := WarmUp; round < 2; round++ {
		s.add(round, float64(round))
	}
	if !slices.Equal(s, samples{0, 1}) {
		t.Errorf("samples = %v; want [0 1]", s)
	}
}

func TestRatios(t *testing.T) {
	got := ratios([]float64{1, 6, 9}, []float64{2, 0})
	if !slices.Equal(got, []float64{0.5, 0}) {
		t.Errorf("ratios = %v; want [0.5 0]", got)
	}
}
