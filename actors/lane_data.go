package actors

import (
	"context"
	"fmt"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/ringbuf"
)

// Batch is a run of messages from the data lane, in the order they were published. Receive gets it as
// *Batch[T]; it and what At points to are valid until Receive returns.
type Batch[T any] struct {
	first, second []T // second where the run wraps around the end of the ring
	done          int
	limit         int // the most messages of one run
}

// Len is the number of messages, at least 1.
func (b *Batch[T]) Len() int { return len(b.first) + len(b.second) }

// At returns message i, from 0. It may be changed in place.
func (b *Batch[T]) At(i int) *T {
	if i < len(b.first) {
		return &b.first[i]
	}
	return &b.second[i-len(b.first)]
}

// Done says that the first n messages are handled: if Receive panics later, the next incarnation gets
// the rest, from message n on. Without it, it gets all of them again. A normal return handles all.
func (b *Batch[T]) Done(n int) {
	if n < b.done || n > b.Len() {
		panic(fmt.Sprintf("actors: Done(%d) after Done(%d) in a batch of %d", n, b.done, b.Len()))
	}
	b.done = n
}

// clip takes the first messages of a run, at most the limit.
func (b *Batch[T]) clip(first, second []T) {
	n := b.limit
	first = first[:min(n, len(first))]
	b.first, b.second, b.done = first, second[:min(n-len(first), len(second))], 0
}

// Sender puts messages into the data lane of one actor. It belongs to one goroutine at a time.
type Sender[T any] struct {
	mailbox  *RingMailbox[T]
	producer *ringbuf.Producer[T]
}

// TryClaim reserves n slots, at most MailboxOptions.SendBatch. It never blocks and reports false when
// there is no room now, n is out of range, or the actor has stopped. Fill them, then Publish or Abort.
func (s *Sender[T]) TryClaim(n int) (ringbuf.Batch[T], bool) {
	if s.mailbox.closed.Load() {
		return ringbuf.Batch[T]{}, false
	}
	return s.producer.TryClaim(n)
}

// Claim is TryClaim that waits for room. ErrClosed when the actor has stopped, ctx.Err() when ctx ended
// first, ringbuf.ErrTooLarge when n is out of range.
func (s *Sender[T]) Claim(ctx context.Context, n int) (ringbuf.Batch[T], error) {
	if s.mailbox.closed.Load() {
		return ringbuf.Batch[T]{}, s.mailbox.closedError("claim")
	}
	b, err := s.producer.Claim(ctx, n)
	if err == nil && s.mailbox.closed.Load() {
		// The actor stopped while this waited; what made room was abandoning its messages.
		s.producer.Abort(b)
		return ringbuf.Batch[T]{}, s.mailbox.closedError("claim")
	}
	return b, err
}

// Publish hands the slots to the actor. It never blocks.
func (s *Sender[T]) Publish(b ringbuf.Batch[T]) {
	s.producer.Publish(b)
	s.mailbox.schedule()
}

// Abort gives claimed slots up: the actor never sees them.
func (s *Sender[T]) Abort(b ringbuf.Batch[T]) { s.producer.Abort(b) }

// TrySend sends a copy of *v if there is room now, and reports whether it did.
func (s *Sender[T]) TrySend(v *T) bool {
	b, ok := s.TryClaim(1)
	if !ok {
		return false
	}
	s.fill(b, v)
	return true
}

// Send sends a copy of *v, waiting for room as Claim does, with the same errors.
func (s *Sender[T]) Send(ctx context.Context, v *T) error {
	b, err := s.Claim(ctx, 1)
	if err != nil {
		return err
	}
	s.fill(b, v)
	return nil
}

func (s *Sender[T]) fill(b ringbuf.Batch[T], v *T) {
	slots, _ := b.Slots()
	slots[0] = *v
	s.Publish(b)
}

func (m *RingMailbox[T]) closedError(op string) error {
	return core.Errorf(core.CodeClosed, op, "actor %s has stopped", m.name())
}
