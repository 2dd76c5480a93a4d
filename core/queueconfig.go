package core

import (
	"math"
	"time"
)

// Bounds and defaults of queue groups.
const (
	QueueLease        = 30 * time.Second // how long a member has for what it was handed
	QueueMaxHeld      = 1000             // records that a member may have at a time
	QueueMaxAttempts  = 16               // deliveries until a record is a dead letter
	QueueMaxUnsettled = 1 << 17          // records below Queue.Next that may wait until no new ones go out
	queueRun          = 64               // records of one grant
	queueReadAhead    = 1024             // records of one QueueRead
)

// QueueConfig says how a queue group treats its records. What is zero gets its default.
type QueueConfig struct {
	// Ordered keeps the order of each key: of its records one is out at a time, and the next only when that
	// one is settled.
	Ordered bool
	// Filtered leaves records out: which ones is asked for together with their keys.
	Filtered     bool
	Lease        time.Duration
	MaxUnsettled int64
	MaxAttempts  int32 // negative for no bound
	Retry        Backoff
	Rate         int64 // records a second that are handed out; 0 for no bound
}

// Backoff is how long a record that failed waits: Min after the first attempt, Factor times as long after
// each further one, at most Max, made shorter at random by up to the part Jitter, 0 to 1.
type Backoff struct {
	Min, Max time.Duration
	Factor   float64
	Jitter   float64
}

// readsAhead reports whether records are looked at before they are handed out.
func (c *QueueConfig) readsAhead() bool { return c.Ordered || c.Filtered }

// WithDefaults fills in what is zero.
func (c QueueConfig) WithDefaults() QueueConfig {
	if c.Lease == 0 {
		c.Lease = QueueLease
	}
	if c.MaxUnsettled == 0 {
		c.MaxUnsettled = QueueMaxUnsettled
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = QueueMaxAttempts
	}
	if c.Retry == (Backoff{}) {
		c.Retry = Backoff{Min: 100 * time.Millisecond, Max: time.Minute, Factor: 2, Jitter: 0.2}
	}
	return c
}

// Validate says what is wrong with the configuration of group.
func (c *QueueConfig) Validate(group string) error {
	bad := func(format string, args ...any) error {
		return Errorf(CodeInvalidConfig, "queue group "+Quote(group), format, args...)
	}
	switch r := &c.Retry; {
	case c.Lease < 0 || c.Lease > 24*time.Hour:
		return bad("lease %v: want up to 24h", c.Lease)
	case c.MaxUnsettled < 0 || c.MaxUnsettled > 1<<24:
		return bad("%d records unsettled: want up to %d", c.MaxUnsettled, 1<<24)
	case c.Rate < 0:
		return bad("rate %d: want records a second, or 0 for no bound", c.Rate)
	case r.Min < 0 || r.Max < r.Min:
		return bad("delay from %v to %v: want 0 or more, the first the shorter", r.Min, r.Max)
	case r.Factor != 0 && !(r.Factor >= 1 && r.Factor <= 100):
		return bad("factor %v: want 1 to 100", r.Factor)
	case !(r.Jitter >= 0 && r.Jitter <= 1):
		return bad("jitter %v: want 0 to 1", r.Jitter)
	}
	return nil
}

// delay is how long a record waits after so many attempts, at least 1. random is any number.
func (b *Backoff) delay(attempts int32, random uint64) int64 {
	d := float64(b.Min) * math.Pow(max(b.Factor, 1), float64(attempts-1))
	d = min(d, float64(b.Max)) // also where it is infinite
	return int64(d * (1 - b.Jitter*float64(random>>11)/(1<<53)))
}

// tokenBucket bounds records a second, with bursts of a tenth of a second.
type tokenBucket struct {
	rate   float64 // tokens a nanosecond; 0 for no bound
	burst  float64
	tokens float64
	at     int64
}

func (b *tokenBucket) set(perSecond int64) {
	b.rate = float64(perSecond) / 1e9
	b.burst = max(float64(perSecond)/10, 1)
	b.tokens = min(b.tokens, b.burst)
}

// allow is how many of n may go now.
func (b *tokenBucket) allow(now, n int64) int64 {
	if b.rate == 0 {
		return n
	}
	b.tokens = min(b.burst, b.tokens+float64(now-b.at)*b.rate)
	b.at = now
	return min(n, int64(b.tokens))
}

func (b *tokenBucket) take(n int64) {
	if b.rate > 0 {
		b.tokens -= float64(n)
	}
}

// fullAt is when there are n tokens.
func (b *tokenBucket) fullAt(n float64) int64 {
	return b.at + int64(math.Ceil((n-b.tokens)/b.rate))
}
