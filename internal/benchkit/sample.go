package benchkit

import (
	"fmt"
	"strings"
)

// Sample is what one case measured in one round. Its JSON keys are those that a Command prints. What was
// not measured stays zero.
type Sample struct {
	Ops     int64      `json:"ops"`        // operations in the measured time
	Rate    float64    `json:"rate"`       // of them per second
	Cost    float64    `json:"cost"`       // in the unit of a scenario that asks what something costs
	Latency *Latency   `json:"latency_us"` // from the intended time, where there is one
	Curve   []Quantile `json:"curve,omitempty"`

	Lost       int64   `json:"lost"`
	Duplicated int64   `json:"duplicated"`
	Reordered  int64   `json:"reordered"`
	SumWrong   bool    `json:"sum_wrong"`   // the receivers did not add up what was sent
	MissedRate float64 `json:"missed_rate"` // share of the intended rate that is missing, 0 to 1

	// AllocsPerOp is counted by the runner if it is nil, the case runs in this process and Ops is set.
	AllocsPerOp *float64 `json:"allocs_per_op,omitempty"`
	// More are further figures of the same round; they become rows of their own.
	More []Figure `json:"more,omitempty"`
}

// Figure is a further figure of a case: its row is called by Name alone, so that is unique in a scenario.
type Figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Better string  `json:"better,omitempty"` // "higher", "lower", or empty if neither is
	Note   string  `json:"note,omitempty"`
}

// Measured takes latencies over.
func (s *Sample) Measured(h *Histogram) {
	summary := h.Summary()
	s.Latency, s.Curve = &summary, h.Curve()
}

// Judged takes a verdict over.
func (s *Sample) Judged(v Verdict) {
	s.Lost, s.Duplicated, s.Reordered = v.Lost, v.Duplicated, v.Reordered
}

// Paced takes over how much of an intended rate was missing when n operations took nanos.
func (s *Sample) Paced(n, nanos int64, intended float64) {
	s.MissedRate = max(0, 1-perSecond(n, nanos)/intended)
}

// wrong says what is wrong with the messages, or "".
func (s *Sample) wrong() string {
	var found []string
	for _, count := range []struct {
		n    int64
		what string
	}{{s.Lost, "lost"}, {s.Duplicated, "duplicated"}, {s.Reordered, "reordered"}} {
		if count.n != 0 {
			found = append(found, fmt.Sprintf("%d %s", count.n, count.what))
		}
	}
	if s.SumWrong {
		found = append(found, "sum wrong")
	}
	return strings.Join(found, ", ")
}

// value is the figure of a row.
func (s *Sample) value(m Measure) float64 {
	switch {
	case m == ByRate:
		return s.Rate
	case m == ByCost:
		return s.Cost
	case m == ByAllocs:
		if s.AllocsPerOp == nil {
			return 0
		}
		return *s.AllocsPerOp
	case s.Latency == nil:
		return 0
	case m == ByP50:
		return s.Latency.P50
	case m == ByP999:
		return s.Latency.P999
	default:
		return s.Latency.P99
	}
}

// complete refuses a sample without the figure that its scenario asks for.
func (s *Sample) complete(m Measure) error {
	if m == ByRate && !(s.Rate > 0) {
		return fmt.Errorf("no rate in the sample (rate %v)", s.Rate)
	}
	if (m == ByP50 || m == ByP99) && (s.Latency == nil || s.Latency.Count <= 0) {
		return fmt.Errorf("no latency in the sample")
	}
	return nil
}
