package leat

import (
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// maxFlight is how many batches of one partition may be unanswered: as many as a node recognises again.
const maxFlight = core.ProducerBatchesKept

// producerPart is a partition that a producer has published to. All but settled is guarded by the
// producer's lock.
//
// Invariant: the log gets the batches in the order again, flight, queue, open.
type producerPart struct {
	number  int32
	lane    *producerLane
	open    *produceBatch // collects while nothing can be sent
	queue   batchQueue    // sealed; those that are numbered come first
	flight  batchQueue    // sent and not answered, at most maxFlight
	again   []*produceBatch
	known   bool // the node was sent something: epoch and nextSeq mean something
	ready   bool // is in the ready list of its lane
	stalled bool // a batch was refused: everything in flight comes back, and goes on at nextSeq
	held    bool // waits for another try
	epoch   int16
	nextSeq int32 // of the next batch that is numbered; while stalled, of the one that was refused
	moves   bool  // another node has it: goes there when nothing is in flight
	retries int   // since the last success
	since   int64 // of the first of them
	due     int64 // of the next, while held

	issued  uint64        // records ever appended
	settled atomic.Uint64 // of them, answered; callbacks are in line by then
}

// sealLocked ends what is being collected.
func (part *producerPart) sealLocked() {
	if part.open != nil {
		part.queue.push(part.open)
		part.open = nil
	}
}

// sendable reports whether a batch may be sent now.
func (part *producerPart) sendable() bool {
	return (part.open != nil || part.queue.len() > 0) && !part.stalled && !part.held &&
		part.flight.len() < maxFlight
}

// takeLocked takes the next batch to send, numbered.
func (part *producerPart) takeLocked(l *producerLane) *produceBatch {
	var b *produceBatch
	if part.queue.len() > 0 {
		b = part.queue.pop()
	} else {
		b, part.open = part.open, nil
	}
	if l.p.level == core.AckNone {
		return b
	}
	if !part.known {
		part.known, part.epoch, part.nextSeq = true, l.epoch, 0
	}
	if !b.numbered {
		b.numbered, b.epoch, b.baseSeq = true, part.epoch, part.nextSeq
		part.nextSeq = b.nextSeq()
	}
	part.flight.push(b)
	return b
}

// firstUnanswered is the sequence the node is told when a stream is opened.
func (part *producerPart) firstUnanswered() int32 {
	switch {
	case part.stalled:
		return part.nextSeq
	case part.flight.len() > 0:
		return part.flight.front().baseSeq
	case part.queue.len() > 0 && part.queue.front().numbered:
		return part.queue.front().baseSeq
	}
	return part.nextSeq
}

// unnumber makes a batch, which the log certainly does not have, take a new number.
func (b *produceBatch) unnumber() { b.numbered = false }

// stallLocked begins to collect what comes back, after the batch with this sequence was refused.
func (part *producerPart) stallLocked(baseSeq int32) {
	if !part.stalled {
		part.stalled, part.nextSeq = true, baseSeq
	}
}

// returnLocked puts a batch that was certainly refused where it is numbered anew.
func (part *producerPart) returnLocked(b *produceBatch) {
	b.unnumber()
	part.again = append(part.again, b)
}

// unstallLocked goes on once everything in flight has come back.
func (part *producerPart) unstallLocked() {
	part.queue.putBack(part.again)
	clear(part.again)
	part.again = part.again[:0]
	part.stalled = false
}

// resumeLocked continues on a new stream, where the node says what it has. It gives the batches that are
// over: their callers were answered before. Nothing else is renumbered but what the node does not have.
func (part *producerPart) resumeLocked(a *wire.ProducerPartition) (over []*produceBatch, lost int32,
	err error) {
	first := part.firstUnanswered()
	if lost = sequencesTo(a.LostFrom, a.LostTo); lost == 0 && sequencesTo(first, a.NextSeq) > 1<<30 {
		return nil, 0, wire.Errorf("partition %d goes on at sequence %d, answered was all below %d", part.number,
			a.NextSeq, first)
	}
	unanswered := append([]*produceBatch(nil), part.again...)
	unanswered = part.flight.drain(unanswered)
	for part.queue.len() > 0 && part.queue.front().numbered {
		unanswered = append(unanswered, part.queue.pop())
	}
	sameRun := lost == 0 && a.Epoch == part.epoch && !part.stalled
	var left []*produceBatch
	for _, b := range unanswered {
		stored := b.numbered && sameRun && sequencesTo(b.baseSeq, a.NextSeq) >= int32(b.records) &&
			sequencesTo(b.baseSeq, a.NextSeq) < 1<<30
		switch {
		case b.zombie:
			over = append(over, b)
			continue
		case !stored:
			b.unnumber()
		}
		left = append(left, b)
	}
	part.queue.putBack(left)
	clear(part.again)
	part.again, part.stalled = part.again[:0], false
	part.epoch, part.nextSeq = a.Epoch, a.NextSeq
	return over, lost, nil
}

// abandonLocked takes out everything whose callers are to be answered with an error. Batches that the log
// may have stay, without callers, until a node has said so.
func (part *producerPart) abandonLocked(into []*produceBatch) []*produceBatch {
	part.sealLocked()
	flight := part.flight.drain(nil)
	for _, b := range flight {
		if !b.zombie {
			into = append(into, b.becomeZombie())
		}
		part.flight.push(b)
	}
	into = append(into, part.again...)
	clear(part.again)
	part.again = part.again[:0]
	return part.queue.drain(into)
}

// becomeZombie moves what is due to callers into another batch, and keeps what the node must be asked about.
func (b *produceBatch) becomeZombie() *produceBatch {
	callers := newBatch(b.part)
	callers.calls, b.calls = b.calls, callers.calls
	callers.records, callers.bytes, callers.async = b.records, b.bytes, b.async
	b.zombie, b.async = true, false
	return callers
}
