package ringbuf

import (
	"context"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Producer is a handle for publishing to a [Ring]. It belongs to one goroutine at a time, and has at
// most one batch claimed at a time.
type Producer[T any] struct {
	_    [cacheGap]byte
	next int64 // one producer: the next sequence to claim
	// limit is where Send must look up from its own fields: the end of the room that is known, or 0 while a
	// batch is open and where a claim must be visible before its slots are written.
	limit     int64
	base      unsafe.Pointer // the ring's first slot
	mask      int64
	cursor    *atomic.Int64 // of the ring
	attention *atomic.Int32 // of the ring's readers: not 0 if one sleeps, or the ring is sealed
	quick     bool          // limit may be used
	flat      bool          // sendShared may be used
	needed    int64         // by a claim of one slot, with headroom, less the capacity
	ring      *Ring[T]
	gate      int64 // some past value of ring.slowest(), so that claims need not read the consumers' lines
	from      int64 // of the open batch
	open      int64 // slots in the open batch, 0 if none
	meter
	_ [cacheGap]byte
}

// Batch is a run of claimed slots.
type Batch[T any] struct {
	ring *Ring[T]
	from int64
	n    int64
}

// Len is the number of slots.
func (b Batch[T]) Len() int { return int(b.n) }

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
	p.mustBeFree()
	var ok bool
	if r.shared() {
		ok = p.roomShared(int64(n)) >= int64(n) && p.takeShared(int64(n))
	} else {
		ok = p.roomAlone(int64(n)) >= int64(n) && p.takeAlone(int64(n))
	}
	if !ok {
		return Batch[T]{}, false
	}
	return p.opened(int64(n)), true
}

// ClaimUpTo is TryClaim that reserves fewer slots, at least one, when there is no room for n, or n is more
// than Options.MaxBatch.
func (p *Producer[T]) ClaimUpTo(n int) (Batch[T], bool) {
	r := p.ring
	p.mustBeFree()
	want := min(int64(n), r.maxBatch)
	if want < 1 {
		return Batch[T]{}, false
	}
	var ok bool
	if r.shared() {
		want = min(want, p.roomShared(want))
		ok = want > 0 && p.takeShared(want)
	} else {
		want = min(want, p.roomAlone(want))
		ok = want > 0 && p.takeAlone(want)
	}
	if !ok {
		return Batch[T]{}, false
	}
	return p.opened(want), true
}

func (p *Producer[T]) mustBeFree() {
	if p.open != 0 {
		panic("ringbuf: claim while the handle's last batch is neither published nor aborted")
	}
}

func (p *Producer[T]) opened(n int64) Batch[T] {
	p.open, p.limit = n, 0
	return Batch[T]{ring: p.ring, from: p.from, n: n}
}

// roomAlone is the number of slots that may be taken: at least n, if there are, looking no further.
func (p *Producer[T]) roomAlone(n int64) int64 {
	if p.next+n > p.gate+p.ring.size {
		p.gate = p.ring.slowest()
	}
	return p.gate + p.ring.size - p.next
}

// takeAlone claims n slots. The claim is visible before it is known that the ring is open; Seal has the other
// half of the argument.
func (p *Producer[T]) takeAlone(n int64) bool {
	r := p.ring
	r.store(&r.claims.value, p.next+n)
	if r.closed() {
		p.withdraw(p.next)
		return false
	}
	if r.lossy { // readers must know before the slots are written
		release(&r.touched.value, max(r.touched.value.Load(), p.next+n))
		fenceStores()
	}
	p.from = p.next
	return true
}

// withdraw takes a claim back, which began at sequence to.
func (p *Producer[T]) withdraw(to int64) {
	r := p.ring
	r.store(&r.claims.value, to)
	if r.closed() {
		r.lower()
	}
}

// roomShared is the number of slots that may be taken, also at the add; shared.go says why.
func (p *Producer[T]) roomShared(n int64) int64 {
	r := p.ring
	claimed := r.cursor.value.Load()
	if claimed&ringClosedBit != 0 {
		return 0
	}
	claimed += r.headroom - r.size
	if claimed+n > p.gate {
		p.gate = r.slowest()
	}
	return p.gate - claimed
}

