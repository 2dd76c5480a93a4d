package mmaplog

import (
	"errors"

	"github.com/leatbus/leat/core"
)

// headerFor makes the header page of a segment whose own is damaged, from its name, its first frame and the
// segments around it; nil if these do not tell enough.
func (s *offlineScan) headerFor(d *offlineDamage) ([]byte, error) {
	f, err := s.fs.Open(d.broken.path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size < headerSize+core.FrameHeaderSize || size > maxSegmentFile {
		return nil, err
	}
	h := segmentHeader{topic: s.report.Log.Topic, partition: s.report.Log.Partition, id: d.broken.id, ordinal: 1,
		size: classFor(core.MinSegmentBytes, 0), produced: true, recycled: true}
	for h.size < size {
		h.size *= 2
	}
	h.dataEnd = classDataEnd(h.size)
	h.base.offset = d.broken.base
	before, state, err := s.beforeGap(d)
	if err != nil {
		return nil, err
	}
	if before != nil {
		h.previousID, h.ordinal, h.created = before.header.id, before.header.ordinal+1, state.time
		h.base.index, h.base.prevCRC, h.base.term = state.index, state.prevCRC, state.term
	} else if d.next != nil {
		h.ordinal = max(d.next.header.ordinal, 1) - 1
	}
	if d.next != nil && h.ordinal >= d.next.header.ordinal || before != nil && state.offset != h.base.offset {
		return nil, nil
	}
	s.buf.reset(f, h.dataEnd)
	first, err := s.buf.frameAt(headerSize, core.HeaderSeed(h.id))
	if unreadable(err) {
		return nil, err
	}
	if err == nil && first.BaseOffset == h.base.offset && (before == nil || first.Index == state.index) {
		h.base.index, h.base.prevCRC, h.base.term = first.Index, first.PrevCRC, first.Term
		if before == nil {
			h.created = first.Time
		}
	} else if before == nil {
		return nil, nil
	}
	if h.check() != nil {
		return nil, nil
	}
	page := make([]byte, headerSize)
	h.encode(page)
	return page, nil
}

// beforeGap gives the segment before a missing or broken one, and the state behind its frames; nil if
// there is none.
func (s *offlineScan) beforeGap(d *offlineDamage) (*segmentFile, logState, error) {
	if d.missing {
		return d.seg, d.state, nil
	}
	var before *segmentFile
	for _, f := range s.rec.found {
		if f.header.base.offset < d.broken.base && !s.replaced(f) {
			before = f
		}
	}
	if before == nil {
		return nil, logState{}, nil
	}
	f, err := s.fs.Open(before.path, ReadOnly)
	if err != nil {
		return nil, logState{}, err
	}
	defer f.Close()
	state := before.begin(0).at
	s.buf.reset(f, before.header.dataEnd)
	seed := core.HeaderSeed(before.header.id)
	for pos := int64(headerSize); ; {
		h, err := s.buf.frameAt(pos, seed)
		if unreadable(err) || errors.Is(err, core.ErrVersionTooNew) {
			return nil, state, err
		}
		if err != nil || state.accept(&h) != nil {
			return before, state, nil
		}
		pos += h.Size()
	}
}

// writeHeader puts a header page in the place of a damaged one, which is kept.
func (r *repairer) writeHeader(s *offlineScan, d *offlineDamage, page []byte) error {
	if page == nil {
		return nil
	}
	kept := r.free(d.broken.path + ".header")
	if !r.step(RepairStep{Log: s.report.Log.Name(), Action: "write header", Path: d.broken.path, Kept: kept,
		From: d.broken.base, To: d.broken.base}) {
		return nil
	}
	if err := r.keep(d.broken.path, 0, headerSize, kept); err != nil {
		return err
	}
	return r.write(d.broken.path, func(f File) error { return writeAll(f, page, 0) })
}
