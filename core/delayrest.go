package core

import "time"

const (
	// delayMargin is how much later than due a message is handed to its target, so that the time of the record
	// there, which is not read from the wall clock each time, is not before.
	delayMargin  = int64(100 * time.Microsecond)
	delayRestMin = 10 * time.Second
	delayRestMax = time.Hour
)

// DelayNow gives the millisecond up to which messages are due at a time in nanoseconds.
func DelayNow(ns int64) int64 { return (ns - delayMargin) / 1e6 }

// Left tells before when nothing is due, in milliseconds, and how long that is from now, in nanoseconds; less
// than nothing where the rate is limited. It is false if nothing waits.
func (d *Delay) Left(now int64) (at int64, left time.Duration, found bool) {
	at, found = d.Next()
	return at, time.Duration(at*1e6 + delayMargin - now), found
}

// DelayRest is how long to rest when nothing is due for so long: a wall clock can be set, so a time that is
// far away is looked at again before.
func DelayRest(left time.Duration) time.Duration {
	return min(left, min(max(left/256, delayRestMin), delayRestMax))
}
