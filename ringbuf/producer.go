package ringbuf

import (
	"context"
	"fmt"
)

// Producer is a handle for publishing to a [Ring]. It belongs to one goroutine at a time, and has at
// most one batch claimed at a time.
type Producer[T any] struct {
	_    [cacheGap]byte
	ring *Ring[T]
	next int64 // one producer: the next sequence to claim
	gate int64 // some past value of ring.slowest(), so that claims need not read the consumers' lines
	from int64 // of the open batch
	open int64 // slots in the open batch, 0 if none
	_    [cacheGap]byte
}

// Batch is a run of claimed slots.
type Batch[T any] struct {
	ring *Ring[T]
	from int64
	n    int64
}

// Slots returns the slots of the batch to be filled; second is empty unless the batch wraps around
// the end of the ring. A slot holds what was last in it. They must not be touched after Publish or
// Abort.
func (b Batch[T]) Slots() (first, second []T) {
	if b.n == 0 {
		return nil, nil
	}
	return b.ring.run(b.from, b.from+b.n)
}

// TryClaim reserves n slots, 1 to Options.MaxBatch. It never blocks, and reports false when there is
// no room now, n is out of range, or the ring is closed. It panics if the handle has a batch open.
func (p *Producer[T]) TryClaim(n int) (Batch[T], bool) {
	r := p.ring
	if uint64(n)-1 >= uint64(r.maxBatch) {
		return Batch[T]{}, false
	}
	if p.open != 0 {
		panic("ringbuf: claim while the handle's last batch is neither published nor aborted")
	}
	var ok bool
	if r.shared() {
		ok = p.roomShared(int64(n)) && p.takeShared(int64(n))
	} else {
		ok = p.claimAlone(int64(n))
	}
	if !ok {
		return Batch[T]{}, false
	}
	p.open = int64(n)
	return Batch[T]{ring: r, from: p.from, n: int64(n)}, true
}

// claimAlone needs no shared word: nobody else claims, and Publish is what moves next.
func (p *Producer[T]) claimAlone(n int64) bool {
	r := p.ring
	if r.closed() {
		return false
	}
	if p.next+n-r.size > p.gate {
		if p.gate = r.slowest(); p.next+n-r.size > p.gate {
			return false
		}
	}
	p.from = p.next
	return true
}

// roomShared tells whether n slots may be taken; shared.go says why that is still so at the add.
func (p *Producer[T]) roomShared(n int64) bool {
	r := p.ring
	needed := n + r.headroom - r.size
	claimed := r.cursor.value.Load()
	if claimed&ringClosedBit != 0 {
		return false
	}
	if claimed+needed > p.gate {
		p.gate = r.slowest()
	}
	return claimed+needed <= p.gate
}

// takeShared claims n slots that roomShared found, unless the ring was closed in between.
func (p *Producer[T]) takeShared(n int64) bool {
	end := p.ring.cursor.value.Add(n)
	if end&ringClosedBit != 0 {
		return false // the slots are beyond Ring.end, where nobody looks
	}
	p.from = end - n
	return true
}

// Claim is TryClaim that waits for room. It waits before it claims, so there is nothing to undo when
// ctx ends. ctx is looked at only when there is no room. Once it had to wait it goes on when an
// eighth of the ring is free, so that producers and consumers take turns in long runs.
//
// Errors: ErrClosed, ErrTooLarge, or ctx.Err().
func (p *Producer[T]) Claim(ctx context.Context, n int) (Batch[T], error) {
	for {
		if b, ok := p.TryClaim(n); ok {
			return b, nil
		}
		if n < 1 || int64(n) > p.ring.maxBatch {
			return Batch[T]{}, fmt.Errorf("%w: %d slots, want 1 to %d", ErrTooLarge, n, p.ring.maxBatch)
		}
		if err := p.awaitRoom(ctx, int64(n)); err != nil {
			return Batch[T]{}, err
		}
	}
}

// awaitRoom returns when a claim of n slots is worth trying again.
func (p *Producer[T]) awaitRoom(ctx context.Context, n int64) error {
	r := p.ring
	needed := max(n+r.headroom, r.size/8)
	err := r.writers.await(ctx, r.wait, func() bool { return r.closed() || r.free() >= needed })
	if err == nil && r.closed() {
		err = ErrClosed
	}
	return err
}

// Publish makes the handle's open batch visible to all consumers, with one atomic store, and wakes
// those that sleep. It never blocks. It panics if b is not the open batch.
func (p *Producer[T]) Publish(b Batch[T]) {
	r := p.ring
	p.finish(b)
	if r.shared() {
		r.words[b.from&r.mask].Store(r.word(b.from, b.n))
	} else {
		p.next = b.from + b.n
		r.cursor.value.Store(p.next)
	}
	r.readers.wake()
}

// Abort gives the handle's open batch up: no consumer will see it. It panics if b is not the open
// batch.
func (p *Producer[T]) Abort(b Batch[T]) {
	r := p.ring
	p.finish(b)
	if r.shared() { // alone, next was not moved, and the same slots are claimed again
		r.words[b.from&r.mask].Store(r.word(b.from, b.n) | abortedBit)
		r.readers.wake()
	}
}

func (p *Producer[T]) finish(b Batch[T]) {
	if b.n == 0 || b.n != p.open || b.from != p.from || b.ring != p.ring {
		panic("ringbuf: publish or abort of a batch that is not the handle's open one")
	}
	p.open = 0
}

// Send publishes a copy of *v, waiting for room as Claim does, with the same errors.
func (p *Producer[T]) Send(ctx context.Context, v *T) error {
	b, err := p.Claim(ctx, 1)
	if err != nil {
		return err
	}
	p.ring.slots[b.from&p.ring.mask] = *v
	p.Publish(b)
	return nil
}

// TrySend publishes a copy of *v if there is room now, and reports whether it did.
func (p *Producer[T]) TrySend(v *T) bool {
	b, ok := p.TryClaim(1)
	if !ok {
		return false
	}
	p.ring.slots[b.from&p.ring.mask] = *v
	p.Publish(b)
	return true
}
