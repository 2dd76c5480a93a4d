package mmaplog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/leatbus/leat/core"
)

// recovery is the state of opening one log. Reading comes first and decides; only then is anything
// changed on disk, and only if no durable data is damaged.
type recovery struct {
	log     *Log
	known   *knownSegments
	buf     *scanBuf
	found   []*segmentFile // with valid headers, ascending by ordinal
	broken  []brokenFile   // named like segments, but without a valid header
	useless []brokenFile   // of these, those that are to be set aside
	spares  []string       // paths of files that were prepared and never used
	durable mark           // the highest any header or the checkpoint tells
	file    stateFile      // the zero value if there is none that is usable

	chain []*segmentFile // the accepted segments, ascending
	state logState       // behind the last accepted frame
	clean bool           // the log was closed in order, and nothing was read
	began checkpoint     // where reading frames began; the zero value if that was somewhere else

	startless bool           // nothing of the log was ever durable, and its first segment is lost
	find      finding        // of a log that is damaged
	loose     bool           // nothing was synced, not even the folder
	unusable  bool           // there is a state file, which cannot be used
	gone      []*segmentFile // behind a truncation that was begun
	stop      stopReason
}

// segmentFile is one file found.
type segmentFile struct {
	header  segmentHeader
	path    string
	end     int64 // position behind the last accepted frame; dataEnd if it was not scanned
	zeroTo  int64 // cut: [end, zeroTo) is to be zeroed
	scanned bool
	index   sparseIndex
	holes   []hole

	noHeader bool // the header was made of the frames: the file's is damaged
	markLost bool // of a recycled file: what is at end does not read as the end
}

type brokenFile struct {
	base  int64
	id    uint64
	path  string
	blank bool // the header page is all zeros
}

// stopReason is why a scan ended where it did.
type stopReason struct {
	at   int64
	text string // empty: everything behind is zero
}

// recover reads what is on disk and makes the log continue it.
func (l *Log) recover() error {
	started := l.store.opts.Clock.Mono()
	buf := scanBufs.Get().(*scanBuf)
	defer scanBufs.Put(buf)
	r, err := l.recoverAny(buf)
	l.recovery.Took = time.Duration(l.store.opts.Clock.Mono() - started)
	if err != nil {
		return ioError("open "+l.name(), err)
	}
	r.install()
	l.store.manifest.recovered(r)
	if err := r.remember(); err != nil {
		return ioError("open "+l.name(), err)
	}
	r.tell()
	return nil
}

// recoverAny finds out whether the log is damaged, and takes the way for it.
func (l *Log) recoverAny(buf *scanBuf) (*recovery, error) {
	known, there, err := l.readDamage()
	unreadable := core.CodeOf(err) == core.CodeCorrupt
	if err != nil && !unreadable {
		return nil, err
	}
	if !there {
		r := &recovery{log: l, buf: buf}
		err = r.sound()
		if core.CodeOf(err) != core.CodeCorrupt || !l.skips() {
			return r, err
		}
	}
	l.recovery = Recovery{}
	r := &recovery{log: l, buf: buf, find: finding{noted: known, all: unreadable}}
	switch findErr := r.do(r.load, r.listAll, r.finishCut, r.findDamage); {
	case findErr != nil:
		return nil, findErr
	case len(r.find.damage) > 0 && l.skips():
		return r, r.do(r.cut, r.removeGone, r.sync, r.goBehind, r.skip)
	case len(r.find.damage) > 0:
		return nil, core.NewError(core.CodeCorrupt, "open "+l.name(), &r.find.damage[0])
	case !there:
		return nil, err
	}
	l.recovery = Recovery{}
	r = &recovery{log: l, buf: buf}
	if err := r.sound(); err != nil {
		return nil, err
	}
	return r, l.noteDamage(nil) // somebody repaired it
}

