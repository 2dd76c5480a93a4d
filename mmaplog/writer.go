package mmaplog

import (
	"encoding/binary"
	"math"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"github.com/leatbus/leat/core"
)

// writer is the state of a log's one writer. Frames are built in buf, which is the mapped segment or
// an arena that Publish writes out, so that both sinks leave the same bytes.
//
//	published        flushed          pos        pos+64      pos+64+fill
//	    │ frames of     │ frames in     │ header    │ records of  │ room
//	    │ this batch    │ the arena     │ to come   │ open frame  │
//
// Invariant: published <= flushed <= pos <= dataEnd, all multiples of 8.
type writer struct {
	seg     *segment
	buf     []byte // buf[p-bufAt] is the byte at position p of the segment
	bufAt   int64  // 0 for the map sink, flushed for the pwrite sink
	mapped  bool   // the current segment is written through its map
	arena   *arena // nil for the map sink and between batches
	pos     int64
	dataEnd int64

	open frameDraft
	next logState // of the frame that opens next
	now  int64    // append time of the batch

	rolled  []rolledSegment // segments left behind in this batch
	start   batchStart
	ordinal uint64
	header  [core.FrameHeaderSize]byte
}

// frameDraft is the frame records are being added to.
type frameDraft struct {
	records int // 0 if no frame is open
	fill    int // bytes of payload
	offset  int64
}

// logState is what the next frame continues.
type logState struct {
	offset  int64  // of the next record
	index   uint64 // of the next frame
	prevCRC uint32
	time    int64 // of the frame before
}

// batchStart is where a batch began, to return to when its write fails. The map sink, which does not
// write, keeps none.
type batchStart struct {
	known bool
	seg   *segment
	pos   int64
	next  logState
}

type rolledSegment struct {
	seg *segment
	end int64 // position behind its last frame
}

// Begin starts a batch: now, in nanoseconds since 1970, becomes the time of its frames unless an
// earlier batch was younger. It does not block.
func (l *Log) Begin(now int64) { l.w.now = max(now, l.w.now) }

// Add appends n encoded records, as core.PutRecord wrote them, which stay together in one frame, and
// returns the offset of the first. They are readable after Publish. On an error nothing of this Add
// is kept while earlier ones of the batch stay: CodeStorageFull (try again later), CodeIO and
// CodeLogFenced (the log takes nothing any more), CodeInvalidRecord. It blocks only when a segment
// is full and the next one is not prepared.
func (l *Log) Add(records []byte, n int) (base int64, err error) {
	if f := l.fence.Load(); f != nil {
		return 0, f
	}
	size := len(records)
	if n < 1 || n > core.MaxBatchRecords || size < core.RecordHeaderSize || size&7 != 0 ||
		size > core.MaxBatchBytes+core.MaxRecordBytes {
		return 0, core.Errorf(core.CodeInvalidRecord, l.name(), "%d records in %d bytes", n, size)
	}
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	w := &l.w
	if w.open.records > 0 &&
		(w.open.fill+size > core.MergeFrameBytes || w.open.records+n > core.MaxBatchRecords ||
			w.pos+int64(core.FrameHeaderSize+w.open.fill+size) > w.dataEnd) {
		l.seal()
	}
	need := int64(core.FrameHeaderSize + w.open.fill + size)
	if w.pos+need > w.dataEnd {
		if err := l.room(need); err != nil {
			return 0, err
		}
	}
	if !w.mapped {
		l.growArena(w.pos + need - w.bufAt)
	}
	if w.open.records == 0 {
		w.open.offset = w.next.offset
	}
	copy(w.buf[w.pos-w.bufAt+need-int64(size):], records)
	base = w.next.offset
	w.next.offset += int64(n)
	w.open.records += n
	w.open.fill += size
	return base, nil
}

