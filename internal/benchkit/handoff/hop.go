package handoff

import "time"

// HopSlots is the size of the two rings of a ping-pong: small enough that no hop misses the caches for
// the size's sake.
const HopSlots = 1024

// Hop sends n messages there and back, one after the other, and measures half of each round trip. ping
// sends message i, and returns when it is back; pong answers n messages.
func Hop(n int64, ping func(i int64) error, pong func() error) (Result, error) {
	trips := make([]int64, n)
	var nanosPerTick float64
	result, err := Together(n, func() error {
		began, first := time.Now(), ticks()
		last := first
		for i := range trips {
			start := ticks()
			if err := ping(int64(i)); err != nil {
				return err
			}
			last = ticks()
			trips[i] = last - start
		}
		nanosPerTick = float64(time.Since(began)) / float64(max(last-first, 1))
		return nil
	}, pong)
	result.Latency = newLatency(trips, nanosPerTick/2/1e3)
	return result, err
}
