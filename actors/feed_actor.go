package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/leatbus/leat"
)

// laneCapacity is the number of messages that wait in the data lane of a user actor.
const laneCapacity = 256

// userActor is what stands between the data lane and a user's Receive: it hands over messages one by
// one, acks them, and keeps the messages of a partition whose first one failed.
//
// Invariant: of one partition, at most one message is tried again, and all later ones that have been
// delivered wait behind it in held or in the lane. So Receive succeeds in the order of the offsets.
type userActor struct {
	system  *System
	mailbox *RingMailbox[delivery]
	feeds   []*feed
	entry   *entry // set when the mailbox got its actor, before any feed runs
	budget  byteBudget
	cancel  context.CancelFunc // ends the feeds

	// Owned by the mailbox's run:
	held     map[heldKey]*heldPartition
	ready    []heldKey // held partitions to be tried again now
	batch    *Batch[delivery]
	current  *delivery // what Receive has
	retrying *heldPartition
	attempt  int // of current, from 1
}

type heldKey struct {
	feed      *feed
	sub       *leat.Subscription
	partition int32
}

// heldPartition is a partition whose first message failed. The queue is bounded by what the lane held
// when it failed and what the subscription had in flight before it was paused.
type heldPartition struct {
	queue    []delivery
	attempts int // failures of queue[0]
}

// push moves a message out of its slot, memory included: the slot gets new memory.
func (h *heldPartition) push(d *delivery) {
	h.queue = append(h.queue, *d)
	*d = delivery{}
}

func (h *heldPartition) pop() {
	h.queue[0] = delivery{}
	h.queue, h.attempts = h.queue[1:], 0
}

// entryOptions makes the System stop the actor with its feeds.
func (u *userActor) entryOptions(e *entry) {
	e.user, e.stop = true, u.stop
	u.entry = e
}

// deliver is for feeder, as the following are.
func (u *userActor) deliver(b *Batch[delivery]) int {
	u.batch = b
	for i := range b.Len() {
		u.accept(b.At(i))
		b.Done(i + 1)
		if u.mailbox.hurried() {
			break
		}
	}
	return b.done
}

func (u *userActor) accept(d *delivery) {
	if u.stale(d) {
		u.budget.giveBack(d.size)
		return
	}
	if h := u.held[d.key()]; h != nil {
		u.budget.giveBack(d.size)
		h.push(d)
		return
	}
	u.handle(d, 1)
	u.budget.giveBack(d.size)
	d.trim()
}

// stale tells whether d came from a subscription that was replaced: the new one delivers it again.
func (u *userActor) stale(d *delivery) bool {
	return d.sub != d.feed.sub.Load() || d.sub == d.feed.refused
}

// handle runs Receive, which may panic, and acks.
func (u *userActor) handle(d *delivery, attempt int) {
	u.current, u.attempt = d, attempt
	u.mailbox.invoker.InvokeUserMessage(&d.msg)
	u.current, u.attempt = nil, 0
	if d.feed.group {
		u.ack(d)
	}
}

func (u *userActor) ack(d *delivery) {
	err := d.sub.Backend().Ack(d.msg.Partition, d.msg.Offset)
	if err == nil {
		return
	}
	if errors.Is(err, leat.ErrFenced) {
		d.feed.refused = d.sub
	}
	u.system.reportFailure(Failure{PID: u.entry.pid, Topic: d.feed.topic, Partition: d.msg.Partition,
		Offset: d.msg.Offset, Err: err, Action: AckFailed})
}

// overdue tries held messages again, and then what queued up behind them.
func (u *userActor) overdue() (n int) {
	for len(u.ready) > 0 {
		key := u.ready[0]
		h := u.held[key]
		for len(h.queue) > 0 && !u.stale(&h.queue[0]) {
			if n >= maxRun || u.mailbox.hurried() {
				return n
			}
			u.retrying = h
			u.handle(&h.queue[0], h.attempts+1)
			u.retrying = nil
			h.pop()
			n++
		}
		delete(u.held, key)
		u.ready = u.ready[1:]
		key.feed.release(key)
	}
	return n
}

// notify is told that a held partition may be tried again.
func (u *userActor) notify(content any) {
	u.ready = append(u.ready, content.(heldKey))
}

// failed holds the partition of the message that Receive panicked over, and sets the time to try again.
func (u *userActor) failed(*Panic) Failure {
	d, h := u.current, u.retrying
	u.current, u.retrying, u.attempt = nil, nil, 0
	if d == nil {
		return Failure{}
	}
	key := d.key()
	failure := Failure{Topic: d.feed.topic, Partition: d.msg.Partition, Offset: d.msg.Offset, Action: Retrying}
	if h != nil {
		u.ready = u.ready[1:]
	} else {
		h = &heldPartition{}
		u.held[key] = h
		u.budget.giveBack(d.size)
		h.push(d)
		u.batch.Done(u.batch.done + 1)
		key.feed.hold(key)
	}
	h.attempts++
	failure.Attempt = h.attempts
	failure.Delay = retryBackoff.delay(h.attempts-1, &u.system.jitter)
	u.system.timers.call(failure.Delay, func() { u.mailbox.PostSystemMessage(feederNote{key}) })
	return failure
}

// stopped ends the feeds of an actor that has stopped by itself, too.
func (u *userActor) stopped() { u.cancel() }

// stop lets the message in Receive finish and be acked, stops the actor, and closes its subscriptions.
func (u *userActor) stop(ctx context.Context) error {
	u.cancel()
	u.entry.mailbox.PostSystemMessage(stopNow{})
	if err := u.entry.awaitStopped(ctx); err != nil {
		return err
	}
	for _, f := range u.feeds {
		select {
		case <-f.ended:
		case <-ctx.Done():
			return fmt.Errorf("actors: stop %s: leave topic %q: %w", u.entry.pid.Id, f.topic, ctx.Err())
		}
	}
	return nil
}
