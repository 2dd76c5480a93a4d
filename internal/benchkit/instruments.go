package benchkit

import (
	"runtime"

	"github.com/leatbus/leat/internal/clock"
)

// Bounds of good instruments; beyond them the report has a note.
const (
	recordNanosMax = 20
	lateMicrosMax  = 20
)

// Instruments is what measuring itself costs, on this machine and in this run.
type Instruments struct {
	ClockNanos  float64 `json:"clock_ns"`    // one reading of the clock
	RecordNanos float64 `json:"record_ns"`   // one latency into a histogram
	LateP50     float64 `json:"late_p50_us"` // how late a paced load of 100,000 per second sends
	LateP99     float64 `json:"late_p99_us"`
}

// measureInstruments takes about a tenth of a second.
func measureInstruments(c clock.Clock) *Instruments {
	const times = 200_000
	start := c.Mono()
	for range times {
		c.Mono()
	}
	clockNanos := float64(c.Mono()-start) / times
	h := NewHistogram()
	start = c.Mono()
	for i := range int64(times) {
		h.Record(50 + i&1023)
	}
	recordNanos := float64(c.Mono()-start) / times
	late := NewHistogram()
	pacer := NewPacer(c, 100_000)
	for range 5_000 {
		due := pacer.Wait()
		late.Record(c.Mono() - due)
	}
	runtime.KeepAlive(h)
	summary := late.Summary()
	return &Instruments{clockNanos, recordNanos, summary.P50, summary.P99}
}

// notes says what is worse than it should be.
func (i *Instruments) notes() (notes []string) {
	if i.RecordNanos > recordNanosMax {
		notes = append(notes, "recording a latency costs "+figure(i.RecordNanos)+" ns")
	}
	if i.LateP99 > lateMicrosMax {
		notes = append(notes, "the pacing is late: p99 "+micros(i.LateP99))
	}
	return notes
}
