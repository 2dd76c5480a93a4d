package core

import (
	"math"
	"time"
)

// LagObservation is where a group was in a partition at one moment.
type LagObservation struct {
	At        int64 // nanoseconds of a clock that never goes back
	Committed int64 // first offset not acked; below 0 where that is not known
	Lag       int64 // records not acked; below 0 where that is not known
}

// LagTrend is how a group moved in a partition between two observations, in records per second.
type LagTrend struct {
	AckRate float64 // acked
	LagRate float64 // by which the lag grows; below 0 it shrinks
}

const (
	// LagWindowMax is how far back a trend looks.
	LagWindowMax = time.Minute
	// LagWindowMin is how far two observations have to lie apart to tell a trend.
	LagWindowMin = 100 * time.Millisecond
	// maxToZero is the longest time that TimeToZero tells; what takes longer never ends.
	maxToZero = 10 * 365 * 24 * time.Hour
)

// LagTrendOf compares two observations of the same partition. It reports false where they tell nothing: one
// of them is unknown, they are less than LagWindowMin or more than LagWindowMax apart, or the group or the
// log went back between them.
func LagTrendOf(older, newer LagObservation) (LagTrend, bool) {
	apart := newer.At - older.At
	if !older.precedes(newer) || apart < int64(LagWindowMin) || apart > int64(LagWindowMax) {
		return LagTrend{}, false
	}
	seconds := time.Duration(apart).Seconds()
	return LagTrend{
		AckRate: float64(newer.Committed-older.Committed) / seconds,
		LagRate: float64(newer.Lag-older.Lag) / seconds,
	}, true
}

// precedes reports whether newer can follow o without a reset of the group or a new topic of the same name.
func (o LagObservation) precedes(newer LagObservation) bool {
	return o.known() && newer.known() && newer.At >= o.At && newer.Committed >= o.Committed &&
		newer.Committed+newer.Lag >= o.Committed+o.Lag
}

func (o LagObservation) known() bool { return o.Committed >= 0 && o.Lag >= 0 }

// TimeToZero is how long it takes until a lag is used up if it goes on to shrink as it does. It reports false
// where it grows, stands still, or shrinks so slowly that nobody waits for it.
func (t LagTrend) TimeToZero(lag int64) (time.Duration, bool) {
	if lag <= 0 {
		return 0, true
	}
	if t.LagRate >= 0 || math.IsNaN(t.LagRate) {
		return 0, false
	}
	seconds := float64(lag) / -t.LagRate
	if seconds > maxToZero.Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// LagWindow tells the trend of one group in one partition from observations as they come. It keeps two, so
// that a trend looks back by between half of LagWindowMax and all of it once there were observations for so
// long. The zero value has seen nothing.
type LagWindow struct {
	base, middle LagObservation
	begun        bool
}

// Observe takes the newest observation and gives the trend up to it; false where there is none yet, see
// LagTrendOf. After a reset, a new topic of the same name or a gap in what is known it begins anew.
func (w *LagWindow) Observe(o LagObservation) (LagTrend, bool) {
	if !w.begun || !w.middle.precedes(o) {
		*w = LagWindow{base: o, middle: o, begun: true}
		return LagTrend{}, false
	}
	if o.At-w.base.At > int64(LagWindowMax) {
		w.base = w.middle
	}
	trend, ok := LagTrendOf(w.base, o)
	if o.At-w.middle.At >= int64(LagWindowMax/2) {
		w.base, w.middle = w.middle, o
	}
	return trend, ok
}
