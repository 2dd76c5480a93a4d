package mmaplog

import (
	"errors"

	"github.com/leatbus/leat/core"
)

// complete writes index and footer of a segment that was left and is durable, once. Nothing waits for them
// and nobody syncs them: without them the segment is as good. It runs on the janitor.
func (l *Log) complete(s *segment, res *resource) {
	if s.completed {
		return
	}
	s.completed = true
	err := l.writeTail(s, res.file)
	if s.last.index > 0 {
		l.store.manifest.sealed(s, s.published.Load(), &s.last)
	}
	if err != nil {
		l.store.opts.Logger.Warn("cannot write the index of a segment", "segment", s.path, "err", err)
	}
}

// completeCold does the same to a segment that was found without a footer. It runs on the janitor.
func (l *Log) completeCold(s *segment) {
	if s.completed || s.damaged() ||
		l.closed.Load() || s.header.base.offset < l.Start() || !s.entrySynced.Load() {
		return
	}
	s.completed = true
	f, err := l.store.fs.Open(s.path, ReadWrite)
	if err == nil {
		err = errors.Join(l.writeTail(s, f), f.Close())
	}
	if err != nil {
		l.store.opts.Logger.Warn("cannot write the index of a segment", "segment", s.path, "err", err)
	}
}

// writeTail writes index and footer and lets readers use the index. The one the writer noted is taken if it
// covers the segment; else all headers are read.
func (l *Log) writeTail(s *segment, f File) error {
	if s.header.size-s.header.dataEnd < footerSize {
		return nil // by another hand than ours: there is no room
	}
	b, end, last := s.index.block.Load(), s.published.Load(), s.last
	if b == nil || b.from > headerSize || last.index == 0 {
		made, err := l.readIndex(s)
		if err != nil {
			return err
		}
		b, end, last = made.block, made.end, made.last
	}
	list := b.list()
	kept := newIndexBlock(len(list))
	copy(kept.entries, list)
	kept.n.Store(int64(len(list)))
	kept.maxTime, kept.known = last.time, true
	l.store.indexes.add(s, kept)
	l.store.point("seal.before-footer")
	footer := segmentFooter{end: end, last: last, created: s.header.created}
	tail := appendTail(nil, &s.header, &footer, list)
	if n := len(list) * indexEntrySize; n > 0 {
		if _, err := f.WriteAt(tail[:n], s.header.dataEnd); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(tail[len(tail)-footerSize:], s.header.size-footerSize); err != nil {
		return err
	}
	s.noFooter.Store(false)
	l.store.point("seal.after-footer")
	return nil
}

// madeIndex is what reading all headers of a segment gives.
type madeIndex struct {
	block *indexBlock
	end   int64
	last  logState
}

// readIndex makes the index of a segment from the headers of its frames.
func (l *Log) readIndex(s *segment) (madeIndex, error) {
	var index sparseIndex
	index.beginAt(headerSize)
	at, base := checkpoint{pos: headerSize, at: s.start()}, &s.header.base
	err := l.walkHeaders(s, &at, func(*core.FrameHeader) bool {
		index.note(base, at.pos, &at.at)
		return true
	})
	return madeIndex{index.block.Load(), at.pos, at.at}, err
}
