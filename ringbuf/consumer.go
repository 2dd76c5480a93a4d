package ringbuf

import (
	"context"
	"math"
)

// Consumer reads a [Ring] at its own pace and sees every published slot once, in order. It belongs to
// one goroutine at a time.
//
//	free for producers     released     handed out     known to be there      looked at
//	        │                  │            │                  │                 │
//	     released     <=     next   <=    read      <=       seen      <=     boundary
//
// released and boundary are where claims begin, and everything before them is published.
type Consumer[T any] struct {
	stage

	_    [cacheGap]byte
	ring *Ring[T]
	next int64 // first slot not released; with one producer the same as released
	last int64 // where the last run began,
	got  int64 // and its length
	read int64 // where the next run begins
	seen int64 // [read, seen) can be handed out

	// boundary, with several producers, is the first claim not looked at; with one, as seen. gaps are the
	// aborted claims in [next, boundary), and gap the number of those that read has passed.
	boundary int64
	gaps     []span
	gap      int
	_        [cacheGap]byte
}

// span is a range of sequences.
type span struct{ from, to int64 }

// Next returns published slots that it has not returned before, at least one, in order; second is empty
// unless they wrap around the end of the ring. It waits until there are any. The slots are the
// consumer's until it releases them. A run ends early in front of an aborted batch, and at a quarter of
// a large ring. A consumer that waits here without having released anything waits for ever once
// the ring is full.
//
// Errors: ErrClosed once everything of a sealed ring was returned, or after CloseNow or Close of the
// consumer, or ctx.Err(). ctx is looked at only when there is nothing to return.
func (c *Consumer[T]) Next(ctx context.Context) (first, second []T, err error) {
	r := c.ring
	if c.read == c.seen {
		r.wait.settle()
	}
	for {
		if r.halted.Load() || c.closed.Load() {
			return nil, nil, ErrClosed
		}
		if c.ready() {
			first, second = c.take()
			return first, second, nil
		}
		if err := c.await(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// Poll is Next that never blocks: it returns nothing when there is nothing. A caller that found nothing
// should let some 100 ns pass before it looks again: each look slows the producer.
func (c *Consumer[T]) Poll() (first, second []T) {
	if c.ring.halted.Load() || c.closed.Load() || !c.ready() {
		return nil, nil
	}
	return c.take()
}

// Release frees all slots that Next and Poll have returned, and wakes producers that sleep.
func (c *Consumer[T]) Release() {
	if c.next != c.read {
		c.advance(c.read)
	}
}

// ReleaseTo frees the first n of the slots that the last Next or Poll returned, and all returned
// before. With several producers the slots of a batch are free for producers, and there for consumers
// After this one, when all of them are released. It does nothing if they are free already, and panics
// if there were fewer or they were given back.
func (c *Consumer[T]) ReleaseTo(n int) {
	if n < 0 || int64(n) > c.got {
		panic("ringbuf: release of more slots than were returned")
	}
	if to := c.last + int64(n); to > c.next {
		c.advance(to)
	}
}

// Rewind gives back what was returned and not released: the next Next or Poll returns it again.
func (c *Consumer[T]) Rewind() {
	c.read, c.last, c.got, c.gap = c.next, c.next, 0, 0
	c.seen = c.next // look again: more may have been published
}

// Close takes the consumer out of the ring: producers do not wait for it any more, consumers After it follow
// what it followed, and Next returns ErrClosed. What it had not released is free. Calling it again does
// nothing.
func (c *Consumer[T]) Close() {
	if !c.closed.Load() {
		c.ring.remove(c)
	}
}

// ready tells whether there is something to hand out at read, which it moves over aborted claims.
func (c *Consumer[T]) ready() bool {
	if c.read == c.seen {
		c.look()
	}
	if len(c.gaps) == c.gap {
		return c.read != c.seen
	}
	for c.gap < len(c.gaps) && c.gaps[c.gap].from == c.read && c.read != c.seen {
		c.read = c.gaps[c.gap].to
		c.gap++
		if c.next == c.gaps[c.gap-1].from { // aborted claims alone must not keep producers waiting
			c.advance(c.read)
		}
		if c.read == c.seen {
			c.look()
		}
	}
	return c.read != c.seen
}

// take hands out what ready found.
func (c *Consumer[T]) take() (first, second []T) {
	from, to := c.read, c.seen
	if !c.ring.shared() {
		to = min(to, from+c.ring.most)
	}
	if c.gap < len(c.gaps) {
		to = min(to, c.gaps[c.gap].from)
	}
	c.last, c.got, c.read = from, to-from, to
	return c.ring.run(from, to)
}

// advance gives the slots before sequence to back to the producers.
func (c *Consumer[T]) advance(to int64) {
	r := c.ring
	c.next = to
	if len(c.gaps) != 0 {
		c.dropGaps()
	}
	if r.shared() && to != c.read {
		to = c.wholeClaims()
	}
	r.store(&c.released.value, to)
	c.lot.wake()
	if r.writers.waiting.Load() != 0 {
		r.wakeWriters()
	}
}

// wakeWriters wakes producers if an eighth of the ring is free. Below that nobody is woken, which loses
// no wake-up: what fills the rest is published, or its producer publishes it without waiting for room,
// so another release follows.
func (r *Ring[T]) wakeWriters() {
	if !r.fenced {
		// Two consumers may release what is missing at the same time. Each must see the other's release, or
		// it may be the last that both of them leave the waking to; so a fence between release and look.
		r.writers.waiting.Add(0)
	}
	if r.free() >= r.size/8 {
		r.writers.wakeAll()
	}
}

// wholeClaims is where the claim begins that next lies in. Claims that are not released stand in their words.
func (c *Consumer[T]) wholeClaims() int64 {
	at := c.released.value.Load()
	for at < c.next {
		n, _ := c.ring.claimAt(at)
		if at+n > c.next {
			break
		}
		at += n
	}
	return at
}

// dropGaps forgets aborted claims that are released.
func (c *Consumer[T]) dropGaps() {
	n := 0
	for n < len(c.gaps) && c.gaps[n].to <= c.next {
		n++
	}
	c.gaps = c.gaps[:copy(c.gaps, c.gaps[n:])]
	c.gap = max(0, c.gap-n)
}

// look moves seen forward over what may be handed out by now.
func (c *Consumer[T]) look() {
	r := c.ring
	limit := int64(math.MaxInt64)
	if deps := *c.deps.Load(); len(deps) != 0 {
		limit = reached(deps)
	} else if !r.shared() {
		limit = r.claimed()
	}
	if r.shared() {
		limit = c.follow(limit)
	} else {
		c.boundary = max(c.boundary, limit)
	}
	c.seen = max(c.seen, limit) // a consumer that was added after others may be in front of them
}

// follow looks at the claims before limit, up to about one run of them, and gives what is published.
func (c *Consumer[T]) follow(limit int64) int64 {
	enough := min(limit, c.read+c.ring.most)
	for c.boundary < enough {
		n, aborted := c.ring.claimAt(c.boundary)
		if n == 0 {
			break
		}
		if aborted {
			c.gaps = append(c.gaps, span{c.boundary, c.boundary + n})
		}
		c.boundary += n
	}
	return min(limit, c.boundary)
}

// reached is the sequence that all of the stages have released.
func reached(stages []*stage) int64 {
	slowest := stages[0].released.value.Load()
	for _, s := range stages[1:] {
		slowest = min(slowest, s.released.value.Load())
	}
	return slowest
}

// await returns nil when look will move seen, or may.
func (c *Consumer[T]) await(ctx context.Context) error {
	r, at := c.ring, c.read
	for {
		deps := c.deps.Load()
		lot, behind := &r.readers, (*stage)(nil)
		for _, s := range *deps {
			if s.released.value.Load() <= at {
				lot, behind = &s.lot, s // whoever is behind must move first
				break
			}
		}
		if behind == nil && len(*deps) != 0 {
			return nil
		}
		there := func() bool {
			if behind != nil {
				return behind.released.value.Load() > at
			}
			return r.publishedAt(at)
		}
		// A change of deps ends the wait too: it may have come before this one was in the lot.
		err := lot.await(ctx, r.wait, func() bool {
			return there() || at >= r.end.Load() || r.halted.Load() || c.deps.Load() != deps
		})
		if err != nil {
			return err
		}
		if r.halted.Load() || at >= r.end.Load() {
			return ErrClosed
		}
		if behind == nil && there() {
			return nil
		}
	}
}

// publishedAt tells whether the claim that begins at sequence at is published or aborted.
func (r *Ring[T]) publishedAt(at int64) bool {
	if !r.shared() {
		return r.claimed() > at
	}
	n, _ := r.claimAt(at)
	return n != 0
}