// sound opens a log that is not damaged. Nothing is changed on the disk before it is known to be sound.
func (r *recovery) sound() error {
	return r.do(r.load, r.list, r.finishCut, r.lostStart, r.scan, r.join, r.judge, r.cut, r.removeGone, r.sync,
		r.skip)
}

func (r *recovery) do(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// tell logs what opening did beside the usual.
func (r *recovery) tell() {
	l := r.log
	if l.recovery.CutBytes > 0 {
		l.store.opts.Logger.Warn("cut a torn tail", "topic", l.topic, "partition", l.partition,
			"bytes", l.recovery.CutBytes, "reason", l.recovery.CutReason)
	}
	const most = 16
	for i := range l.recovery.Damaged[:min(len(l.recovery.Damaged), most)] {
		l.store.opts.Logger.Error("durable records are damaged; the log is served without them",
			"topic", l.topic, "partition", l.partition, "places", len(l.recovery.Damaged),
			"err", &l.recovery.Damaged[i])
	}
}

// list finds the log's files.
func (r *recovery) list() error {
	r.known = r.log.store.manifest.of(logKey{r.log.topic, r.log.partition})
	if !r.known.trusted {
		if err := r.eachFile(func(path string, base int64, id uint64) error {
			if r.known.log != nil && r.covers(id, path) {
				return nil
			}
			return r.inspect(path, base, id)
		}); err != nil {
			return err
		}
	}
	if err := r.listKnown(); err != nil {
		return err
	}
	r.sortFound()
	return nil
}

func (r *recovery) sortFound() {
	slices.SortFunc(r.found, func(a, b *segmentFile) int {
		if a.header.ordinal < b.header.ordinal {
			return -1
		}
		return 1
	})
}

// eachFile calls f with each file of the log's folder that is named like a segment, and notes the spares.
// What it does not know it leaves alone.
func (r *recovery) eachFile(f func(path string, base int64, id uint64) error) error {
	names, err := r.log.store.fs.ReadDir(r.log.dir)
	if err != nil && !errors.Is(err, errNotExist) {
		return err
	}
	for _, name := range names {
		path := filepath.Join(r.log.dir, name)
		if isSpareName(name) {
			r.spares = append(r.spares, path)
		} else if base, id, ok := parseSegmentName(name); ok {
			r.log.idSeed = mixIDs(r.log.idSeed, id)
			if err := f(path, base, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// inspect reads the header of one segment file.
func (r *recovery) inspect(path string, base int64, id uint64) error {
	f, err := r.log.store.fs.Open(path, ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	var page [headerSize]byte
	if _, err := f.ReadAt(page[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, err := decodeSegmentHeader(page[:])
	if errors.Is(err, core.ErrVersionTooNew) {
		return fmt.Errorf("segment %s: %w", path, err)
	}
	if err == nil && (h.id != id || h.base.offset != base ||
		h.topic != r.log.topic || h.partition != r.log.partition) {
		return core.Errorf(core.CodeCorrupt, "open "+r.log.name(),
			"segment %s belongs to log %d/%d at offset %d: it was moved or renamed", path, h.topic, h.partition,
			h.base.offset)
	}
	if err != nil {
		r.broken = append(r.broken, brokenFile{base, id, path, allZero(page[:])})
		return nil
	}
	if r.known != nil && r.known.log != nil && h.ordinal <= r.known.log.trimmed {
		r.spares = append(r.spares, path) // a power cut took the edits that tell of it
		return nil
	}
	r.found = append(r.found, &segmentFile{header: h, path: path, end: h.dataEnd})
	r.durable.end = max(r.durable.end, h.durable.end)
	r.durable.index = max(r.durable.index, h.durable.index)
	return nil
}

// load reads the state file. One that is not usable is no obstacle: everything is read then.
func (r *recovery) load() error {
	f, found, err := r.log.readState()
	if err != nil {
		r.log.store.opts.Logger.Warn("the state of a log is not usable", "topic", r.log.topic,
			"partition", r.log.partition, "err", err)
		r.unusable = true
		return nil
	}
	r.file = f
	r.log.keep.parents = found
	if f.produced {
		r.log.setProduced()
	}
	return nil
}

// scan accepts segments from the oldest one on. Frames are read from the checkpoint, or from the last
// segment that starts at or before the durable end that headers tell of, whichever is later: what lies
// before was synced before somebody said so. After an orderly close none are read.
func (r *recovery) scan() error {
	if r.startless {
		r.state.index = 1
		return nil
	}
	from, next, err := r.begin()
	if next == nil {
		r.state.index = 1
		return err
	}
	if err := r.walkBack(next); err != nil {
		return err
	}
	r.began = from
	if r.clean, err = r.closedAt(from, next); r.clean || err != nil {
		next.end, next.zeroTo = from.pos, from.pos
		next.index.beginAt(from.pos)
		r.chain, r.state = append(r.chain, next), from.at
		return err
	}
	for next != nil {
		r.chain, r.state = append(r.chain, next), from.at
		if err := r.scanSegment(next, from.pos); err != nil {
			return err
		}
		if next = r.successor(next); next != nil {
			from = next.begin(r.state.time)
		}
	}
	return nil
}

// begin gives the place where reading starts and its segment, nil if there is none.
func (r *recovery) begin() (checkpoint, *segmentFile, error) {
	c := &r.file.check
	first, at := -1, -1
	for i, s := range r.found {
		if s.header.base.offset <= r.durable.end || i == 0 {
			first = i
		}
		if s.header.id == c.segment {
			at = i
		}
	}
	if c.segment != 0 {
		r.durable.end = max(r.durable.end, c.at.offset)
		r.durable.index = max(r.durable.index, c.at.index-1)
	}
	if first < 0 {
		return checkpoint{}, nil, nil
	}
	if at >= first {
		if ok, err := r.holds(r.found[at], c); ok || err != nil {
			return *c, r.found[at], err
		}
	}
	return r.found[first].begin(0), r.found[first], nil
}

// begin is the place of the segment's first frame, which is not before time.
func (s *segmentFile) begin(time int64) checkpoint {
	b := &s.header.base
	return checkpoint{segment: s.header.id, pos: headerSize, at: logState{offset: b.offset, index: b.index,
		prevCRC: b.prevCRC, term: b.term, time: max(time, s.header.created)}}
}

// holds reports whether c may be a place in the segment. A file that ends before it was cut short by
// somebody, and is read from its start on to find out where.
func (r *recovery) holds(s *segmentFile, c *checkpoint) (bool, error) {
	if c.pos > s.header.dataEnd || c.at.offset < s.header.base.offset || c.at.index < s.header.base.index {
		return false, nil
	}
	f, err := r.log.store.fs.Open(s.path, ReadOnly)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	return size >= c.pos, err
}

// closedAt reports whether the log was closed in order at c, in s, and is still as it was then.
func (r *recovery) closedAt(c checkpoint, s *segmentFile) (bool, error) {
	if !r.file.clean || c != r.file.check || s != r.found[len(r.found)-1] {
		return false, nil
	}
	f, err := r.log.store.fs.Open(s.path, ReadOnly)
	if err != nil {
		return false, err
	}
	defer f.Close()
	r.buf.reset(f, s.header.dataEnd)
	r.buf.chunk = pageSize
	behind, err := r.buf.view(c.pos, min(8, s.header.dataEnd-c.pos))
	return allZero(behind), err
}

// walkBack accepts the segments before s, which are durable as a whole, by their links.
func (r *recovery) walkBack(s *segmentFile) error {
	for i, at := slices.Index(r.found, s), s; i >= 0; i-- { // found ascends, and so does the chain
		if h := &r.found[i].header; h.id == at.header.previousID && h.ordinal < at.header.ordinal {
			at = r.found[i]
			r.chain = append(r.chain, at)
		}
	}
	slices.Reverse(r.chain)
	oldest := s
	if len(r.chain) > 0 {
		oldest = r.chain[0]
	}
	// Retention deletes the oldest first, so an older one that is still there tells of a missing one.
	first := slices.IndexFunc(r.found, func(f *segmentFile) bool { return f == oldest || !oldest.replaces(f) })
	if before := r.found[first]; before.header.ordinal < oldest.header.ordinal {
		return core.Errorf(core.CodeCorrupt, "open "+r.log.name(),
			"segment %016x, which comes before %s, is missing, while the older %s is there",
			oldest.header.previousID, oldest.path, before.path)
	}
	return nil
}

// replaces reports whether s has the place of an older segment: one that was started and given up, because
// its first batch was not written, before anything in it was published. Its file may be there still.
func (s *segmentFile) replaces(older *segmentFile) bool {
	a, b := &s.header, &older.header
	return a.previousID == b.previousID && a.base.offset == b.base.offset && a.base.index == b.base.index &&
		b.ordinal < a.ordinal
}

// scanSegment accepts frames from pos on as long as each continues the one before.
func (r *recovery) scanSegment(s *segmentFile, pos int64) error {
	s.scanned = true
	f, err := r.log.store.fs.Open(s.path, ReadOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	f.Forget()
	seed := core.HeaderSeed(s.header.id)
	r.buf.reset(f, s.header.dataEnd)
	if pos > headerSize {
		s.index.beginAt(pos)
	}
	for {
		h, err := r.buf.frameAt(pos, seed)
		if unreadable(err) || errors.Is(err, core.ErrVersionTooNew) {
			return err
		}
		if err == nil {
			if err = r.cutHere(&h); err == nil {
				err = r.state.accept(&h)
			}
		}
		if err != nil {
			s.end = pos
			return r.explain(pos, err)
		}
		pos += h.Size()
		if h.Type() != core.FrameFiller {
			r.log.recovery.Frames++
			if h.KeepsState() {
				r.log.setProduced()
			}
		}
		r.log.recovery.Bytes += h.Size()
		s.index.note(&s.header.base, pos, &r.state)
	}
}

// accept checks that h continues the log and moves the state behind it.
func (s *logState) accept(h *core.FrameHeader) error {
	if h.Type() == core.FrameFiller {
		return nil
	}
	switch {
	case h.Index != s.index:
		return fmt.Errorf("frame index %d, want %d", h.Index, s.index)
	case h.BaseOffset != s.offset:
		return fmt.Errorf("frame offset %d, want %d", h.BaseOffset, s.offset)
	case h.PrevCRC != s.prevCRC:
		return fmt.Errorf("frame follows checksum %08x, want %08x", h.PrevCRC, s.prevCRC)
	case h.Time < s.time:
		return fmt.Errorf("frame time %d before %d", h.Time, s.time)
	case h.Term < s.term:
		return fmt.Errorf("frame term %d after %d", h.Term, s.term)
	}
	*s = logState{offset: h.NextOffset(), index: h.Index + 1, prevCRC: h.PayloadCRC, term: h.Term, time: h.Time}
	return nil
}

// explain notes why the scan of the segment in buf ended at pos.
func (r *recovery) explain(pos int64, err error) error {
	r.stop = stopReason{at: pos}
	s := r.chain[len(r.chain)-1]
	var scanErr error
	if s.header.recycled {
		scanErr = r.explainRecycled(s, pos)
	} else {
		s.zeroTo, scanErr = r.buf.lastNonZero(pos)
	}
	if scanErr != nil {
		return scanErr
	}
	if s.zeroTo > pos {
		r.stop.text = err.Error()
	}
	return nil
}

// successor finds the segment that continues the chain where the scan ended, if there is one.
func (r *recovery) successor(s *segmentFile) *segmentFile {
	for i := len(r.found) - 1; i >= 0; i-- {
		h := &r.found[i].header
		if h.previousID == s.header.id && h.ordinal > s.header.ordinal && h.follows(&r.state) {
			return r.found[i]
		}
	}
	return nil
}
