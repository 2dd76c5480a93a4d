package mmaplog

import (
	"errors"
	"fmt"

	"github.com/leatbus/leat/core"
)

// cut removes what was not accepted, so that it never comes back: bytes are zeroed, segments set
// aside.
func (r *recovery) cut() error {
	s := r.log.store
	for _, path := range r.spares {
		s.removeFile(path)
	}
	if len(r.chain) == 0 {
		return r.cutAll()
	}
	if err := r.setBrokenAside(); err != nil {
		return err
	}
	last := r.chain[len(r.chain)-1]
	if err := r.markEnd(last); err != nil {
		return err
	}
	if n := last.zeroTo - last.end; n > 0 {
		if err := r.zero(last); err != nil {
			return err
		}
		if r.cutDone() {
			return nil // it went before
		}
		r.log.recovery.CutBytes += n
		r.log.recovery.CutReason = fmt.Sprintf("segment %s, position %d: %s", last.path, last.end, r.stop.text)
	}
	for _, seg := range r.rejected() {
		if seg.noHeader {
			continue
		}
		if err := r.setAside(seg); err != nil {
			return err
		}
		r.log.recovery.CutBytes += seg.header.size
		if r.log.recovery.CutReason == "" {
			r.log.recovery.CutReason = fmt.Sprintf("segment %s does not continue the log at offset %d",
				seg.path, r.state.offset)
		}
	}
	return nil
}

// setAside takes a segment that does not continue the log out of it. Its frames were never synced as
// far as the disk tells, but somebody may have deleted a file before it: they are kept under another
// name. A segment without frames is deleted.
func (r *recovery) setAside(seg *segmentFile) error {
	s := r.log.store
	f, err := s.fs.Open(seg.path, ReadOnly)
	if err != nil {
		return err
	}
	r.buf.reset(f, seg.header.dataEnd)
	_, frameErr := r.buf.frameAt(headerSize, core.HeaderSeed(seg.header.id))
	if err := f.Close(); err != nil {
		return err
	}
	if frameErr != nil {
		return s.fs.Remove(seg.path)
	}
	return s.fs.Rename(seg.path, seg.path+".cut")
}

// setBrokenAside does so with files without a header that are of no use: behind a truncation, or never synced
// and left out of a log that is sound without them. Where the log ends before one of them again, after a
// truncation, its frames would be evidence of records that are gone.
func (r *recovery) setBrokenAside() error {
	s := r.log.store
	for _, b := range r.broken {
		if b.blank && len(r.find.damage) == 0 {
			r.useless = append(r.useless, b)
		}
	}
	for i := range r.useless {
		b := &r.useless[i]
		frames, _, err := r.framesIn(b)
		if err != nil {
			return err
		}
		if frames {
			err = s.fs.Rename(b.path, b.path+".cut")
		} else {
			err = s.fs.Remove(b.path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) zero(s *segmentFile) error {
	f, err := r.log.store.fs.Open(s.path, ReadWrite)
	if err != nil {
		return err
	}
	return errors.Join(writeZeros(f, s.end, s.zeroTo), f.Close())
}

// sync makes durable what was accepted before anybody may read it: the page cache may hold frames
// the disk does not.
func (r *recovery) sync() error {
	if r.clean {
		return nil
	}
	if len(r.chain) == 0 || r.nothingNew() {
		r.loose = true
		return nil
	}
	for _, s := range r.chain {
		if !s.scanned {
			continue // it is durable as a whole
		}
		f, err := r.log.store.fs.Open(s.path, ReadWrite)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := r.log.store.fs.SyncDir(r.log.dir); err != nil {
		return err
	}
	return r.log.store.syncParentsOnce(r.log.topic)
}

// install hands the accepted segments to the log.
func (r *recovery) install() {
	l := r.log
	list := make([]*segment, 0, len(r.chain))
	for i, f := range r.chain {
		s := newSegment(f.header, f.path)
		s.published.Store(f.end)
		s.synced.Store(f.end)
		s.hotFrom = f.header.size
		s.cum = -f.end
		s.entrySynced.Store(true)
		s.sealed.Store(i+1 < len(r.chain))
		s.adoptIndex(&f.index, l.store)
		s.noHeader = f.noHeader
		if f.damaged() {
			s.holes.Store(&f.holes)
		}
		if i+1 == len(r.chain) {
			s.hotFrom = f.end
		}
		list = append(list, s)
		l.w.ordinal = f.header.ordinal
		if f.header.produced {
			l.setProduced()
		}
	}
	if len(list) > 0 {
		l.marks.start.Store(list[0].header.base.offset)
	}
	l.segs.state.Store(&segmentState{older: r.known.older, list: list})
	if older := r.known.older; older != nil {
		l.marks.start.Store(older.start())
	}
	l.w.next = r.state
	l.w.start = batchStart{known: true, next: r.state}
	l.w.now = r.state.time
	l.marks.end.Store(r.state.offset)
	l.marks.durableEnd.Store(r.state.offset)
	l.marks.endIndex.Store(r.state.index - 1)
	l.marks.durableIndex.Store(r.state.index - 1)
	l.keep.file = r.file
	if saved := r.file.saved; saved != nil {
		l.keep.file.saved = &savedState{at: saved.at}
	}
	l.w.marked = r.file.clean
	if !r.loose { // else the first append reserves anew: the name of the state file may be in memory only
		l.ceiling.Store(r.file.ceiling)
	}
}
