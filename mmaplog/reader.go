package mmaplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime/debug"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// Reader is a cursor over the frames of a log. It belongs to one goroutine and never blocks a
// writer. What this process wrote lately is copied from the map; everything else is read by system
// calls and checked, because a page fault would stall the processor and the garbage collector.
type Reader struct {
	log    *Log
	offset int64 // of the next record wanted

	seg  *segment  // holds offset; nil if unknown
	pos  int64     // of a frame at or before offset in seg
	held *resource // pinned map of seg, kept between two reads at the end of the log; nil otherwise

	file      File // of fileSeg, for cold reads
	fileSeg   *segment
	restarted *segment // read again from its first frame on, because it was being replaced
	buf       []byte
	wanted    int64 // size of the frame at pos, if it is known not to fit a usual read
	ahead     byte  // what tail loaded in advance; its value means nothing
	closed    bool
	cuts      int          // truncations of the log that the cursor knows of
	verified  bool         // check even hot frames; for benchmarks
	pinned    atomic.Int64 // runs of maps that NextPinned gave and nobody released
}

// Offset is a record number within a partition, from 0. (With a name of its own in the signature of
// Seek, vet does not take that method for io.Seeker's.)
type Offset = int64

// runBytes is how many bytes of frames Next gives at most, unless one frame is larger.
const runBytes = 64 << 10

// Reader returns a cursor at offset from. It holds a file only while it reads cold data; Close it.
func (l *Log) Reader(from int64) *Reader { return &Reader{log: l, offset: from, cuts: l.cutCount()} }

// Offset is the offset of the next record wanted.
func (r *Reader) Offset() int64 { return r.offset }

// Seek moves the cursor; the next Next looks the offset up.
func (r *Reader) Seek(offset Offset) {
	if r.offset != offset {
		r.letGo()
		r.offset, r.seg, r.wanted = offset, nil, 0
	}
}

// letGo gives up the map of a reader at the end of the log.
func (r *Reader) letGo() {
	if r.held != nil {
		r.held.unpin()
		r.held = nil
	}
}

// Rest gives up what a reader at the end of the log keeps for its next read, which will take a little
// longer. A reader that is not going to read soon should rest.
func (r *Reader) Rest() { r.letGo() }

// Close gives up the reader's file.
func (r *Reader) Close() error {
	r.letGo()
	r.closed, r.seg = true, nil
	return r.closeFile()
}

func (r *Reader) closeFile() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.fileSeg = nil, nil
	return err
}

// Next gives a run of whole frames, verbatim and padded, fillers left out: it starts with the frame
// that holds the cursor's offset, which is not always the frame's first, and all of it lies below
// limit and End. The cursor moves behind the run. The slice is valid until the next call. It is
// nil, nil when there is nothing below limit. Errors: CodeOffsetOutOfRange if the offset was trimmed
// away, CodeCorrupt if records are damaged, which Damaged as the cause tells of: Seek to its To goes on
// behind them; CodeIO, CodeClosed. It does not block but for the disk.
func (r *Reader) Next(limit int64) (run []byte, err error) {
	l := r.log
	if err := r.usable(); err != nil {
		return nil, err
	}
	limit = min(limit, l.End())
	if r.offset >= limit {
		return nil, nil
	}
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	if r.held != nil {
		if run := r.tail(limit); run != nil {
			return run, nil
		}
		r.letGo()
	}
	for r.offset < limit {
		if r.seg == nil && !r.locate() {
			return nil, r.outOfRange()
		}
		run, more, err := r.step(limit)
		if err != nil || len(run) > 0 || !more {
			return run, err
		}
	}
	return nil, nil
}

func (r *Reader) outOfRange() error {
	r.letGo()
	r.seg = nil
	return core.Errorf(core.CodeOffsetOutOfRange, "read "+r.log.name(), "offset %d is not in [%d, %d)",
		r.offset, r.log.Start(), r.log.End())
}

