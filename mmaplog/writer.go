package mmaplog

import (
	"encoding/binary"
	"math"
	"runtime/debug"
	"unsafe"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/crc32c"
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
	idle    bool // a segment is started because the log was idle for long: a small one will do

	keep     int   // spares to have ready
	rolledAt int64 // append time of the batch that started the segment

	produced bool             // there may be frames of producers in the log
	stateDue bool             // and a segment was started since their state was saved last
	marked   bool             // the state file has a clean mark, which goes before anything is appended
	head     core.FrameHeader // of the frame being sealed: attrs and producer, which are 0 but within AddFrame
}

// frameDraft is the frame records are being added to.
type frameDraft struct {
	records int // 0 if no frame is open
	fill    int // bytes of payload
	offset  int64
	summed  bool // crc is the payload's checksum
	crc     uint32
}

// logState is what the next frame continues.
type logState struct {
	offset  int64  // of the next record
	index   uint64 // of the next frame
	prevCRC uint32
	term    uint32 // of the frame before, and of the next one unless SetTerm raises it
	time    int64  // of the frame before
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
	if err := l.admit(records, n); err != nil {
		return 0, err
	}
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	return l.add(records, n)
}

// AddEach is Add of each of list, which are records by themselves, and costs less than that. It stops at the
// first error; added of them are kept, with offsets from base on.
func (l *Log) AddEach(list [][]byte) (base int64, added int, err error) {
	base = l.w.next.offset
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	for added < len(list) {
		n, err := l.addSome(list[added:])
		if added += n; err != nil {
			return base, added, err
		}
		if n == 0 { // the next one takes a new frame, or room
			if err := l.admit(list[added], 1); err != nil {
				return base, added, err
			}
			if _, err := l.add(list[added], 1); err != nil {
				return base, added, err
			}
			added++
		}
	}
	return base, added, nil
}

// addSome adds what fits the open frame, in the map, and gives the number of records.
func (l *Log) addSome(list [][]byte) (n int, err error) {
	w := &l.w
	if w.open.records == 0 || !w.mapped {
		return 0, nil
	}
	if f := l.fence.Load(); f != nil {
		return 0, f
	}
	room := w.buf[w.pos+int64(core.FrameHeaderSize+w.open.fill) : w.dataEnd]
	room = room[:max(0, min(len(room), core.MergeFrameBytes-w.open.fill))] // a large record fills a frame alone
	list = list[:min(len(list), core.MaxBatchRecords-w.open.records)]
	at := 0
	for n < len(list) && len(list[n]) <= len(room)-at && len(list[n]) >= core.RecordHeaderSize &&
		len(list[n])&7 == 0 {
		at += copy(room[at:], list[n])
		n++
	}
	w.next.offset += int64(n)
	w.open.records += n
	w.open.fill += at
	w.open.summed = w.open.summed && n == 0
	return n, nil
}

// Append is Begin, Add and Publish of one batch, and costs less than the three: the records are still
// in the processor's cache when their checksum is made. Errors as for Add and Publish.
func (l *Log) Append(now int64, records []byte, n int) (end int64, err error) {
	if err := l.admit(records, n); err != nil {
		return l.End(), err
	}
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	l.Begin(now)
	w := &l.w
	if w.mapped && w.open.records == 0 && w.pos+int64(core.FrameHeaderSize+len(records)) <= w.dataEnd {
		l.place(records, n)
		if len(w.rolled) == 0 { // what publish does for a map and a frame that is sealed
			l.moveEnd()
			l.saveStart()
			l.afterPublish()
			return w.next.offset, nil
		}
	} else if _, err := l.add(records, n); err != nil {
		return l.End(), err
	}
	return l.publish()
}

// admit refuses what the log cannot take, whatever room there is.
func (l *Log) admit(records []byte, n int) error {
	if f := l.fence.Load(); f != nil {
		return f
	}
	size := len(records)
	if n < 1 || n > core.MaxBatchRecords || size < core.RecordHeaderSize || size&7 != 0 ||
		size > core.MaxBatchBytes+core.MaxRecordBytes {
		return core.Errorf(core.CodeInvalidRecord, l.name(), "%d records in %d bytes", n, size)
	}
	return nil
}

func (l *Log) add(records []byte, n int) (base int64, err error) {
	w, size := &l.w, len(records)
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
	w.open.summed = false
	return base, nil
}

// seal completes the open frame. Its header is made beside the log; the length word goes last, so that
// whoever sees it sees a whole frame. The word after the frame reads 0 by then, whatever the file was before
// it became this segment.
func (l *Log) seal() {
	w := &l.w
	length := core.FrameHeaderSize + w.open.fill
	frame := w.buf[w.pos-w.bufAt:]
	var words crc32c.Words
	l.headerWords(&words, length, w.open.offset, w.open.records)
	crc := w.open.crc
	if w.open.summed {
		words[6] |= uint64(crc)
		words.Seal(w.seg.seed)
	} else {
		crc = words.SumAndSeal(w.seg.seed, frame[core.FrameHeaderSize:length])
	}
	l.sealed(frame, &words, crc, core.Align8(length))
	w.open = frameDraft{}
}