// takeShared claims n slots that roomShared found, unless the ring was closed in between.
func (p *Producer[T]) takeShared(n int64) bool {
	end := p.ring.cursor.value.Add(n)
	if end&ringClosedBit != 0 {
		return false // the slots are beyond Ring.end, where nobody looks
	}
	if p.ring.lossy {
		fenceStores()
	}
	p.from = end - n
	return true
}

// Claim is TryClaim that waits for room. It waits before it claims, so there is nothing to undo when
// ctx ends. ctx is looked at only when there is no room. Once it had to wait it goes on when an
// eighth of the ring is free, so that producers and consumers take turns in long runs.
//
// Errors: ErrClosed, ErrTooLarge, ctx.Err(), or ErrFull where Options.Full is not WaitForRoom.
func (p *Producer[T]) Claim(ctx context.Context, n int) (Batch[T], error) {
	for {
		if b, ok := p.TryClaim(n); ok {
			return b, nil
		}
		if n < 1 || int64(n) > p.ring.maxBatch {
			return Batch[T]{}, fmt.Errorf("%w: %d slots, want 1 to %d", ErrTooLarge, n, p.ring.maxBatch)
		}
		if err := p.fullOrWait(ctx, int64(n)); err != nil {
			return Batch[T]{}, err
		}
	}
}

// fullOrWait does what Options.Full says about n slots for which there was no room.
func (p *Producer[T]) fullOrWait(ctx context.Context, n int64) error {
	r := p.ring
	switch {
	case r.closed():
		return ErrClosed
	case r.full == DropNewest:
		p.dropped.Add(n)
		return ErrFull
	case r.full == Fail:
		return ErrFull
	}
	return p.awaitRoom(ctx, n)
}

// awaitRoom returns when a claim of n slots is worth trying again.
func (p *Producer[T]) awaitRoom(ctx context.Context, n int64) error {
	r := p.ring
	needed := max(n+r.headroom, r.size/8)
	p.waits.Add(1)
	for {
		gates := r.gates.Load()
		lot := &r.writers
		if (*gates)[0] == &r.sink {
			lot = &r.readers // nobody releases: room comes from what other producers publish
		}
		err := lot.await(ctx, r.wait, func() bool {
			return r.closed() || r.free() >= needed || r.gates.Load() != gates
		})
		switch {
		case err != nil:
			return err
		case r.closed():
			return ErrClosed
		case r.free() >= needed:
			return nil
		}
	}
}

// Publish makes the handle's open batch visible to all consumers, with one atomic store, and wakes
// those that sleep. It never blocks. It panics if b is not the open batch.
func (p *Producer[T]) Publish(b Batch[T]) {
	r := p.ring
	p.finish(b)
	if r.shared() {
		r.publishShared(b.from, r.word(b.from, b.n))
	} else {
		p.next = b.from + b.n
		p.relimit()
		r.store(&r.cursor.value, p.next)
	}
	r.readers.wake()
}

// Abort gives the handle's open batch up: no consumer will see it. It panics if b is not the open
// batch.
func (p *Producer[T]) Abort(b Batch[T]) {
	r := p.ring
	p.finish(b)
	if r.shared() {
		r.publishShared(b.from, r.word(b.from, b.n)|abortedBit)
		r.readers.wake()
	} else { // next was not moved, and the same slots are claimed again
		p.relimit()
		p.withdraw(p.next)
	}
}

func (p *Producer[T]) finish(b Batch[T]) {
	if b.n == 0 || b.n != p.open || b.from != p.from || b.ring != p.ring {
		panic("ringbuf: publish or abort of a batch that is not the handle's open one")
	}
	p.open = 0
}

// relimit lets Send go as far as the room that is known.
func (p *Producer[T]) relimit() {
	if p.quick {
		p.limit = p.gate + p.ring.size
	}
}

