package mmaplog

import (
	"sync/atomic"
	"time"
)

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
	if n > 0 {
		l.prep.coming.Add(int64(n))
		l.store.janitor.do(func() { l.drop(list[:n]) })
	}
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
	defer l.fileCame()
	if l.trimStuck {
		return
	}
	if err := l.store.recycle(s); err != nil {
		l.trimStuck = true
		l.store.opts.Logger.Warn("cannot remove segment; no more are removed until the log is opened again",
			"segment", s.path, "err", err)
		return
	}
	l.store.manifest.left()
}

// Retention is what a log keeps. A limit that is 0 keeps everything; a segment goes as soon as one limit
// lets it, oldest first, and the last one always stays.
type Retention struct {
	Bytes   int64         // a segment goes when the younger ones alone take this much on disk
	Age     time.Duration // a segment goes when its newest frame is older
	Records int64         // a segment goes when the younger ones alone hold this many
}

// SetRetention changes what the log keeps, all limits 0 or more, and has it enforced in the background.
func (l *Log) SetRetention(r Retention) {
	l.retention.Store(&r)
	l.store.keeper.watch(l, l.store.opts.Clock.Now())
	l.askRetention()
}

// retain trims to what Retention says.
func (l *Log) retain() {
	l.marks.retaining.Store(false) // before looking, so that a later change asks again
	list := *l.segs.Load()
	if n := l.overdue(list, l.retention.Load()); n > 0 {
		_ = l.TrimTo(list[n].header.base.offset)
	}
}

// overdue counts the oldest segments of list that may go.
func (l *Log) overdue(list []*segment, keep *Retention) int {
	rest := int64(0)
	for _, s := range list {
		rest += s.bytes()
	}
	// The wall clock may stand anywhere. One that went back makes frames younger, so nothing goes by it.
	oldest := l.store.opts.Clock.Now() - int64(keep.Age)
	skipped := int64(0) // offsets behind next that no record has
	for i, s := range list {
		if i > 0 {
			skipped += s.header.base.offset - s.header.from()
		}
	}
	n := 0
	for ; n+1 < len(list); n++ {
		rest -= list[n].bytes()
		next := &list[n+1].header
		skipped -= next.base.offset - next.from()
		if (keep.Bytes == 0 || rest < keep.Bytes) && (keep.Age == 0 || list[n].newestFrame(next) >= oldest) &&
			(keep.Records == 0 || l.End()-next.base.offset-skipped < keep.Records) {
			break
		}
	}
	return n
}

// newestFrame is the time of the youngest frame of a segment that was left, or, if it was left in an earlier
// life and nobody has looked into it, a bound above it: frames never get older, and no frame of the next
// segment is older than that.
func (s *segment) newestFrame(next *segmentHeader) int64 {
	if s.sealed.Load() && s.last.index != 0 {
		return s.last.time
	}
	if b := s.index.block.Load(); b != nil && b.known {
		return b.maxTime
	}
	return next.created
}

// askRetention has the janitor enforce Retention. It does not block.
func (l *Log) askRetention() {
	if *l.retention.Load() != (Retention{}) && l.marks.retaining.CompareAndSwap(false, true) {
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
	for _, s := range l.segs.recent() {
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
