package mmaplog

import (
	"encoding/binary"
	"errors"
	"path/filepath"

	"github.com/leatbus/leat/core"
)

// clean looks at segment i and replaces it if something in it goes, or if its header is to tell more.
func (c *cleaning) clean(i int) error {
	cleanTo := min(c.to, c.ends[i])
	gone, last := int64(0), uint64(0)
	err := c.eachFrame(i, func(h *core.FrameHeader, payload []byte) error {
		last = h.Index
		if h.Type() != core.FrameData {
			return nil
		}
		return eachRecord(h, payload, func(offset int64, r *core.Record, _ []byte) {
			if c.goes(h, offset, r) {
				gone++
			}
		})
	})
	if err != nil {
		return err
	}
	if gone > 0 || c.cleanTo[i] < cleanTo {
		if err := c.replace(i, last, cleanTo); err != nil {
			return err
		}
	}
	return c.finish(i, last)
}

// goes reports whether a record may go, if it is not in the last frame of its segment.
func (c *cleaning) goes(h *core.FrameHeader, offset int64, r *core.Record) bool {
	if r.Key == nil || r.Removed() {
		return false
	}
	if newest, ok := c.keys.newest(r.KeyHash, r.Key); ok && newest > offset {
		return true
	}
	if r.Value != nil || offset >= c.to || c.anyEdge {
		return false
	}
	_, edge := c.edges[r.KeyHash]
	return !edge && h.Time < c.now-int64(c.log.opts.DeleteRetention)
}

// finish notes what is left in a segment that is done: the keys of its last frame, and how old the oldest
// tombstone is that only has to get older.
func (c *cleaning) finish(i int, last uint64) error {
	return c.eachFrame(i, func(h *core.FrameHeader, payload []byte) error {
		if h.Type() != core.FrameData {
			c.anyEdge = c.anyEdge || h.Type() == core.FrameKafka
			return nil
		}
		return eachRecord(h, payload, func(offset int64, r *core.Record, _ []byte) {
			if r.Key == nil || r.Removed() {
				return
			}
			_, edge := c.edges[r.KeyHash]
			switch {
			case h.Index == last:
				c.anyEdge = c.anyEdge || len(c.edges) == maxEdges
				if !c.anyEdge {
					c.edges[r.KeyHash] = struct{}{}
				}
			case r.Value == nil && offset < c.to && !edge && !c.anyEdge && (c.oldest == 0 || h.Time < c.oldest):
				c.oldest = h.Time
			}
		})
	})
}

// replace writes segment i anew, without what goes, and puts it in place of the old one.
func (c *cleaning) replace(i int, last uint64, cleanTo int64) error {
	l, s := c.log, c.list[i]
	page, err := l.headerPage(s)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	le.PutUint32(page[20:], le.Uint32(page[20:])|featureCompacted)
	le.PutUint64(page[cleanToAt:], uint64(cleanTo))
	le.PutUint32(page[12:], headerPageCRC(page))
	path := filepath.Join(l.dir, spareName(l.newID()))
	f, err := l.store.fs.Open(path, Create)
	if err != nil {
		return ioError("compact "+l.name(), err)
	}
	w := &segmentRewrite{file: f, seed: s.seed, base: &s.header.base, state: s.start()}
	w.index.beginAt(headerSize)
	if err = w.write(page); err == nil {
		err = c.eachFrame(i, func(h *core.FrameHeader, payload []byte) error {
			return w.frame(h, c.rewritten(w, h, payload, last))
		})
	}
	if err == nil {
		err = w.finish(&s.header)
	}
	if err == nil {
		err = f.Sync() // before it has the name that is believed
	}
	if err := errors.Join(err, f.Close()); err != nil {
		l.store.removeFile(path)
		return ioError("compact "+l.name(), err)
	}
	fresh := s.compacted(w)
	done := make(chan error, 1)
	// The janitor does all that concerns the file of a segment, so nobody writes an index into it meanwhile.
	l.store.janitor.do(func() { done <- c.swap(s, fresh, path) })
	if err := <-done; err != nil {
		return err
	}
	c.list[i] = fresh
	c.replaced++
	return nil
}

// rewritten gives the payload of a frame without what goes: the payload itself if nothing does.
func (c *cleaning) rewritten(w *segmentRewrite, h *core.FrameHeader, payload []byte, last uint64) []byte {
	if h.Type() != core.FrameData || h.Index == last {
		return payload
	}
	out, changed := w.payload[:0], false
	_ = eachRecord(h, payload, func(offset int64, r *core.Record, raw []byte) { // it was read before
		if !c.goes(h, offset, r) {
			out = append(out, raw...)
			return
		}
		changed = true
		c.removed++
		var stub [core.RecordHeaderSize]byte
		core.PutRemoved(stub[:], r.DeltaTime)
		out = append(out, stub[:]...)
	})
	w.payload = out
	if !changed {
		return payload
	}
	return out
}

