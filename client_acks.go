package leat

import (
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// read reads answers until the stream ends.
func (l *producerLane) read(stream *clientStream) error {
	for {
		h, err := stream.next()
		if err != nil {
			return err
		}
		switch h.Type {
		case wire.Acks:
			err = l.readAcks(stream)
		case wire.Credit:
			l.p.mu.Lock()
			l.credit = max(l.credit, h.Arg) // a repeated grant does no harm
			l.p.mu.Unlock()
			l.signal()
		default:
			err = unexpected(h)
		}
		if err != nil {
			stream.drop(err)
			return err
		}
	}
}

func (l *producerLane) readAcks(stream *clientStream) error {
	payload, err := stream.reader.Small()
	if err != nil {
		return err
	}
	list, err := wire.DecodeAcks(payload)
	if err != nil {
		return err
	}
	p := l.p
	p.mu.Lock()
	for i := 0; i < list.Len() && err == nil; i++ {
		entry := list.At(i)
		err = l.ackLocked(&entry)
	}
	more := l.mayWriteLocked() && !l.writing
	fault := p.fault
	var over []*produceBatch
	if fault != nil {
		over = l.abandonLocked()
	}
	p.mu.Unlock()
	if more {
		l.signal()
	}
	for i, b := range l.settledNow {
		p.finish(b)
		l.settledNow[i] = nil
	}
	l.settledNow = l.settledNow[:0]
	p.finishAll(over, fault)
	if err == nil {
		err = fault
	}
	return err
}

// ackLocked takes one answer. It must be that of the oldest batch in flight.
func (l *producerLane) ackLocked(e *wire.AckEntry) error {
	p := l.p
	if p.level == core.AckNone || int(e.Partition) >= len(p.parts) {
		return wire.Errorf("answer about partition %d", e.Partition)
	}
	part := p.parts[e.Partition]
	if part == nil || part.lane != l || part.flight.len() == 0 {
		return wire.Errorf("answer about partition %d, where nothing is in flight", e.Partition)
	}
	b := part.flight.front()
	if b.baseSeq != e.BaseSeq || b.epoch != e.Epoch || b.records != int(e.Records) {
		return wire.Errorf("answer to sequence %d of epoch %d, in flight is %d of %d", e.BaseSeq, e.Epoch,
			b.baseSeq,
			b.epoch)
	}
	if e.Code == 0 && (part.stalled || e.Offset < 0) {
		return wire.Errorf("sequence %d stored at offset %d behind one that was refused", e.BaseSeq, e.Offset)
	}
	part.flight.pop()
	l.unanswered--
	if err := l.judgeLocked(part, b, e); err != nil {
		return err
	}
	if part.stalled && part.flight.len() == 0 {
		part.unstallLocked()
		l.moveLocked(part)
	}
	part.lane.readyLocked(part)
	return nil
}

// judgeLocked does what an answer says about its batch.
func (l *producerLane) judgeLocked(part *producerPart, b *produceBatch, e *wire.AckEntry) error {
	p := l.p
	switch {
	case e.Code == 0:
		part.retries, l.strange = 0, 0
		b.receipt = Receipt{Topic: p.topic.name, Partition: part.number, Offset: e.Offset,
			Time: time.Unix(0, e.Time), Duplicate: e.Flags&wire.AckDuplicate != 0}
		l.settledNow = append(l.settledNow, b)
		return nil
	case e.Code == core.CodeOutOfSequence && !part.stalled:
		// Nothing was refused before it: the node tells what it has when the stream is opened again.
		l.strange++
		part.flight.putBack([]*produceBatch{b})
		l.unanswered++
		return core.NewError(core.CodeOutOfSequence, p.topic.op("publish to"), nil)
	case e.Code == core.CodeProducerFenced:
		p.faultLocked(core.NewError(core.CodeProducerFenced, p.topic.op("publish to"), nil))
	case e.Code == core.CodeTopicNotFound:
		p.faultLocked(core.NewError(core.CodeTopicNotFound, p.topic.op("publish to"), nil))
	case e.Code == core.CodeOutOfSequence, e.Code == core.CodeUnavailable, passing(core.NewError(e.Code, "",
		nil)):
		if !part.stalled { // else it only follows one that was refused
			l.retryLocked(part, e)
		}
		part.stallLocked(b.baseSeq)
		part.returnLocked(b)
		return nil
	}
	part.stallLocked(b.baseSeq)
	b.err = core.NewError(e.Code, p.topic.op("publish to"), nil)
	l.settledNow = append(l.settledNow, b)
	return nil
}

// retryLocked has the refused batch tried again later, or on another node at once.
func (l *producerLane) retryLocked(part *producerPart, e *wire.AckEntry) {
	c := l.p.client
	if part.retries++; part.retries == 1 {
		part.since = c.clock.Mono()
	}
	if e.Code == core.CodeNotLeader && e.Node != l.node.id && e.Node != 0 {
		l.p.topic.moved(part.number, e.Node)
		part.moves = true
		return
	}
	part.held = true
	part.due = c.clock.Mono() + int64(c.random.backoff(part.retries))
	l.held = append(l.held, part)
	l.signal()
}

// moveLocked gives a partition to the lane of the node that has it now.
func (l *producerLane) moveLocked(part *producerPart) {
	if !part.moves {
		return
	}
	part.moves, part.ready = false, false
	part.lane = l.p.laneLocked(l.p.topic.nodeOf(part.number))
	if part.retries > 1 {
		part.held, part.due = true, l.p.client.clock.Mono()+int64(l.p.client.random.backoff(part.retries))
		part.lane.held = append(part.lane.held, part)
	}
	part.lane.signal()
}

// retryHeldLocked lets refused partitions try again whose time has come, takes out what was refused for too
// long, and gives the time until the next; 0 if none waits.
func (l *producerLane) retryHeldLocked() (over []*produceBatch, next time.Duration) {
	if len(l.held) == 0 {
		return nil, 0
	}
	c := l.p.client
	now, kept := c.clock.Mono(), l.held[:0]
	for _, part := range l.held {
		left := time.Duration(part.due - now)
		switch {
		case part.lane != l || !part.held:
			continue
		case part.stalled || left > 0:
			kept = append(kept, part)
			if next == 0 || left < next {
				next = max(left, time.Millisecond)
			}
			continue
		case now-part.since > int64(c.options.unreachableAfter):
			part.retries = 0
			over = part.abandonLocked(over)
		}
		part.held = false
		l.readyLocked(part)
		l.signal()
	}
	l.held = kept
	return over, next
}
