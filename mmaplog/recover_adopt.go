package mmaplog

import (
	"slices"

	"github.com/leatbus/leat/core"
)

// adopt makes headers for files that have lost theirs and hold frames nobody else has.
func (r *recovery) adopt() error {
	slices.SortStableFunc(r.broken, func(a, b brokenFile) int { return compareOffsets(a.base, b.base) })
	for i := len(r.broken) - 1; i >= 0; i-- {
		b := &r.broken[i]
		s, err := r.headerOf(b)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		r.found = append(r.found, s)
		r.sortFound()
		r.report(b.id, Damaged{From: b.base, To: b.base, Segment: b.path, Reason: "the header page is damaged"})
	}
	return nil
}

// headerOf makes up the header of a file from the manifest, or from its name, its frames and the segments
// around it; nil if its frames are not missing anywhere, or there are none.
func (r *recovery) headerOf(b *brokenFile) (*segmentFile, error) {
	var prev, next *segmentFile
	wanted, last := false, true
	for _, s := range r.found {
		wanted = wanted || s.header.previousID == b.id
		if s.header.base.offset < b.base || s.header.base.offset == b.base && s.header.previousID != b.id {
			prev = s
		} else if next == nil {
			next, last = s, false
		}
	}
	wanted = wanted || next != nil && next.noHeader // whoever comes before that
	if !wanted && !last {
		return nil, nil
	}
	f, err := r.log.store.fs.Open(b.path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size > maxSegmentFile {
		return nil, err
	}
	r.buf.reset(f, size&^7)
	begin := logState{offset: b.base, index: 1}
	pos, h, err := r.buf.nextFrame(headerSize, core.HeaderSeed(b.id), &begin, 1<<62)
	if h == nil || err != nil {
		return nil, err
	}
	made := &segmentFile{path: b.path, noHeader: true}
	if e, ok := r.find.live[b.id]; ok && e.header.base.offset == b.base {
		made.header = e.header
	} else {
		made.header = r.headerBetween(b, prev, next, h, pos, size)
	}
	made.end = made.header.dataEnd
	if made.header.check() != nil || prev != nil && made.header.ordinal <= prev.header.ordinal ||
		next != nil && made.header.ordinal >= next.header.ordinal {
		return nil, nil
	}
	if next != nil && next.noHeader {
		next.header.previousID = made.header.id
	}
	return made, nil
}

// headerBetween is the header of a file between two segments whose first good frame is h.
func (r *recovery) headerBetween(b *brokenFile, prev, next *segmentFile, h *core.FrameHeader, pos,
	size int64) segmentHeader {
	made := segmentHeader{topic: r.log.topic, partition: r.log.partition, id: b.id,
		base:    segmentBase{offset: b.base, index: h.Index, term: h.Term, prevCRC: h.PrevCRC},
		created: h.Time, size: core.MinSegmentBytes, produced: true, recycled: true}
	if pos > headerSize { // of a later one
		made.base.prevCRC = 0
	}
	for made.size < size {
		made.size *= 2
	}
	made.dataEnd = classDataEnd(made.size)
	made.ordinal = 1 + uint64(len(r.broken)) // others may lie between
	if prev != nil {
		made.previousID = prev.header.id
		made.ordinal += prev.header.ordinal
	}
	if next != nil && next.header.ordinal > 0 {
		made.ordinal = next.header.ordinal - 1
	}
	return made
}

// adopted is the segment behind s whose header was made up, if it begins where s ends. Now it is known which
// frame that is.
func (r *recovery) adopted(s *segmentFile) *segmentFile {
	for _, f := range r.found {
		base := &f.header.base
		if f.noHeader && f.header.previousID == s.header.id && base.offset == r.state.offset &&
			base.index >= r.state.index {
			base.index, base.prevCRC = r.state.index, r.state.prevCRC
			return f
		}
	}
	return nil
}
