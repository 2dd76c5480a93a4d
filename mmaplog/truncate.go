package mmaplog

import (
	"errors"

	"github.com/leatbus/leat/core"
)

// TruncateSuffix drops the records from offset from on, where a frame begins or the log ends, and gives
// the frames that follow term. It is for a follower whose leader has another end. Before anything goes,
// the state file says that it does: a crash at any moment leaves a log that opening truncates in the same
// way, and nothing that was dropped comes back. A reader behind from gets CodeOffsetOutOfRange at its
// next call.
//
// It belongs to the writer, between two batches, and blocks for as long as the disk does. Errors:
// CodeOffsetOutOfRange and CodeInvalidRecord (no frame begins there, or the term is lower) change
// nothing; after another one the log is fenced.
func (l *Log) TruncateSuffix(from int64, term uint32) error {
	if f := l.fence.Load(); f != nil {
		return f
	}
	w, op := &l.w, "truncate "+l.name()
	switch {
	case w.open.records > 0 || w.next.index-1 != l.marks.endIndex.Load():
		return core.Errorf(core.CodeInternal, op, "a batch is under way")
	case from < l.Start() || from > l.End():
		return core.Errorf(core.CodeOffsetOutOfRange, op, "offset %d is not in [%d, %d]", from, l.Start(), l.End())
	case term < w.next.term:
		return core.Errorf(core.CodeInvalidRecord, op, "term %d after %d", term, w.next.term)
	case from == l.End():
		w.next.term = term
		return nil
	}
	if err := l.holdRounds(); err != nil {
		return err
	}
	defer l.store.syncer.end(l)
	place, i, err := l.placeOf(from)
	if err != nil {
		return err
	}
	place.at.term = term
	err = l.store.janitor.wait(func() error { return l.cutSuffix(&place, i) })
	if err != nil {
		err = ioError(op, err)
		l.fenceWith(err)
		return err
	}
	w.marked = false
	return nil
}

// holdRounds makes everything durable and begins a round of the caller, so that no other runs until it is
// ended.
func (l *Log) holdRounds() error {
	y := l.store.syncer
	for {
		y.drain([]*Log{l})
		if f := l.fence.Load(); f != nil {
			return f
		}
		if y.ended.Load() {
			return core.NewError(core.CodeClosed, l.name(), nil)
		}
		if y.lead(l) {
			if l.DurableEnd() == l.End() {
				return nil
			}
			y.end(l)
		}
	}
}

// placeOf finds the frame that begins at an offset, and its segment.
func (l *Log) placeOf(from int64) (checkpoint, int, error) {
	list := *l.segs.Load()
	i := findSegment(list, from)
	s := list[i]
	at := checkpoint{segment: s.header.id, pos: headerSize, at: s.start()}
	err := l.walkHeaders(s, &at, func(h *core.FrameHeader) bool { return h.NextOffset() <= from })
	if err == nil && at.at.offset != from {
		err = core.Errorf(core.CodeInvalidRecord, "truncate "+l.name(), "no frame begins at offset %d", from)
	}
	return at, i, err
}

// cutSuffix makes the log end at a place in its segment i. It runs on the janitor.
func (l *Log) cutSuffix(at *checkpoint, i int) error {
	list := *l.segs.Load()
	from := at.at.offset
	err := l.replaceState(func(f *stateFile) {
		f.cut = suffixCut{active: true, from: from, term: at.at.term}
		f.check = *at
		if f.saved != nil && f.saved.at.offset > from {
			f.saved = nil
		}
	})
	if err != nil {
		return err
	}
	l.store.point("truncate.after-edit")
	kept, gone := list[i], list[i+1:]
	if err := l.store.manifest.truncated(kept, gone); err != nil {
		return err
	}
	l.shorten(at, list[:i])
	if err := l.zeroBehind(kept, at.pos); err != nil {
		return err
	}
	for j := len(gone) - 1; j >= 0; j-- {
		gone[j].cool()
		if err := l.store.fs.Remove(gone[j].path); err != nil && !errors.Is(err, errNotExist) {
			return err
		}
	}
	if err := l.store.fs.SyncDir(l.dir); err != nil {
		return err
	}
	for range gone {
		l.store.manifest.left()
	}
	l.store.point("truncate.after-zero")
	return l.replaceState(func(f *stateFile) { f.cut = suffixCut{} })
}

// shorten lets readers and the writer see the log as it will be: older segments, and the one of the
// place, which gets a new segment in memory, so that nobody mistakes it for what it was.
func (l *Log) shorten(at *checkpoint, older []*segment) {
	list := *l.segs.Load()
	was := list[len(older)]
	s := newSegment(was.header, was.path)
	s.cum, s.hotFrom = was.cum, at.pos
	s.published.Store(at.pos)
	s.synced.Store(at.pos)
	s.entrySynced.Store(true)
	s.index.beginAt(at.pos)

	cuts := []int64{at.at.offset}
	if before := l.cuts.Load(); before != nil {
		cuts = append((*before)[:len(*before):len(*before)], at.at.offset)
	}
	l.cuts.Store(&cuts) // before the end moves: a reader that finds nothing looks here
	l.marks.durableEnd.Store(at.at.offset)
	l.marks.durableIndex.Store(at.at.index - 1)
	l.marks.end.Store(at.at.offset)
	l.marks.endIndex.Store(at.at.index - 1)
	kept := append(older[:len(older):len(older)], s)
	l.mu.Lock()
	l.segs.Store(&kept)
	l.mu.Unlock()
	l.marks.durableBytes.Store(l.writtenBytes())
	was.cool()

	w := &l.w
	w.seg, w.buf, w.pos, w.dataEnd, w.mapped = nil, nil, 0, 0, false
	w.next, w.now = at.at, max(w.now, at.at.time)
	w.start = batchStart{known: true, next: at.at}
}

// zeroBehind overwrites the frames of a segment from pos on, and what was written behind them when it was
// left.
func (l *Log) zeroBehind(s *segment, pos int64) error {
	f, err := l.store.fs.Open(s.path, ReadWrite)
	if err != nil {
		return err
	}
	err = writeZeros(f, pos, max(s.published.Load(), endMark(pos, s.header.dataEnd)))
	if err == nil && s.sealed.Load() {
		err = writeZeros(f, s.header.dataEnd, s.header.size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
