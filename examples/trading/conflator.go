package main

import (
	"context"
	"sync"
)

// conflator keeps the latest tick of each instrument for a consumer that is too slow for all of them. Who
// reads the topic puts, and never waits; the consumer takes, at its own pace, in the order in which
// instruments have changed since it took them last. So a busy instrument does not push a quiet one out, and
// what is kept is bounded by the number of instruments, however slow the consumer is.
type conflator struct {
	fed chan struct{} // holds a token if there may be something to take

	mu         sync.Mutex // guards the following
	latest     []tick     // by instrument
	queued     []bool     // by instrument: it is in changed
	changed    []uint32   // ring; an instrument is in it once at most, so that it is never too small
	head       int        // of changed: the next to be taken
	count      int        // of changed
	superseded int64      // ticks that nobody took, because a later one came
}

func newConflator(instruments int) *conflator {
	return &conflator{fed: make(chan struct{}, 1), latest: make([]tick, instruments),
		queued: make([]bool, instruments), changed: make([]uint32, instruments)}
}

// put makes t the latest tick of its instrument.
func (c *conflator) put(t *tick) {
	c.mu.Lock()
	c.latest[t.instrument] = *t
	if c.queued[t.instrument] {
		c.superseded++
	} else {
		c.queued[t.instrument] = true
		c.changed[(c.head+c.count)%len(c.changed)] = t.instrument
		c.count++
	}
	c.mu.Unlock()
	select {
	case c.fed <- struct{}{}:
	default: // there is a token already
	}
}

// take waits for an instrument that has changed, and gives its latest tick. It is for one consumer.
func (c *conflator) take(ctx context.Context) (tick, error) {
	for {
		if t, ok := c.tryTake(); ok {
			return t, nil
		}
		select {
		case <-c.fed:
		case <-ctx.Done():
			return tick{}, context.Cause(ctx)
		}
	}
}

func (c *conflator) tryTake() (tick, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == 0 {
		return tick{}, false
	}
	i := c.changed[c.head]
	c.head = (c.head + 1) % len(c.changed)
	c.count--
	c.queued[i] = false
	return c.latest[i], true
}

// lost is how many ticks were superseded so far.
func (c *conflator) lost() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.superseded
}
