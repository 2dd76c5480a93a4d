package clock

import "time"

// Nap blocks the caller's thread for d, up to a few milliseconds, and wakes it within tens of microseconds
// of that: the runtime's timers, which wait for whole milliseconds, take up to one more. It may end early,
// and reports whether it slept at all: with another clock than System, or on a system without such timers,
// it does nothing. Inside a testing/synctest bubble no time of the bubble passes.
func Nap(c Clock, d time.Duration) bool {
	return c == System && d > 0 && nap(d)
}
