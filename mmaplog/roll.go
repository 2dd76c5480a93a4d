package mmaplog

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/leatbus/leat/core"
)

// room makes the next frame, need bytes with its header, fit: it opens the last segment of a log that
// was just opened, or starts a segment.
func (l *Log) room(need int64) error {
	w := &l.w
	if err := l.resume(); err != nil {
		return err
	}
	if w.seg != nil && w.pos+need <= w.dataEnd {
		return nil
	}
	return l.roll(need)
}

// resume opens the last segment of a log that was just opened, if there is one.
func (l *Log) resume() error {
	list := l.segs.recent()
	if l.w.seg != nil || len(list) == 0 {
		return nil
	}
	if l.w.marked {
		if err := l.unmark(); err != nil {
			return err
		}
	}
	if err := l.reserve(l.w.next.offset, 0); err != nil {
		return err
	}
	last := list[len(list)-1]
	if err := l.attach(last); err != nil {
		return err
	}
	l.enter(last, last.published.Load())
	l.saveStart()
	return nil
}

// attach opens the last segment of a recovered log for writing.
func (l *Log) attach(s *segment) error {
	res := l.prep.takeTail()
	if res == nil {
		var err error
		if res, err = l.openTail(s); err != nil {
			return err
		}
	}
	s.warm(res)
	return nil
}

// openTail opens the file of a last segment that is written to again.
func (l *Log) openTail(s *segment) (*resource, error) {
	f, err := l.store.fs.Open(s.path, ReadWrite)
	if err != nil {
		return nil, ioError(l.name(), err)
	}
	// A power cut may have left the file shorter than it was reserved.
	if err := f.Allocate(s.header.size); err != nil {
		return nil, errors.Join(ioError(l.name(), err), f.Close())
	}
	region, err := l.mapFile(f, s.header.size)
	if err != nil {
		return nil, errors.Join(ioError(l.name(), err), f.Close())
	}
	return newResource(f, region, l.store.janitor.close), nil
}

// mapFile maps f for the map sink and gives nil for the pwrite sink, which is also what a log gets
// when the process has as many maps as it may.
func (l *Log) mapFile(f File, size int64) (Region, error) {
	if !l.opts.mapped() || !l.store.mappable || l.store.opts.NoMap {
		return nil, nil
	}
	if !l.store.takeMap() {
		return nil, nil
	}
	r, err := f.Map(size)
	if err != nil {
		l.store.maps.used.Add(-1)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil, nil
		}
		return nil, err
	}
	return &countedRegion{Region: r, store: l.store}, nil
}

// countedRegion gives its share of the budget back when it is closed.
type countedRegion struct {
	Region
	store *Store
}

func (r *countedRegion) Close() error {
	r.store.maps.used.Add(-1)
	return r.Region.Close()
}

// enter makes the writer continue at position pos of s.
func (l *Log) enter(s *segment, pos int64) {
	w := &l.w
	w.seg, w.pos, w.dataEnd = s, pos, s.header.dataEnd
	w.ordinal = max(w.ordinal, s.header.ordinal)
	region := s.live.Load().region
	w.mapped = region != nil
	switch {
	case w.mapped && w.arena != nil:
		l.releaseArena()
		fallthrough
	case w.mapped:
		w.buf, w.bufAt = region.Bytes(), 0
	case w.arena != nil:
		w.buf, w.bufAt = w.arena.b, pos
	default:
		w.buf, w.bufAt = nil, pos
	}
	l.planNudges()
}

// roll starts a segment that has room for need bytes. The segment before is synced, unmapped and
// closed in the background. It blocks if no prepared segment is at hand. On an error the log is as it
// was.
func (l *Log) roll(need int64) error {
	if err := l.reserve(l.w.next.offset, need); err != nil {
		return err
	}
	l.store.point("roll.before")
	w := &l.w
	if w.arena != nil {
		if err := l.flushArena(); err != nil {
			return err
		}
	}
	p, err := l.takeSpare(need)
	if err != nil {
		return err
	}
	s, err := l.adopt(p)
	if err != nil {
		l.store.janitor.discard(p)
		return l.writeFailed(err)
	}
	l.store.point("roll.adopted")
	if w.seg != nil {
		w.seg.last = w.next
		l.store.maps.lookedAt(w.seg)
		w.rolled = append(w.rolled, rolledSegment{w.seg, w.pos})
	}
	l.appendSegment(s)
	w.planSpares()
	l.store.manifest.created(s)
	l.enter(s, headerSize)
	return nil
}

// A log that fills a segment in less than these, by the time of its batches, has 2 or maxSpares at hand.
const (
	fastRoll    = int64(time.Second)
	fastestRoll = int64(250 * time.Millisecond)
	maxSpares   = 4
)

// planSpares decides how many spares the log is to have, from how long it took to fill a segment.
func (w *writer) planSpares() {
	took := w.now - w.rolledAt
	switch {
	case w.rolledAt == 0 || took >= fastRoll:
		w.keep = 1
	case took >= fastestRoll:
		w.keep = 2
	default:
		w.keep = maxSpares
	}
	w.rolledAt = w.now
}

// adopt writes the header of a prepared file and gives it its name. Neither is synced here: the
// sync round does both before it calls any frame in the segment durable.
func (l *Log) adopt(p *prepared) (*segment, error) {
	w := &l.w
	h := segmentHeader{
		topic: l.topic, partition: l.partition, id: p.id, ordinal: w.ordinal + 1,
		base: segmentBase{
			offset: w.next.offset, index: w.next.index, term: w.next.term, prevCRC: w.next.prevCRC,
		},
		size:     p.size,
		dataEnd:  classDataEnd(p.size),
		created:  w.now,
		produced: w.produced,
		recycled: p.recycled,
	}
	written := int64(0)
	if w.seg != nil {
		h.previousID = w.seg.header.id
		written = w.seg.cum + w.pos
	}
	// Index first: the round moves end before index, so the pair is never ahead of itself.
	h.durable.index = l.marks.durableIndex.Load()
	h.durable.end = min(l.marks.durableEnd.Load(), h.base.offset)
	var page [headerSize]byte
	h.encode(page[:])
	path := filepath.Join(l.dir, segmentName(h.base.offset, h.id))
	if _, err := p.res.file.WriteAt(page[:], 0); err != nil {
		return nil, err
	}
	if err := l.store.fs.Rename(p.path, path); err != nil {
		return nil, err
	}
	s := newSegment(h, path)
	s.cum = written - headerSize
	s.filled = p.filled
	s.nudges.populated.Store(p.populated)
	s.warm(p.res)
	return s, nil
}

// nextSize is the class of the segment after the current one.
func (l *Log) nextSize() int64 {
	seg := l.w.seg
	if list := l.segs.recent(); seg == nil && len(list) > 0 {
		seg = list[len(list)-1]
	}
	if seg == nil || l.w.idle {
		return core.MinSegmentBytes
	}
	return min(2*seg.header.size, l.opts.SegmentBytes)
}
