package mmaplog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leatbus/leat/core"
)

// finishCut takes what a truncation that a crash cut short leaves: the segments behind it are not looked
// at.
func (r *recovery) finishCut() error {
	cut := &r.file.cut
	if !cut.active {
		return nil
	}
	kept := r.found[:0]
	for _, s := range r.found {
		if s.header.base.offset <= cut.from {
			kept = append(kept, s)
		} else {
			r.gone = append(r.gone, s)
		}
	}
	r.found = kept
	r.durable = mark{}
	for _, s := range kept {
		r.durable.end = max(r.durable.end, s.header.durable.end)
		r.durable.index = max(r.durable.index, s.header.durable.index)
	}
	r.broken = slices.DeleteFunc(r.broken, func(b brokenFile) bool {
		if b.base > cut.from {
			r.useless = append(r.useless, b)
		}
		return b.base > cut.from
	})
	return nil
}

// cutHere reports whether the frame is behind a truncation that was begun.
func (r *recovery) cutHere(h *core.FrameHeader) error {
	if c := &r.file.cut; c.active && h.Type() != core.FrameFiller && h.BaseOffset >= c.from {
		return fmt.Errorf("the log was truncated at offset %d", c.from)
	}
	return nil
}

// cutDone reports whether all that was to stay was accepted.
func (r *recovery) cutDone() bool { return r.file.cut.active && r.state.offset >= r.file.cut.from }

// removeGone removes the segments behind the truncation, newest first, and index and footer of the one
// that is the last now.
func (r *recovery) removeGone() error {
	if !r.file.cut.active {
		return nil
	}
	r.state.term = max(r.state.term, r.file.cut.term)
	if n := len(r.chain); n > 0 {
		h := &r.chain[n-1].header
		if r.chain[n-1].damaged() {
			return core.Errorf(core.CodeCorrupt, "open "+r.log.name(),
				"a truncation was under way at offset %d in %s, which is damaged", r.file.cut.from, r.chain[n-1].path)
		}
		f, err := r.log.store.fs.Open(r.chain[n-1].path, ReadWrite)
		if err != nil {
			return err
		}
		if err := errors.Join(writeZeros(f, h.dataEnd, h.size), f.Close()); err != nil {
			return err
		}
		if err := r.tellTruncated(h); err != nil {
			return err
		}
	}
	for i := len(r.gone) - 1; i >= 0; i-- {
		if err := r.log.store.fs.Remove(r.gone[i].path); err != nil && !errors.Is(err, errNotExist) {
			return err
		}
	}
	return nil
}

// tellTruncated makes durable in the manifest what goes, before it does.
func (r *recovery) tellTruncated(last *segmentHeader) error {
	m := r.log.store.manifest
	gone := make([]*segment, len(r.gone))
	for i, s := range r.gone {
		gone[i] = &segment{header: s.header}
		delete(r.known.edits, s.header.id)
	}
	return r.log.store.janitor.wait(func() error {
		err := m.truncated(&segment{header: *last}, gone)
		for range gone {
			m.left() // the folder is synced before the log is opened
		}
		return err
	})
}