// segmentRewrite writes the frames of a segment one behind the other.
type segmentRewrite struct {
	file    File
	seed    uint32
	base    *segmentBase
	at      int64 // position of buf
	buf     []byte
	state   logState
	index   sparseIndex
	payload []byte
}

const rewriteBytes = 256 << 10

func (w *segmentRewrite) write(p []byte) error {
	w.buf = append(w.buf, p...)
	if len(w.buf) < rewriteBytes {
		return nil
	}
	return w.flush()
}

func (w *segmentRewrite) flush() error {
	_, err := w.file.WriteAt(w.buf, w.at)
	w.at += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// position is where the next frame goes.
func (w *segmentRewrite) position() int64 { return w.at + int64(len(w.buf)) }

// frame writes a frame with another payload, chained to the one before.
func (w *segmentRewrite) frame(was *core.FrameHeader, payload []byte) error {
	w.index.note(w.base, w.position(), &w.state)
	h := *was
	h.PrevCRC = w.state.prevCRC
	h.Length, h.PayloadCRC = uint32(core.FrameHeaderSize+len(payload)), core.Checksum(payload)
	var head [core.FrameHeaderSize]byte
	h.Encode(head[:], w.seed)
	if err := w.write(head[:]); err != nil {
		return err
	}
	if err := w.write(payload); err != nil {
		return err
	}
	var pad [8]byte
	if err := w.write(pad[:h.Size()-int64(h.Length)]); err != nil {
		return err
	}
	w.state = logState{offset: h.NextOffset(), index: h.Index + 1, prevCRC: h.PayloadCRC, time: h.Time}
	return nil
}

// finish writes what is left, index and footer. The file is as long as the one before; what lies between is
// never written, so it takes no room.
func (w *segmentRewrite) finish(h *segmentHeader) error {
	if err := w.flush(); err != nil {
		return err
	}
	if h.size-h.dataEnd < footerSize {
		_, err := w.file.WriteAt([]byte{0}, h.size-1)
		return err
	}
	list := w.index.block.Load().list()
	footer := segmentFooter{end: w.at, last: w.state, created: h.created}
	tail := appendTail(nil, h, &footer, list)
	_, err := w.file.WriteAt(tail, h.dataEnd)
	return err
}

// compacted is the segment that takes the place of s.
func (s *segment) compacted(w *segmentRewrite) *segment {
	fresh := newSegment(s.header, s.path)
	fresh.published.Store(w.at)
	fresh.synced.Store(w.at)
	fresh.hotFrom = s.header.size // it is read from the disk
	fresh.cum = s.cum + s.published.Load() - w.at
	fresh.entrySynced.Store(true)
	fresh.sealed.Store(true)
	fresh.last = w.state
	fresh.completed = true
	fresh.header.compacted = true
	return fresh
}

// checkpointBehind makes sure that a checkpoint on the disk is not before offset: recovery would look for the
// frame at its position, which is another one in a compacted segment. It runs on the janitor.
func (l *Log) checkpointBehind(offset int64) bool {
	if check := &l.keep.file.check; check.segment != 0 && check.at.offset < offset {
		l.keepState("checkpoint before a compaction", l.checkpointAtRoll)
	}
	check := &l.keep.file.check
	return check.segment == 0 || check.at.offset >= offset
}

// swap gives the file at path the name of s and puts fresh in the list in its place. Readers that have the
// old file go on in it; what they look up is found in the new one. It runs on the janitor.
func (c *cleaning) swap(s, fresh *segment, path string) error {
	l := c.log
	if c.outdated(s) { // what was truncated would come back
		l.store.removeFile(path)
		return errRoundEnded
	}
	if !l.checkpointBehind(fresh.last.offset) {
		l.store.removeFile(path)
		return errRoundEnded // the next round tries again
	}
	s.completed = true // nobody writes a footer under this name for the old content
	s.replaced.Store(true)
	l.store.point("compact.before-rename")
	if err := l.store.fs.Rename(path, s.path); err != nil {
		l.store.removeFile(path)
		return ioError("compact "+l.name(), err)
	}
	l.store.point("compact.after-rename")
	err := l.store.fs.SyncDir(l.dir)
	l.mu.Lock()
	old := *l.segs.Load()
	list := make([]*segment, 0, len(old))
	for _, seg := range old {
		if seg == s {
			seg = fresh
		}
		list = append(list, seg)
	}
	l.segs.Store(&list)
	l.mu.Unlock()
	l.store.manifest.sealed(fresh, fresh.published.Load(), &fresh.last)
	s.cool()
	return ioError("compact "+l.name(), err)
}
