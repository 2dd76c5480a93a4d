package node

import (
	"context"
	"encoding/binary"

	"github.com/leatbus/leat/core"
)

// remoteFrame is one log frame of a remote producer. Header and payload passed core.CheckProduced.
type remoteFrame struct {
	part     *partition
	header   core.FrameHeader
	payload  []byte
	producer uint32 // from register, or nobody: no answer
	ticket   uint32
	level    core.Ack // asked for; the frame gets at least the topic's
	more     bool     // other frames follow at once, and are journaled with it
	ids      bool     // some of its records have ids
}

// An entry that is a frame has a second head behind the first, and then the payload or the reference to
// the buffer that holds it:
//
//	16 producerID u64 | 24 baseSeq u32 | 28 payloadCRC u32 | 32 producerEpoch u16 | 34 six bytes of zero
//	40 payload …
const frameHead = 24

// commitFrame copies a frame into the partition's shard ring, in the order of calls, and has it
// journaled. The completer learns what became of it: stored, a duplicate, CodeOutOfSequence,
// CodeProducerFenced, or why the log did not take it. With wait it waits for room, and while too much is
// not on the disk, until ctx ends; without, both are CodeFull. After an error nothing was committed.
func (n *Node) commitFrame(ctx context.Context, f *remoteFrame, wait bool) error {
	if err := n.admit(ctx, f.part, wait); err != nil {
		return err
	}
	e := entry{part: f.part, producer: f.producer, ticket: f.ticket, records: int(f.header.Records),
		level: f.part.level(f.level), frame: true, ids: f.ids}
	size := len(f.payload)
	if size > inlineBytes {
		body, buffer, err := n.bodies.take(ctx, size, wait)
		if err != nil {
			return err
		}
		copy(buffer, f.payload)
		e.body, size = body, bodyReference
	}
	claimed, err := f.part.shard.claim(ctx, entryHead+frameHead+size, wait)
	if err != nil {
		n.bodies.free(e.body)
		return err
	}
	e.encode(claimed.Bytes)
	putFrameHead(claimed.Bytes[entryHead:], &f.header)
	if e.body == 0 {
		copy(claimed.Bytes[entryHead+frameHead:], f.payload)
	}
	f.part.shard.slab.Commit(claimed)
	if f.more {
		f.part.shard.journalLater()
	} else {
		f.part.shard.journalSoon(e.level)
	}
	return nil
}

func putFrameHead(dst []byte, h *core.FrameHeader) {
	le := binary.LittleEndian
	le.PutUint64(dst[0:], uint64(h.ProducerID))
	le.PutUint32(dst[8:], uint32(h.BaseSeq))
	le.PutUint32(dst[12:], h.PayloadCRC)
	le.PutUint16(dst[16:], uint16(h.ProducerEpoch))
}

// frameHeader builds the header of an entry's frame; src is the entry behind its first head.
func frameHeader(src []byte, records int32, payload []byte) core.FrameHeader {
	le := binary.LittleEndian
	return core.FrameHeader{
		Length:        uint32(core.FrameHeaderSize + len(payload)),
		ProducerID:    int64(le.Uint64(src[0:])),
		BaseSeq:       int32(le.Uint32(src[8:])),
		PayloadCRC:    le.Uint32(src[12:]),
		ProducerEpoch: int16(le.Uint16(src[16:])),
		Records:       uint16(records),
		Version:       core.FrameVersion,
	}
}

// addFrame makes the frame of a remote producer part of its partition's batch.
func (j *journal) addFrame(o *outcome, src, payload []byte) {
	j.frame = frameHeader(src, o.records, payload)
	j.addProduced(o, payload)
}

// addProduced judges j.frame, which may be anonymous, and makes it part of its partition's batch.
func (j *journal) addProduced(o *outcome, payload []byte) {
	p, h := o.part, &j.frame
	o.duplicate = false
	if h.ProducerID == 0 {
		o.offset, o.err = p.log.AddFrame(h, payload)
		return
	}
	j.input = core.PartitionInput{
		Kind: core.InputAppend, ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch,
		BaseSeq: h.BaseSeq, Records: o.records, Time: o.time,
	}
	j.effects.Reset()
	p.state.Step(&j.input, o.time, &j.effects)
	switch e := &j.effects.List[0]; e.Kind {
	case core.EffectDuplicate:
		o.offset, o.time, o.duplicate = e.Lo, e.Time, true
	case core.EffectReject:
		o.err = core.NewError(e.Code, p.op("publish to"), nil)
	default:
		if o.offset, o.err = p.log.AddFrame(h, payload); o.err == nil {
			j.input.Kind, j.input.Offset = core.InputAdded, o.offset+int64(o.records)
			p.state.Step(&j.input, o.time, &j.effects)
		}
	}
}

// producerState tells what the next batch of a producer must be: this epoch and this sequence. One that
// the partition does not know may go on with any. Any goroutine may ask; it waits for the journal's
// step under way. Where the node closes before it ends, the producer counts as not known.
func (p *partition) producerState(id int64) (epoch int16, nextSeq int32, known bool) {
	type state struct {
		epoch   int16
		nextSeq int32
		known   bool
	}
	if p.log == nil {
		return 0, 0, false
	}
	answer := make(chan state, 1)
	p.shard.call(func() {
		var s state
		s.epoch, s.nextSeq, s.known = p.state.Producer(id)
		answer <- s
	})
	select {
	case s := <-answer:
		return s.epoch, s.nextSeq, s.known
	case <-p.shard.journal.node.closing:
		return 0, 0, false
	}
}
