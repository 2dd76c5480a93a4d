package mmaplog

import "github.com/leatbus/leat/core"

// A log that was closed in order, or has a checkpoint, is opened without a look at the frames before that
// place. The index of the current segment begins there then; the part before it is made when somebody looks
// for something in the segment for the first time.

// early is that part, nil if it is not there.
func (b *indexBlock) early() *indexBlock {
	if b == nil {
		return nil
	}
	return b.before.Load()
}

// askEarly has it made if it is missing.
func (l *Log) askEarly(s *segment, b *indexBlock) {
	if b.from > headerSize && b.before.Load() == nil && b.asked.CompareAndSwap(false, true) {
		l.store.janitor.do(func() { l.makeEarly(s, b.from) })
	}
}

// makeEarly reads the headers before position from. It runs on the janitor.
func (l *Log) makeEarly(s *segment, from int64) {
	if l.closed.Load() || s.header.base.offset < l.Start() {
		return
	}
	var index sparseIndex
	index.beginAt(headerSize)
	at, base := checkpoint{pos: headerSize, at: s.start()}, &s.header.base
	err := l.walkHeaders(s, &at, func(*core.FrameHeader) bool {
		if at.pos >= from {
			return false
		}
		index.note(base, at.pos, &at.at)
		return true
	})
	if err != nil {
		l.store.opts.Logger.Warn("cannot make the index of a segment", "segment", s.path, "err", err)
		return
	}
	if b := s.index.block.Load(); b != nil && b.from == from {
		b.before.Store(index.block.Load())
	}
}
