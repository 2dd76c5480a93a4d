package actors

import (
	"sync/atomic"
	"time"
)

// backoff is an exponentially growing delay: first·2ⁿ, at most limit, ±20 %.
type backoff struct{ first, limit time.Duration }

var (
	restartBackoff   = backoff{first: 10 * time.Millisecond, limit: 30 * time.Second}
	retryBackoff     = backoff{first: 100 * time.Millisecond, limit: 30 * time.Second}
	subscribeBackoff = backoff{first: 10 * time.Millisecond, limit: 30 * time.Second}
)

// delay is the pause before try n, counted from 0. The limit bounds it with the jitter included.
func (b backoff) delay(n int, j *jitter) time.Duration {
	d := b.limit
	if n < 32 && b.first<<n < b.limit {
		d = b.first << n
	}
	d += time.Duration((j.float() - 0.5) * 0.4 * float64(d))
	return min(d, b.limit)
}

// jitter is a stream of pseudo-random numbers from a seed, for any number of goroutines.
//
// source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014.
type jitter struct{ state atomic.Uint64 }

// float returns the next number of [0, 1).
func (j *jitter) float() float64 {
	z := j.state.Add(0x9e3779b97f4a7c15)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11) / (1 << 53)
}
