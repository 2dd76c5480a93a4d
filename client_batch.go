package leat

import (
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

const (
	batchHeaders = wire.HeaderSize + core.FrameHeaderSize // in front of the records of a batch
	batchKept    = 128 << 10                              // largest buffer that goes back to the pool
	callsKept    = 1024                                   // most calls that a batch keeps room for
)

// produceBatch is one PRODUCE frame in the making, on its way, or answered. Its records are encoded in
// place, behind room for both headers.
//
//	open ──sealed──▶ queue ──sent──▶ flight ──answered──▶ settled
//	                   ▲                 │ certainly rejected
//	                   └──── again ◀─────┘
//
// It is guarded by the producer's lock until it is settled. Whoever writes it holds a reference, so that
// an answer that overtakes the end of the write does not free the memory under it.
type produceBatch struct {
	part     *producerPart
	buf      []byte
	calls    []recordCall // one per answer that is due, in order
	records  int
	bytes    int  // encoded records, as counted against the room
	async    bool // some of calls are callbacks
	asked    bool // some of calls wait at all
	whole    bool // of PublishBatch: nothing may be added
	numbered bool // has epoch and baseSeq, and keeps them
	zombie   bool // its calls were answered, but the log may have it
	summed   bool // the header has the checksum
	epoch    int16
	baseSeq  int32

	receipt Receipt // of the first record, once settled
	err     error
	refs    atomic.Int32
}

// recordCall is who waits for a record: a callback or a waiter, or nobody.
type recordCall struct {
	at     int32 // of the record in the batch
	done   func(Receipt, error)
	waiter *clientWaiter
}

var batchPool = sync.Pool{New: func() any { return new(produceBatch) }}

func newBatch(part *producerPart) *produceBatch {
	b := batchPool.Get().(*produceBatch)
	b.part = part
	b.refs.Store(1)
	if cap(b.buf) < batchHeaders {
		b.buf = make([]byte, batchHeaders, 1024)
	}
	b.buf = b.buf[:batchHeaders]
	return b
}

// release gives up one reference, and the batch with the last one.
func (b *produceBatch) release() {
	if b.refs.Add(-1) > 0 {
		return
	}
	buf, calls := b.buf, b.calls
	clear(calls)
	if cap(buf) > batchKept {
		buf = nil
	}
	if cap(calls) > callsKept {
		calls = nil
	}
	b.part, b.err, b.receipt = nil, nil, Receipt{}
	b.records, b.bytes, b.epoch, b.baseSeq = 0, 0, 0, 0
	b.async, b.asked, b.whole, b.numbered, b.zombie, b.summed = false, false, false, false, false, false
	b.buf, b.calls = buf, calls[:0]
	batchPool.Put(b)
}

// fits reports whether one more record may join.
func (b *produceBatch) fits(size int) bool {
	return !b.whole && b.records < core.MaxBatchRecords && len(b.buf)-batchHeaders+size <= core.MergeFrameBytes
}

// add encodes a record at the end.
func (b *produceBatch) add(m *Message, hash uint64, size int) {
	at := len(b.buf)
	b.grow(size)
	core.PutExtendedRecord(b.buf[at:], m.Key, m.Value, m.Headers, hash, 0, m.extras())
	b.records++
	b.bytes += size
}

// grow adds size bytes, which are not cleared.
func (b *produceBatch) grow(size int) {
	at := len(b.buf)
	if need := at + size; need > cap(b.buf) {
		grown := make([]byte, at, max(need, 2*cap(b.buf)))
		copy(grown, b.buf)
		b.buf = grown
	}
	b.buf = b.buf[:at+size]
}

// frameBytes is what the batch takes on the wire. Records are multiples of 8, so nothing is padded.
func (b *produceBatch) frameBytes() uint64 { return uint64(len(b.buf)) }

// finish fills both headers. It belongs to the writer.
func (b *produceBatch) finish(producerID int64) {
	frame := b.buf[wire.HeaderSize:]
	h := core.FrameHeader{
		Length: uint32(len(frame)), ProducerID: producerID, BaseSeq: b.baseSeq, ProducerEpoch: b.epoch,
		Records: uint16(b.records), Version: core.FrameVersion,
	}
	if b.summed {
		h.PayloadCRC = core.ParseFrameHeader(frame).PayloadCRC
	} else {
		h.PayloadCRC = core.Checksum(frame[core.FrameHeaderSize:])
		b.summed = true
	}
	h.Encode(frame, 0)
	w := wire.Header{Length: uint32(len(frame)), Type: wire.Produce, Aux: uint16(b.part.number)}
	w.Put(b.buf)
}

const sequenceMask = 1<<31 - 1 // producer sequences are 31 bits and wrap to 0

// sequencesTo counts from one sequence forward to another.
func sequencesTo(from, to int32) int32 { return int32((uint32(to) - uint32(from)) & sequenceMask) }

// nextSeq is the sequence after the batch.
func (b *produceBatch) nextSeq() int32 {
	return int32((uint32(b.baseSeq) + uint32(b.records)) & sequenceMask)
}

// batchQueue is a queue of batches. Its bound is that of the producer.
type batchQueue struct {
	list []*produceBatch
	head int
}

func (q *batchQueue) len() int { return len(q.list) - q.head }

func (q *batchQueue) push(b *produceBatch) { q.list = append(q.list, b) }

func (q *batchQueue) front() *produceBatch { return q.list[q.head] }

func (q *batchQueue) pop() *produceBatch {
	b := q.list[q.head]
	q.list[q.head] = nil
	q.head++
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
	} else if q.head > 64 && q.head > len(q.list)/2 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	return b
}

// putBack puts batches in front, in their order.
func (q *batchQueue) putBack(batches []*produceBatch) {
	if len(batches) == 0 {
		return
	}
	q.list = append(append([]*produceBatch(nil), batches...), q.list[q.head:]...)
	q.head = 0
}

// drain takes everything out.
func (q *batchQueue) drain(into []*produceBatch) []*produceBatch {
	for q.len() > 0 {
		into = append(into, q.pop())
	}
	return into
}
