package core

import (
	"math"
	"testing"
	"time"
)

func at(seconds float64, committed, lag int64) LagObservation {
	return LagObservation{At: int64(seconds * float64(time.Second)), Committed: committed, Lag: lag}
}

func TestLagTrend(t *testing.T) {
	tests := []struct {
		name         string
		older, newer LagObservation
		want         LagTrend
		known        bool
	}{
		{"shrinks", at(0, 100, 50), at(10, 200, 0), LagTrend{10, -5}, true},
		{"grows", at(1, 100, 50), at(3, 110, 150), LagTrend{5, 50}, true},
		{"stands still", at(0, 7, 7), at(60, 7, 7), LagTrend{}, true},
		{"too close", at(0, 100, 50), at(0.09, 200, 0), LagTrend{}, false},
		{"too far apart", at(0, 100, 50), at(60.5, 200, 0), LagTrend{}, false},
		{"the group was reset", at(0, 100, 50), at(1, 0, 150), LagTrend{}, false},
		{"the topic is a new one", at(0, 100, 50), at(1, 100, 10), LagTrend{}, false},
		{"nothing committed before", at(0, -1, 50), at(1, 10, 40), LagTrend{}, false},
		{"lag not known", at(0, 100, 50), at(1, 110, -1), LagTrend{}, false},
		{"the wrong way round", at(1, 100, 50), at(0, 200, 50), LagTrend{}, false},
	}
	for _, tt := range tests {
		if got, known := LagTrendOf(tt.older, tt.newer); got != tt.want || known != tt.known {
			t.Errorf("%s: LagTrendOf(%+v, %+v) = %+v, %v; want %+v, %v", tt.name, tt.older, tt.newer, got, known,
				tt.want, tt.known)
		}
	}
}

func TestTimeToZero(t *testing.T) {
	tests := []struct {
		rate float64
		lag  int64
		want time.Duration
		ends bool
	}{
		{-5, 50, 10 * time.Second, true}, {-0.5, 1, 2 * time.Second, true}, {0, 0, 0, true}, {5, 0, 0, true},
		{0, 1, 0, false}, {5, 1, 0, false}, {-1e-9, 1e6, 0, false}, {-1, math.MaxInt64, 0, false},
		{math.NaN(), 1, 0, false}, {math.Inf(-1), 1, 0, true},
	}
	for _, tt := range tests {
		if got, ends := (LagTrend{LagRate: tt.rate}).TimeToZero(tt.lag); got != tt.want || ends != tt.ends {
			t.Errorf("TimeToZero(%d) at %v/s = %v, %v; want %v, %v", tt.lag, tt.rate, got, ends, tt.want, tt.ends)
		}
	}
}

// TestLagWindow observes a group that acks 10 records a second, then 100.
func TestLagWindow(t *testing.T) {
	var w LagWindow
	committed := int64(0)
	rate := int64(10)
	for second := 0.0; second <= 300; second += 5 {
		if second > 150 {
			rate = 100
		}
		if second > 0 {
			committed += 5 * rate
		}
		trend, known := w.Observe(at(second, committed, 1000))
		if known != (second > 0) {
			t.Fatalf("after %v s: known %v", second, known)
		}
		low, high := 10.0, 100.0
		if second <= 150 {
			high = 10
		} else if second > 150+LagWindowMax.Seconds() {
			low = 100
		}
		if known && (trend.AckRate < low || trend.AckRate > high || trend.LagRate != 0) {
			t.Errorf("after %v s: %+v, want between %v and %v a second", second, trend, low, high)
		}
	}
	for _, o := range []LagObservation{at(301, 0, 9), at(302, 1, -1), at(303, 5, 5)} {
		if trend, known := w.Observe(o); known {
			t.Errorf("after a reset and a gap: %+v", trend)
		}
	}
	if trend, known := w.Observe(at(304, 6, 4)); !known || trend != (LagTrend{1, -1}) {
		t.Errorf("begun anew: %+v, %v", trend, known)
	}
	if trend, known := w.Observe(at(500, 7, 3)); known {
		t.Errorf("nothing for longer than the window, but %+v", trend)
	}
	if trend, known := w.Observe(at(501, 9, 1)); !known || trend != (LagTrend{2, -2}) {
		t.Errorf("observed again: %+v, %v", trend, known)
	}
}