// place is add and seal of records that are a frame by themselves and fit the map. The checksum is made of
// the records themselves, which are in the processor's cache.
func (l *Log) place(records []byte, n int) {
	w := &l.w
	frame := w.buf[w.pos:]
	size := core.FrameHeaderSize + len(records)
	var words crc32c.Words
	l.headerWords(&words, size, w.next.offset, n)
	crc := words.CopySumAndSeal(w.seg.seed, frame[core.FrameHeaderSize:], records)
	w.next.offset += int64(n)
	l.sealed(frame, &words, crc, size)
}

// headerWords makes the header of the next frame, without checksums, as FrameHeader.Words does, which it
// would take as long to fill as the checksums take.
func (l *Log) headerWords(words *crc32c.Words, length int, offset int64, records int) {
	w := &l.w
	words[0] = uint64(length)
	words[1] = w.next.index
	words[2] = uint64(offset)
	words[3] = uint64(w.now)
	words[4] = uint64(w.head.ProducerID)
	words[5] = uint64(w.next.term) | uint64(w.next.prevCRC)<<32
	words[6] = uint64(uint32(w.head.BaseSeq)) << 32
	words[7] = uint64(uint16(w.head.ProducerEpoch)) | uint64(records)<<16 |
		uint64(lag(w.next.index, l.marks.durableIndex.Load()))<<32 |
		uint64(w.head.Attrs)<<48 | core.FrameVersion<<56
}

// sealed puts a header in front of its payload, the length word last, and moves the writer behind the frame.
func (l *Log) sealed(frame []byte, words *crc32c.Words, crc uint32, size int) {
	w := &l.w
	header := (*[core.FrameHeaderSize]byte)(frame) // one check of its length for all
	binary.LittleEndian.PutUint64(header[8:], words[1])
	binary.LittleEndian.PutUint64(header[16:], words[2])
	binary.LittleEndian.PutUint64(header[24:], words[3])
	binary.LittleEndian.PutUint64(header[32:], words[4])
	binary.LittleEndian.PutUint64(header[40:], words[5])
	binary.LittleEndian.PutUint64(header[48:], words[6])
	binary.LittleEndian.PutUint64(header[56:], words[7])
	w.pos += int64(size)
	if w.mapped {
		w.endAt(w.pos)
	}
	storeRelease(word(frame), littleEndian(words[0]))
	w.next.index++
	w.next.prevCRC = crc
	w.next.time = w.now
}

// littleEndian is v as it is stored.
func littleEndian(v uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return binary.NativeEndian.Uint64(b[:])
}

// endAt makes position pos of the mapped segment read as the end: no length word, or where there is no room
// for a frame nothing but zeros.
func (w *writer) endAt(pos int64) {
	if w.dataEnd-pos >= core.FrameHeaderSize {
		*word(w.buf[pos:]) = 0
	} else {
		clear(w.buf[pos:w.dataEnd])
	}
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
	return l.publish()
}

func (l *Log) publish() (end int64, err error) {
	w := &l.w
	if w.open.records > 0 {
		l.seal()
	}
	if w.next.offset == l.marks.end.Load() && w.next.index-1 == l.marks.endIndex.Load() {
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
	l.moveEnd()
	l.saveStart()
	l.afterPublish()
	return w.next.offset, nil
}

// moveEnd makes the batch readable. The position and the index go before the end, which tells of them.
// With the pwrite sink, where a system call was just done, the end is a full barrier too, as after
// every sync/atomic store; with the map sink it is not: see RequestSync and sync for who looks again.
func (l *Log) moveEnd() {
	w := &l.w
	publishMark(&w.seg.published, w.pos)
	publishIndex(&l.marks.endIndex, w.next.index-1)
	if w.mapped {
		publishMark(&l.marks.end, w.next.offset)
		return
	}
	l.marks.end.Store(w.next.offset)
}

func (l *Log) publishRolled() {
	for _, r := range l.w.rolled {
		r.seg.published.Store(r.end)
		r.seg.sealed.Store(true)
	}
	l.w.rolled = l.w.rolled[:0]
	l.w.stateDue = l.w.produced
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
	// A round clears requested and then reads the end; the end must be out before requested is read.
	l.round.barrier.Add(1)
	if !l.round.waited.Load() {
		l.round.waited.Store(true)
	}
	if !l.round.requested.Load() {
		l.store.syncer.request(l)
	}
}