// locate finds the segment that holds the cursor's offset: the last one that starts at or before it.
func (r *Reader) locate() bool {
	list := r.log.segs.from(r.offset)
	i := findSegment(list, r.offset)
	if i < 0 {
		return false
	}
	r.letGo()
	r.seg, r.pos, r.wanted = list[i], headerSize, 0
	// What is known of positions is of the old file.
	if base := &r.seg.header.base; r.offset > base.offset && !r.seg.replaced.Load() {
		if b := r.log.indexOf(r.seg, r.open); b != nil {
			r.pos = b.positionOf(r.offset, base)
		}
	}
	return true
}

// findSegment is the index of the last segment with a base offset up to offset, or -1.
func findSegment(list []*segment, offset int64) int {
	lo, hi := 0, len(list)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if list[mid].header.base.offset <= offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// step reads once. Without a run, more says whether another step may find one.
func (r *Reader) step(limit int64) (run []byte, more bool, err error) {
	seg := r.seg
	hi := seg.published.Load()
	if r.pos >= hi {
		return r.nextSegment()
	}
	var w frameWalk
	if res := r.hot(); res != nil {
		defer func() {
			if r.held == nil {
				res.unpin()
			}
		}()
		w = frameWalk{src: res.region.Bytes()[r.pos:hi], check: r.verified}
		w.walk(r.offset, limit, seg.seed)
		if len(w.run) > 0 {
			r.buf = grow(r.buf, len(w.run))
			w.run = r.buf[:copy(r.buf, w.run)]
			if w.next == limit && !r.verified {
				r.held = res // the next read is at the end too
			}
		}
	} else {
		src, err := r.load(hi)
		if err != nil {
			return nil, false, err
		}
		w = frameWalk{src: src, check: true}
		w.walk(r.offset, limit, seg.seed)
	}
	return r.take(&w, hi)
}

// tail reads at the end of the log from the map that is held. It gives nil if the usual way has to be taken:
// the segment ends, or the bytes at the cursor are not hot any more. A reader that follows the writer
// pays for each cache line the writer's processor has, one after the other where one tells of the next:
// so this looks at nothing but the frames, and at the second line of the first one in advance.
func (r *Reader) tail(limit int64) []byte {
	s := r.seg
	if r.pos < s.unmapped.Load() || limit-r.offset > tailRecords {
		return nil
	}
	src := r.held.region.Bytes()[r.pos:s.header.dataEnd]
	if len(src) > core.FrameHeaderSize { // the frame below limit is there, and so is the record it has
		r.ahead = src[core.FrameHeaderSize]
	}
	used, next := 0, r.offset
	for next < limit && len(src)-used >= core.FrameHeaderSize {
		size, behind := frameBounds(src[used:])
		if size == 0 || behind <= next || behind > limit || used+size > min(len(src), runBytes) {
			break
		}
		used, next = used+size, behind
	}
	if used == 0 {
		return nil
	}
	r.buf = grow(r.buf, used)
	r.pos += int64(used)
	r.offset = next
	return r.buf[:copy(r.buf, src[:used])]
}

// frameBounds reads of a frame's header what its size and the offset behind it are. The size is 0 where
// there is no frame, or a filler.
func frameBounds(src []byte) (size int, behind int64) {
	_ = src[core.FrameHeaderSize-1]
	length := binary.LittleEndian.Uint32(src)
	if length < core.FrameHeaderSize || core.FrameType(src[62]&0x0f) == core.FrameFiller {
		return 0, 0
	}
	return core.Align8(int(length)),
		int64(binary.LittleEndian.Uint64(src[16:])) + int64(binary.LittleEndian.Uint16(src[58:]))
}

// tailRecords is how far behind the end a reader may be and still be at it.
const tailRecords = 4096

// take moves the cursor behind what was walked and decides what to do if that gave no run.
func (r *Reader) take(w *frameWalk, hi int64) (run []byte, more bool, err error) {
	at := r.pos
	r.pos += int64(w.used)
	r.wanted = 0
	switch {
	case len(w.run) > 0:
		r.offset = w.next
		return w.run, false, nil
	case w.used > 0:
		return nil, true, nil
	case w.limited:
		return nil, false, nil
	case w.short > 0 && at+int64(w.short) <= hi:
		r.wanted = int64(w.short)
		return nil, true, nil
	case w.empty || r.left():
		return r.nextSegment()
	case r.cutChanged():
		return nil, false, nil // the next call says so
	case w.err == nil:
		w.err = fmt.Errorf("frame of %d bytes, %d left", w.short, hi-at)
	}
	if errors.Is(w.err, core.ErrVersionTooNew) {
		return nil, false, w.err
	}
	more, err = r.meet(core.NewError(core.CodeCorrupt, "read "+r.log.name(),
		fmt.Errorf("segment %s, position %d, offset %d: %w", r.seg.path, at, r.offset, w.err)))
	return nil, more, err
}

// left reports whether the cursor's offset is not in its segment any more: that was trimmed away, and its
// file may be another segment by now, or the offset is where the next one begins. What is in the file
// behind the last frame of a segment with a successor means nothing.
func (r *Reader) left() bool {
	list := r.log.segs.from(r.offset)
	i := findSegment(list, r.offset)
	return i < 0 || list[i] != r.seg || r.seg.replaced.Load() && r.restarted != r.seg
}

// nextSegment moves on when a segment has no frame at the cursor any more.
func (r *Reader) nextSegment() (run []byte, more bool, err error) {
	before, at := r.seg, r.pos
	if r.offset < r.log.Start() || !r.locate() {
		return nil, false, r.outOfRange()
	}
	if r.seg == before && before.replaced.Load() && r.restarted != before {
		r.restarted = before // once, from the first frame on, which both files have at one place
		return nil, true, nil
	}
	if r.seg == before && r.overGap() {
		return nil, true, nil
	}
	if r.seg == before && r.cutChanged() {
		return nil, false, nil // the next call says so
	}
	if r.seg == before {
		r.pos = at
		more, err = r.meet(core.Errorf(core.CodeCorrupt, "read "+r.log.name(),
			"segment %s ends at position %d before offset %d", before.path, at, r.offset))
		return nil, more, err
	}
	return nil, true, nil
}

// overGap moves a cursor that is in a gap to its end.
func (r *Reader) overGap() bool {
	list := r.log.segs.from(r.offset)
	i := findSegment(list, r.offset) + 1
	if i == len(list) || !list[i].header.gap || r.offset < list[i].header.gapFrom {
		return false
	}
	r.offset = list[i].header.base.offset
	return r.locate()
}

// hot gives the pinned map if the bytes at the cursor were written by this process, are recent, and no
// sync has taken their pages out of the page tables: those cost a fault each, which is more than the
// system call.
func (r *Reader) hot() *resource {
	s := r.seg
	if r.pos < max(s.hotFrom, s.unmapped.Load()) ||
		r.log.writtenBytes()-(s.cum+r.pos) > r.log.store.opts.HotBytes {
		return nil
	}
	res := s.pinned()
	if res != nil && res.region == nil {
		res.unpin()
		return nil
	}
	r.log.store.maps.lookedAt(s)
	return res
}

// open gives the file of the current segment, which stays open as long as the reader is in it.
func (r *Reader) open() (File, error) {
	if r.fileSeg != r.seg {
		_ = r.closeFile()
		f, err := r.log.store.fs.Open(r.seg.path, ReadOnly)
		if err != nil {
			return nil, err
		}
		r.file, r.fileSeg = f, r.seg
	}
	return r.file, nil
}

// openFailed is the error for a segment whose file cannot be opened.
func (r *Reader) openFailed(err error) error {
	op := "read " + r.log.name()
	switch {
	case !errors.Is(err, errNotExist):
		return ioError(op, err)
	case r.log.closed.Load():
		return core.NewError(core.CodeClosed, op, nil)
	case r.offset < r.log.Start():
		return r.outOfRange()
	}
	return r.lost()
}

// load reads from the cursor on by system call into the reader's buffer: a usual run, or as much as
// one large frame needs.
func (r *Reader) load(hi int64) ([]byte, error) {
	if _, err := r.open(); err != nil {
		return nil, r.openFailed(err)
	}
	size := min(max(runBytes, r.wanted), hi-r.pos)
	r.buf = grow(r.buf, int(size))
	n, err := r.file.ReadAt(r.buf[:size], r.pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, ioError("read "+r.log.name(), err)
	}
	clear(r.buf[n:size]) // a file cut short by a power cut reads as if zeros followed
	return r.buf[:size], nil
}

// grow gives a buffer of at least n bytes, p itself if it is large enough. Sizes are powers of two, so
// that a reader of small runs stays small and soon stops allocating.
func grow(p []byte, n int) []byte {
	if n <= len(p) {
		return p
	}
	return make([]byte, 1<<bits.Len(uint(max(n, 4096)-1)))
}

// frameWalk walks the frames in src.
type frameWalk struct {
	src   []byte
	check bool // compare checksums: src comes from a disk

	run     []byte // whole frames from the wanted offset on, a part of src
	next    int64  // offset behind the run
	used    int    // bytes of src that are done with
	limited bool   // the frame at used reaches beyond the limit
	short   int    // the frame at used has this size and does not fit src
	empty   bool   // no frame at used
	err     error  // the frame at used is damaged
}

// walk skips frames before offset and fillers, and gathers frames up to limit and runBytes.
func (w *frameWalk) walk(offset, limit int64, seed uint32) {
	start := 0
	for {
		h, ok := w.frame(seed)
		if !ok || w.refuse(&h, limit, w.used-start) {
			break
		}
		size := int(h.Size())
		if h.Type() == core.FrameFiller || h.NextOffset() <= offset {
			if w.used > start {
				break // a filler ends a run
			}
			w.used += size
			start = w.used
			continue
		}
		if w.check && !w.payload(&h, offset) {
			break
		}
		w.used += size
		w.next = h.NextOffset()
	}
	w.run = w.src[start:w.used:w.used]
}

// frame reads the header at used.
func (w *frameWalk) frame(seed uint32) (h core.FrameHeader, ok bool) {
	rest := w.src[w.used:]
	if len(rest) < core.FrameHeaderSize {
		w.short = core.FrameHeaderSize
		w.empty = allZero(rest)
		return h, false
	}
	length := binary.LittleEndian.Uint32(rest)
	switch {
	case length == 0:
		w.empty = true
		return h, false
	case w.check:
		h, w.err = core.DecodeFrameHeader(rest, seed)
		if w.err != nil {
			return h, false
		}
	default:
		h = core.ParseFrameHeader(rest)
	}
	if h.Length < core.FrameHeaderSize {
		w.err = fmt.Errorf("length %d", h.Length)
		return h, false
	}
	if h.Size() > int64(len(rest)) {
		w.short = int(h.Size())
		return h, false
	}
	return h, true
}

// refuse reports whether the frame must not join a run of gathered bytes.
func (w *frameWalk) refuse(h *core.FrameHeader, limit int64, gathered int) bool {
	if h.NextOffset() > limit {
		w.limited = true
		return true
	}
	return gathered > 0 && int64(gathered)+h.Size() > runBytes
}

// payload checks content and offset of the frame at used.
func (w *frameWalk) payload(h *core.FrameHeader, offset int64) bool {
	frame := w.src[w.used:][:h.Length]
	w.err = h.CheckPayload(frame[core.FrameHeaderSize:])
	if expected := max(offset, w.next); w.err == nil && h.BaseOffset > expected {
		w.err = fmt.Errorf("frame of offset %d where %d is expected", h.BaseOffset, expected)
	}
	return w.err == nil
}