// Send publishes a copy of *v, waiting for room as Claim does, with the same errors; it returns nil for
// a value that was dropped by DropNewest. It is the fastest way to publish one at a time.
//
// A lone producer tells nobody of the claim, so whether the ring was sealed is asked afterwards: if
// Seal did not count the slot, nobody ever sees it.
func (p *Producer[T]) Send(ctx context.Context, v *T) error {
	if p.next >= p.limit {
		return p.sendSlow(ctx, v)
	}
	*p.slot(p.next) = *v
	p.next++
	release(p.cursor, p.next)
	if p.attention.Load() == 0 {
		return nil
	}
	return p.afterSend()
}

// Slot is Send without the copy: it returns the next slot, to be filled in place and then published
// with Commit. It waits for room as Claim does, with the same errors. Each Slot is followed by Commit
// before the handle is used for anything else; with several producers, consumers wait for it.
func (p *Producer[T]) Slot(ctx context.Context) (*T, error) {
	if p.next < p.limit {
		return p.slot(p.next), nil
	}
	return p.slotSlow(ctx)
}

// Commit publishes the slot that the last Slot returned. It never blocks. It returns ErrClosed if the
// ring was sealed meanwhile and nobody will see the slot. It panics if there is none, where that can be
// seen.
func (p *Producer[T]) Commit() error {
	if p.next >= p.limit {
		return p.commitClaimed()
	}
	p.next++
	release(p.cursor, p.next)
	if p.attention.Load() == 0 {
		return nil
	}
	return p.afterSend()
}

func (p *Producer[T]) slotSlow(ctx context.Context) (*T, error) {
	if p.flat && p.claimOne() {
		return p.slot(p.from), nil
	}
	if p.refill() {
		return p.slot(p.next), nil
	}
	if _, err := p.Claim(ctx, 1); err != nil {
		return nil, err
	}
	if p.quick { // a claim waits for room; here it need not be seen by anybody
		p.open = 0
		p.relimit()
		p.withdraw(p.next)
		return p.slot(p.next), nil
	}
	return p.slot(p.from), nil
}

func (p *Producer[T]) commitClaimed() error {
	if p.flat && p.open == 1 {
		p.publishOne()
		return nil
	}
	p.Publish(Batch[T]{ring: p.ring, from: p.from, n: 1})
	return nil
}

// TrySend publishes a copy of *v if there is room now, and reports whether it did.
func (p *Producer[T]) TrySend(v *T) bool {
	if p.next < p.limit || p.refill() {
		return p.Send(context.Background(), v) == nil
	}
	return p.trySendClaimed(v)
}

func (p *Producer[T]) slot(at int64) *T {
	var zero T
	return (*T)(unsafe.Add(p.base, uintptr(at&p.mask)*unsafe.Sizeof(zero)))
}

func (p *Producer[T]) sendSlow(ctx context.Context, v *T) error {
	if p.flat && p.sendShared(v) {
		return nil
	}
	for !p.refill() {
		if p.trySendClaimed(v) {
			return nil
		}
		if err := p.fullOrWait(ctx, 1); err != nil {
			if err == ErrFull && p.ring.full == DropNewest {
				return nil
			}
			return err
		}
	}
	return p.Send(ctx, v)
}

// afterSend wakes sleepers, and asks Seal about the slot.
func (p *Producer[T]) afterSend() error {
	r := p.ring
	r.readers.wake()
	if !r.closed() {
		return nil
	}
	r.mu.Lock() // Seal knows the end when it gives this back
	defer r.mu.Unlock()
	if p.next <= r.end.Load() {
		return nil
	}
	p.limit = 0
	return ErrClosed
}

// refill looks for room for Send by a lone producer, and reports whether there is some.
func (p *Producer[T]) refill() bool {
	if !p.quick || p.open != 0 || p.ring.closed() || p.roomAlone(1) < 1 {
		return false
	}
	p.relimit()
	return true
}

// trySendClaimed is TrySend by way of a claim, where a lone producer's short way may not be used. If
// there is no room it reports false.
func (p *Producer[T]) trySendClaimed(v *T) bool {
	p.mustBeFree()
	if p.quick {
		return false
	}
	b, ok := p.TryClaim(1)
	if !ok {
		return false
	}
	*p.slot(b.from) = *v
	p.Publish(b)
	return true
}
