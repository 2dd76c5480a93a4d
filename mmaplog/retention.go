package mmaplog

import "sync/atomic"

// TrimTo drops the segments that hold only records below offset, never the last one. Start moves at
// once; the files go in the background. A segment whose loss in a power cut could not be told from
// damage, because its successor is not durable yet, stays.
func (l *Log) TrimTo(offset int64) error {
	l.mu.Lock()
	list := *l.segs.Load()
	n := 0
	for n+1 < len(list) && list[n+1].header.base.offset <= offset && l.expendable(list, n) {
		n++
	}
	kept := list[n:]
	l.segs.Store(&kept)
	if n > 0 {
		l.marks.start.Store(kept[0].header.base.offset)
	}
	l.mu.Unlock()
	for _, s := range list[:n] {
		s.cool()
		l.store.janitor.do(func() { l.removeSegment(s) })
	}
	return nil
}

// expendable reports whether segment n may go: all of it and its successor's header are durable.
func (l *Log) expendable(list []*segment, n int) bool {
	return list[n+1].entrySynced.Load() && list[n+1].header.base.offset <= l.DurableEnd()
}

// removeSegment takes away the file of a trimmed segment. The folder is synced after each, so that a
// power cut never leaves an older segment without a younger one, which would be a hole.
// For the same reason nothing younger goes once a removal failed.
func (l *Log) removeSegment(s *segment) {
	if l.trimStuck {
		return
	}
	if err := l.store.recycle(s); err != nil {
		l.trimStuck = true
		l.store.opts.Logger.Warn("cannot remove segment; no more are removed until the log is opened again",
			"segment", s.path, "err", err)
	}
}

// SetRetention changes RetentionBytes, 0 or more, and has it enforced in the background.
func (l *Log) SetRetention(bytes int64) {
	l.retention.Store(bytes)
	l.askRetention()
}

// retain trims to RetentionBytes: a segment goes when the ones after it hold that much alone.
func (l *Log) retain() {
	l.marks.retaining.Store(false) // before looking, so that a later change asks again
	bytes := l.retention.Load()
	if bytes == 0 {
		return
	}
	list := *l.segs.Load()
	rest := l.Bytes()
	for i := 0; i+1 < len(list); i++ {
		rest -= list[i].header.size
		if rest < bytes {
			return
		}
		_ = l.TrimTo(list[i+1].header.base.offset)
	}
}

// askRetention has the janitor enforce RetentionBytes. It does not block.
func (l *Log) askRetention() {
	if l.retention.Load() > 0 && l.marks.retaining.CompareAndSwap(false, true) {
		l.store.janitor.do(l.retain)
	}
}

// cooling is set while the janitor is asked to close segments of a log.
type cooling struct{ asked atomic.Bool }

func (l *Log) askCooling() {
	if l.cooling.asked.CompareAndSwap(false, true) {
		l.store.janitor.do(l.coolSegments)
	}
}

// coolSegments closes the files of sealed, synced segments: without a map at once, with one when they
// have left the hot window.
func (l *Log) coolSegments() {
	l.cooling.asked.Store(false)
	written := l.writtenBytes()
	for _, s := range *l.segs.Load() {
		res := s.live.Load()
		if res == nil || !s.sealed.Load() || !s.entrySynced.Load() || s.synced.Load() < s.published.Load() {
			continue
		}
		l.complete(s, res)
		if res.region == nil || written-(s.cum+s.published.Load()) >= l.store.opts.HotBytes {
			s.cool()
		}
	}
}
