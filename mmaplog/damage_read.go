package mmaplog

import (
	"errors"

	"github.com/leatbus/leat/core"
)

// meet decides what a reader does that finds no good frame at its cursor, for a reason. Where what is
// damaged lies before the offset it wants, it goes on behind; else it gets the range.
func (r *Reader) meet(cause error) (more bool, err error) {
	for _, again := range []bool{false, true} {
		holes, scanErr := r.log.holesOf(r.seg, again)
		if scanErr != nil {
			break // the first look has more to say
		}
		h := holeIn(holes, r.pos)
		if h == nil {
			continue
		}
		if r.offset < h.To {
			r.letGo()
			found := h.Damaged
			return false, core.NewError(core.CodeCorrupt, "read "+r.log.name(), &found)
		}
		if h.resume > r.pos {
			r.pos = h.resume
			return true, nil
		}
	}
	return false, cause
}

// lost is the error for a segment without a file.
func (r *Reader) lost() error {
	next := r.log.placeBehind(r.seg)
	return core.NewError(core.CodeCorrupt, "read "+r.log.name(), &Damaged{From: r.seg.header.base.offset,
		To: next.offset, Segment: r.seg.path, Reason: "the segment is missing"})
}

// seekBehind moves the cursor behind damage that err tells of; false if it tells of none.
func (r *Reader) seekBehind(err error) bool {
	var d *Damaged
	if !errors.As(err, &d) || d.To <= r.offset {
		return false
	}
	r.Seek(d.To)
	return true
}