// seal completes the open frame. Its header is encoded beside the log; the length word goes last, so
// that whoever sees it sees a whole frame, and the word after the frame reads 0.
func (l *Log) seal() {
	w := &l.w
	frame := w.buf[w.pos-w.bufAt:]
	length := core.FrameHeaderSize + w.open.fill
	h := core.FrameHeader{
		Length:     uint32(length),
		Index:      w.next.index,
		BaseOffset: w.open.offset,
		Time:       w.now,
		Term:       w.seg.header.base.term,
		PrevCRC:    w.next.prevCRC,
		PayloadCRC: core.Checksum(frame[core.FrameHeaderSize:length]),
		Records:    uint16(w.open.records),
		DurableLag: lag(w.next.index, l.marks.durableIndex.Load()),
		Attrs:      uint8(core.FrameData),
		Version:    core.FrameVersion,
	}
	header := w.header[:] // on the heap, because checksums go through a function variable
	h.Encode(header, w.seg.seed)
	copy(frame[8:core.FrameHeaderSize], header[8:])
	w.pos += int64(length)
	if w.mapped && w.pos+8 <= w.dataEnd {
		if after := word(frame[length:]); atomic.LoadUint64(after) != 0 {
			atomic.StoreUint64(after, 0)
		}
	}
	atomic.StoreUint64(word(frame), binary.NativeEndian.Uint64(header[:8]))
	w.next.index++
	w.next.prevCRC = h.PayloadCRC
	w.next.time = w.now
	w.open = frameDraft{}
}

// word is the first 8 bytes of p, which is 8-aligned because segments are pages and frames are
// padded.
func word(p []byte) *uint64 {
	_ = p[7]
	return (*uint64)(unsafe.Pointer(unsafe.SliceData(p)))
}

// lag is the number of frames between index and the last known durable one, saturating.
func lag(index, durable uint64) uint16 { return uint16(min(index-1-durable, math.MaxUint16)) }

// Publish completes the batch: everything added is readable when it returns, and end is the new End.
// The map sink does no system call; the pwrite sink writes the whole batch with one. If that fails,
// the batch since the last Publish is dropped and End is unchanged: CodeStorageFull, or CodeIO and
// the log is fenced.
func (l *Log) Publish() (end int64, err error) {
	if f := l.fence.Load(); f != nil {
		return l.End(), f
	}
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	w := &l.w
	if w.open.records > 0 {
		l.seal()
	}
	if w.next.offset == l.marks.end.Load() {
		return w.next.offset, nil
	}
	if w.arena != nil {
		if err := l.flushArena(); err != nil {
			l.dropBatch()
			return l.End(), err
		}
		l.releaseArena()
	}
	if len(w.rolled) > 0 {
		l.publishRolled()
	}
	w.seg.published.Store(w.pos)
	l.marks.endIndex.Store(w.next.index - 1)
	l.marks.end.Store(w.next.offset)
	l.saveStart()
	l.afterPublish()
	return w.next.offset, nil
}

func (l *Log) publishRolled() {
	for _, r := range l.w.rolled {
		r.seg.published.Store(r.end)
		r.seg.sealed.Store(true)
	}
	l.w.rolled = l.w.rolled[:0]
	l.askRetention()
}

func (l *Log) saveStart() {
	if w := &l.w; w.mapped {
		w.start.known = false
	} else {
		w.start = batchStart{true, w.seg, w.pos, w.next}
	}
}

// afterPublish tells the syncer of the first unsynced byte and of many, and the preparer when room
// ahead gets short.
func (l *Log) afterPublish() {
	if !l.round.dirty.Load() {
		l.store.syncer.markDirty(l)
	}
	w := &l.w
	if unsynced := w.seg.cum + w.pos - l.marks.durableBytes.Load(); unsynced >= l.store.opts.FlushBytes &&
		!l.round.requested.Load() {
		l.store.syncer.request(l)
	}
	if w.pos >= w.seg.nudges.next {
		l.nudgePreparer()
	}
}

// RequestSync starts a sync of what is published now, because somebody waits for it. Requests during
// a sync share the next one: that is the group commit. It does not block; Durable tells the result.
func (l *Log) RequestSync() {
	if !l.round.requested.Load() {
		l.store.syncer.request(l)
	}
}
