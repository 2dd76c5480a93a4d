package plot

import (
	"fmt"
	"strings"

	"github.com/leatbus/leat/internal/benchkit"
)

// scale turns values of rows into numbers for an axis.
type scale struct {
	unit  float64 // what 1 on the axis stands for
	short string  // behind a value
	label string  // of the axis
}

// scaleOf chooses so that the highest value has one to three digits before the point.
func scaleOf(row *benchkit.Row, highest float64) scale {
	if measure, ok := strings.CutPrefix(row.Unit, "µs, "); ok {
		s := scaleMicros(highest)
		s.label = fmt.Sprintf("%s, %s (less is better)", s.short, measure)
		return s
	}
	s := scale{unit: 1}
	for _, step := range []scale{{1e9, " G", ""}, {1e6, " M", ""}, {1e3, " k", ""}} {
		if highest >= step.unit {
			s = step
			break
		}
	}
	s.label = strings.TrimSpace(s.short + " " + row.Unit)
	if row.Better == "lower" {
		s.label += " (less is better)"
	}
	return s
}

// scaleMicros is for latencies in microseconds.
func scaleMicros(highest float64) scale {
	switch {
	case highest < 1:
		return scale{unit: 1e-3, short: " ns"}
	case highest < 1e3:
		return scale{unit: 1, short: " µs"}
	default:
		return scale{unit: 1e3, short: " ms"}
	}
}

func (s scale) text(value float64) string { return fmt.Sprintf("%.3g%s", value/s.unit, s.short) }
