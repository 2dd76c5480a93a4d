package clock

import (
	"context"
	"time"
)

// Clock tells the time and starts timers. All methods may be called by any goroutine and never block.
type Clock interface {
	// Now returns the wall time in nanoseconds since 1970, UTC. It may jump either way.
	Now() int64
	// Mono returns nanoseconds since a fixed start of the clock's own choice. It never goes back;
	// only differences mean something.
	Mono() int64
	// NewTimer returns a timer that fires once, d from now; at once if d <= 0.
	NewTimer(d time.Duration) Timer
}

// Timer is one pending wake-up. It belongs to the goroutine that made it.
type Timer interface {
	// C returns the channel that receives the clock's time when the timer fires. After Stop or Reset
	// no time of an earlier setting is received from it.
	C() <-chan time.Time
	// Stop keeps the timer from firing and reports whether it was still pending.
	Stop() bool
	// Reset makes the timer fire d from now, whatever its state was.
	Reset(d time.Duration)
}

// Sleep blocks until d has passed on c, or returns the context's error as soon as ctx ends. A context
// that has already ended wins over a duration that is zero or less.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	timer := c.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
