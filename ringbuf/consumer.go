package ringbuf

import "context"

// Consumer reads a [Ring] at its own pace and sees every published slot once, in order. It belongs to
// one goroutine at a time.
type Consumer[T any] struct {
	released paddedSequence // first slot this consumer still needs; producers read it

	// Owned by the consumer's goroutine:
	ring    *Ring[T]
	next    int64 // same as released
	scanned int64 // [next, scanned) is published and what Next returned last
	_       [cacheGap]byte
}

// Next returns the published slots that this consumer has not released, at least one, in order; second
// is empty unless they wrap around the end of the ring. It waits until there are any. The slots are
// the consumer's until Release or ReleaseTo; what is not released is returned again, together with
// what was published since. An aborted batch between two published ones ends a run early.
//
// Errors: ErrClosed once everything published before Close was returned and released, or ctx.Err().
// ctx is looked at only when there is nothing to return.
func (c *Consumer[T]) Next(ctx context.Context) (first, second []T, err error) {
	for {
		if c.refresh(); c.scanned != c.next {
			first, second = c.ring.run(c.next, c.scanned)
			return first, second, nil
		}
		if err := c.awaitData(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// Poll is Next that never blocks: it returns nothing when there is nothing.
func (c *Consumer[T]) Poll() (first, second []T) {
	c.refresh()
	return c.ring.run(c.next, c.scanned)
}

// Release frees all slots that the last Next or Poll returned, and wakes producers that sleep.
func (c *Consumer[T]) Release() {
	if c.next != c.scanned {
		c.advance(c.scanned)
	}
}

// ReleaseTo frees the first n of the slots that the last Next or Poll returned. It panics if there
// were fewer.
func (c *Consumer[T]) ReleaseTo(n int) {
	if n < 0 || int64(n) > c.scanned-c.next {
		panic("ringbuf: release of more slots than were returned")
	}
	if n > 0 {
		c.advance(c.next + int64(n))
	}
}

// advance gives the slots before sequence to back to the producers.
func (c *Consumer[T]) advance(to int64) {
	r := c.ring
	c.next = to
	c.released.value.Store(to)
	// Below an eighth nobody is woken. That loses no wake-up: what fills the rest is published, or
	// its producer publishes it without waiting for room, so another release follows.
	if r.writers.waiting.Load() != 0 && r.free() >= r.size/8 {
		r.writers.wakeAll()
	}
}

// refresh moves scanned forward over what was published since.
func (c *Consumer[T]) refresh() {
	r := c.ring
	if !r.shared() {
		// A batch published while Close runs may have been seen and be cut off now: never go back.
		c.scanned = max(c.scanned, min(r.cursor.value.Load(), r.end.Load()))
		return
	}
	for {
		n, aborted := r.claimAt(c.scanned)
		switch {
		case n == 0:
			return
		case !aborted:
			c.scanned += n
		case c.scanned != c.next:
			return // the run ends in front of an aborted claim
		default:
			c.scanned += n
			c.advance(c.scanned)
		}
	}
}

// awaitData returns nil when refresh will move, or may: with several producers an aborted claim also
// ends the wait.
func (c *Consumer[T]) awaitData(ctx context.Context) error {
	r := c.ring
	at := c.scanned
	err := r.readers.await(ctx, r.wait, func() bool { return r.published(at) || at >= r.end.Load() })
	if err == nil && !r.published(at) {
		err = ErrClosed
	}
	return err
}

// published tells whether the claim that begins at sequence at is published or aborted.
func (r *Ring[T]) published(at int64) bool {
	if !r.shared() {
		return min(r.cursor.value.Load(), r.end.Load()) > at
	}
	n, _ := r.claimAt(at)
	return n != 0
}
