package node

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// heldDelay is a message that a call has taken out, to cancel or reschedule it.
type heldDelay struct {
	key     core.DelayKey
	message core.Delayed // with a copy of the record
	offset  int64
	entry   core.DelayEntry // what was taken out
}

// CancelDelayed implements leat.Backend.
func (n *Node) CancelDelayed(ctx context.Context, handle string) (leat.DelayOutcome, error) {
	const op = "cancel a delayed message"
	held, outcome, err := n.delays.hold(ctx, op, handle)
	if held == nil || err != nil {
		return outcome, err
	}
	end := core.DelayedEnd{Offset: held.offset, Outcome: core.DelayCancelled}
	m := leat.Message{Key: held.key.Encode(nil), Headers: end.Headers()}
	_, err = n.delays.replace(ctx, op, held, m)
	if err != nil {
		return core.DelayUnknown, err
	}
	return core.DelayCancelled, nil
}

// Reschedule implements leat.Backend.
func (n *Node) Reschedule(ctx context.Context, handle string, at time.Time) (string, leat.DelayOutcome,
	error) {
	const op = "reschedule a delayed message"
	due, err := leat.DueTime(op, at, time.Unix(0, n.clock.Now()))
	if err != nil {
		return "", core.DelayUnknown, err
	}
	held, outcome, err := n.delays.hold(ctx, op, handle)
	if held == nil || err != nil {
		return "", outcome, err
	}
	again := held.message
	again.Relative, again.Due, again.Replaces = false, due, held.offset
	receipt, err := n.delays.replace(ctx, op, held, leat.Message{Key: held.key.Encode(nil),
		Value: again.Encode(nil)})
	if err != nil {
		return "", core.DelayUnknown, err
	}
	h := core.DelayHandle{Topic: again.Topic, Partition: again.Partition, Offset: receipt.Offset,
		Tag: held.key.Tag()}
	return h.String(), core.DelayMoved, nil
}

// hold takes a message out, so that it is not delivered; nil with what became of it where it does not wait.
func (d *delays) hold(ctx context.Context, op, handle string) (*heldDelay, core.DelayOutcome, error) {
	h, err := core.ParseDelayHandle(handle)
	if err != nil {
		return nil, core.DelayUnknown, err
	}
	t := d.node.topicWithID(h.Topic)
	if t != nil && int(h.Partition) < len(t.partitions) && !t.partitions[h.Partition].here {
		return nil, core.DelayUnknown, notLeader(op, t.placement.Node(h.Partition))
	}
	held, err := d.find(&h)
	if err != nil {
		return nil, core.DelayUnknown, err
	}
	outcome, busy := core.DelayUnknown, false
	err = d.do(ctx, op, func(l *delayLoop) {
		if t == nil && held != nil && l.state.State(h.Offset) == core.DelayWaiting {
			held, outcome = nil, core.DelayDropped // the loop will come to it
			return
		}
		entry, ok := core.DelayEntry{}, false
		if entry, ok, outcome, busy = l.state.Hold(h.Offset, h.Tag, held != nil); ok {
			held.entry = entry
			return
		}
		held = nil
	})
	if err == nil && busy {
		err = core.Errorf(core.CodeUnavailable, op, "another call is changing it: ask again")
	}
	if err != nil {
		return nil, core.DelayUnknown, err
	}
	return held, outcome, nil
}

// find reads the message of a handle from the log; nil if it is not there.
func (d *delays) find(h *core.DelayHandle) (*heldDelay, error) {
	if err := d.part.refusal(); err != nil {
		return nil, err
	}
	if h.Offset >= d.part.log.End() || h.Offset < d.part.log.Start() {
		return nil, nil
	}
	reader := d.part.log.Reader(h.Offset)
	defer reader.Close()
	r, _, found, err := recordAt(reader, h.Offset)
	if err != nil || !found {
		return nil, err
	}
	record, err := core.DecodeDelayRecord(&r)
	if err != nil {
		return nil, err
	}
	m := record.Message
	if record.Kind != core.DelayMessage || record.Key.Tag() != h.Tag || m.Topic != h.Topic ||
		m.Partition != h.Partition {
		return nil, nil
	}
	m.Record = append([]byte(nil), m.Record...)
	return &heldDelay{key: record.Key, message: m, offset: h.Offset}, nil
}

// replace stores the record that replaces a message which was taken out, at its level. The caller may leave
// while that goes on.
func (d *delays) replace(ctx context.Context, op string, held *heldDelay, m leat.Message) (leat.Receipt,
	error) {
	type stored struct {
		receipt leat.Receipt
		err     error
	}
	answer := make(chan stored, 1)
	d.changes.Go(func() {
		var s stored
		s.receipt, s.err = d.publish(op, max(held.message.Level, core.AckPage), &m)
		switch {
		case s.err == nil:
			// The loop has read what was stored by then, so that the message is not held any more, but gone.
			s.err = d.do(d.ctx, op, func(l *delayLoop) { l.state.Replaced(held.offset) })
		case d.part.refusal() == nil:
			// The log goes on, as with a disk that was full for a while: nothing was stored.
			_ = d.do(d.ctx, op, func(l *delayLoop) { l.state.Release(held.entry) })
		}
		// After a failure that ended the log nobody knows whether it was stored: the message stays held, and
		// is not delivered before the node is opened again, rather than twice.
		answer <- s
	})
	select {
	case s := <-answer:
		return s.receipt, s.err
	case <-ctx.Done():
		return leat.Receipt{}, ctx.Err()
	}
}

// publish stores a record in __delay and waits for it.
func (d *delays) publish(op string, level core.Ack, m *leat.Message) (leat.Receipt, error) {
	size, err := core.EncodedRecordSize(m.Key, m.Value, m.Headers)
	if err != nil {
		return leat.Receipt{}, err
	}
	w := d.node.waiters.take()
	e := entry{part: d.part, keyHash: routing.Hash(m.Key), records: 1, level: d.part.level(level),
		producer: waiterProducer, ticket: w.index}
	if err := d.node.commit(d.ctx, &e, m, size, true); err != nil {
		d.node.waiters.free(w)
		return leat.Receipt{}, core.NewError(core.CodeOf(err), op, err)
	}
	d.part.shard.journalSoon(e.level)
	return d.node.waiters.await(context.Background(), w) // closing answers it
}
