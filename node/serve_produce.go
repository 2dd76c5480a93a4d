package node

import (
	"bytes"
	"errors"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// read takes PRODUCE frames until the stream ends.
func (p *producerStream) read() error {
	for {
		if p.reader.Buffered() < wire.HeaderSize {
			if err := p.rest(); err != nil {
				return err
			}
		}
		h, known, err := oneFrame(p.reader)
		switch {
		case err != nil:
			return err
		case !known:
			err = p.rest() // its payload may be long in coming
		case h.Type == wire.Produce:
			err = p.produce(&h)
		default:
			err = unexpected(&h, "on a producer stream")
		}
		if err != nil {
			return err
		}
	}
}

// rest writes the answers there are. From here on the reader may sleep.
func (p *producerStream) rest() error {
	if p.isAwake {
		p.isAwake = false
		p.book.asleep()
	}
	return p.flush()
}

// rouse promises that the reader will rest before it sleeps.
func (p *producerStream) rouse() {
	if !p.isAwake {
		p.isAwake = true
		p.book.awake()
	}
}

// flush writes until there is nothing left, or somebody else writes.
func (p *producerStream) flush() error {
	for {
		frames := p.book.take()
		if frames == nil {
			return nil
		}
		_, err := p.stream.Write(frames)
		p.book.wrote(frames, err)
		if err != nil {
			return err
		}
	}
}

// writeAcks writes what comes while the reader sleeps.
func (p *producerStream) writeAcks() {
	for {
		select {
		case <-p.wake:
			if p.flush() != nil {
				return // the reader meets the error too
			}
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *producerStream) wakeWriter() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// complete is called by the journal with outcomes of this stream, under the lock of the shard.
func (p *producerStream) complete(_ *shard, run []outcome) {
	var counts ackCounts
	if p.book.settle(run, &counts) {
		p.wakeWriter()
	}
	p.stats.add(&counts, len(run))
}

// produce takes one PRODUCE frame.
func (p *producerStream) produce(h *wire.Header) error {
	if credit := p.book.credit(); p.received >= credit {
		return wire.Errorf("PRODUCE beyond the credit of %d bytes", credit)
	}
	p.received += uint64(h.Size())
	if h.Length < core.FrameHeaderSize {
		return wire.Errorf("PRODUCE of %d bytes", h.Length)
	}
	large := 0
	if uint64(h.Length) > p.book.window {
		if err := p.session.budget.takeLarge(int(h.Length)); err != nil {
			return err
		}
		large = int(h.Length)
	}
	err := p.readPayload(h)
	if err != nil {
		p.session.budget.giveLarge(large)
		return err
	}
	p.rouse()
	return p.take(h, large)
}

// readPayload reads a frame into p.frame, whose payload is valid until the next one is read.
func (p *producerStream) readPayload(h *wire.Header) error {
	if p.reader.Buffered() < int(h.Length) {
		if err := p.rest(); err != nil {
			return err
		}
	}
	var err error
	var payload []byte
	if int(h.Length) <= smallFrame {
		payload, err = p.reader.Small()
	} else {
		payload, err = p.reader.Payload(p.payload[:0])
		if p.payload = payload; cap(payload) > sendKept {
			p.payload = nil
		}
	}
	if err != nil {
		return err
	}
	p.frame.header = core.ParseFrameHeader(payload)
	length := uint64(p.frame.header.Length)
	if length < core.FrameHeaderSize || (length+7)&^7 != uint64(h.Length) {
		return wire.Errorf("PRODUCE of %d bytes with a frame of %d", h.Length, length)
	}
	if id := p.producerOf(int32(h.Aux)); p.frame.header.ProducerID != id {
		return wire.Errorf("PRODUCE of producer %d, want %d", p.frame.header.ProducerID, id)
	}
	p.frame.payload = payload[core.FrameHeaderSize:length]
	return nil
}

// smallFrame is the payload up to which a frame is looked at in the reader's buffer.
const smallFrame = 64 << 10

// take checks the frame and commits it, or leaves it to the appender where there is no room.
func (p *producerStream) take(h *wire.Header, large int) error {
	f := &p.frame
	number := int(h.Aux)
	if number >= len(p.topic.partitions) {
		p.session.budget.giveLarge(large)
		return p.refuseUnknown(h)
	}
	f.more = p.reader.Buffered() >= wire.HeaderSize
	f.part, f.level, f.producer = p.logOf(int32(number)), p.level, p.index
	f.ids = core.RecordsFlags(f.payload)&core.FlagID != 0
	b := backlogged{size: h.Size(), large: large,
		err: core.CheckProduced(&f.header, f.payload, int(f.part.topic.maxRecord.Load()),
			p.topic.letters)}
	if p.delayed && b.err == nil {
		b.err = p.checkDelayed(p.topic.partitions[number], f.payload)
	}
	if p.index != nobody {
		f.ticket = p.book.reserve(ackSlot{
			partition: h.Aux, records: f.header.Records, baseSeq: f.header.BaseSeq,
			epoch: f.header.ProducerEpoch, size: uint32(h.Size()),
		})
	}
	if p.queued(&b) {
		return nil
	}
	if !p.commit(f, &b, false) {
		p.startAppender(&b)
		return nil
	}
	return nil
}

// refuseUnknown answers a frame of a partition that the topic does not have. There are no others in
// flight that it could overtake.
func (p *producerStream) refuseUnknown(h *wire.Header) error {
	p.stats.refuse(core.CodePartitionUnknown)
	if p.index != nobody {
		f := &p.frame.header
		p.book.refuseUnknown(&wire.AckEntry{Partition: h.Aux, Code: core.CodePartitionUnknown,
			Records: f.Records, BaseSeq: f.BaseSeq, Epoch: f.ProducerEpoch, Offset: -1})
	}
	p.book.pass(h.Size())
	return nil
}

// commit hands a frame to the journal, or answers why not. It reports false where there is no room and it
// must not wait.
func (p *producerStream) commit(f *remoteFrame, b *backlogged, wait bool) bool {
	if p.index != nobody {
		p.book.commit(f.ticket)
	}
	if b.err == nil {
		b.err = p.session.node.commitFrame(p.ctx, f, wait)
	}
	if !wait && errors.Is(b.err, core.ErrFull) {
		if p.index != nobody {
			p.book.uncommit(f.ticket)
		}
		b.err = nil
		return false
	}
	p.session.budget.giveLarge(b.large)
	wake := false
	switch {
	case p.index == nobody:
		wake = p.book.pass(b.size)
	case b.err != nil:
		wake = p.book.refuse(f.ticket, b.err)
	}
	if b.err != nil {
		p.stats.refuse(core.CodeOf(outward(b.err)))
	}
	if wake {
		p.wakeWriter()
	}
	return true
}

// queued leaves a frame to the appender if that has some before it.
func (p *producerStream) queued(b *backlogged) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.appending {
		p.enqueueLocked(b)
	}
	return p.appending
}

// startAppender leaves frames to a goroutine that may wait for room. The reader goes on, so that others
// on the connection do; the client stops at its credit.
func (p *producerStream) startAppender(b *backlogged) {
	p.mu.Lock()
	p.enqueueLocked(b)
	p.appending = true
	p.mu.Unlock()
	p.appends.Go(p.append)
}

// enqueueLocked keeps the frame, whose payload is copied.
func (p *producerStream) enqueueLocked(b *backlogged) {
	b.frame = p.frame
	b.frame.payload = bytes.Clone(p.frame.payload)
	p.backlog = append(p.backlog, *b)
}

// append commits the backlog in its order.
func (p *producerStream) append() {
	for {
		p.mu.Lock()
		if len(p.backlog) == 0 {
			p.backlog, p.appending = nil, false
			p.mu.Unlock()
			return
		}
		b := p.backlog[0]
		p.backlog[0] = backlogged{}
		p.backlog = p.backlog[1:]
		p.mu.Unlock()
		p.commit(&b.frame, &b, true)
	}
}
