package mmaplog

import (
	"errors"
	"path/filepath"

	"github.com/leatbus/leat/core"
)

// skip makes a log go on at its ceiling if the machine was started anew since it was written to and it
// was not closed in order: offsets behind the accepted end may have been given to records that are lost.
// The gap is a fact on the disk before anybody hears of it.
func (r *recovery) skip() error {
	l := r.log
	if !l.reserves() || r.clean || r.file.boot.same(l.store.boot) {
		return nil
	}
	ceiling := r.file.ceiling
	if r.unusable {
		ceiling = r.state.offset + l.opts.Reserve // nobody knows any more what was reserved
	}
	if ceiling > r.state.offset {
		gap := Gap{From: r.state.offset, To: ceiling}
		if err := r.beginAt(gap); err != nil {
			return err
		}
		l.recovery.Gap = gap
	}
	return nil
}

// beginAt starts a segment behind a gap, which may be none, durably.
func (r *recovery) beginAt(gap Gap) error {
	l, fs := r.log, r.log.store.fs
	p, err := l.prepareFile(core.MinSegmentBytes, nil)
	if err != nil {
		return err
	}
	h := segmentHeader{
		topic: l.topic, partition: l.partition, id: p.id, ordinal: 1,
		base: segmentBase{offset: gap.To, index: r.state.index, term: r.state.term, prevCRC: r.state.prevCRC},
		gap:  gap.From < gap.To,
		size: p.size, dataEnd: classDataEnd(p.size), created: r.state.time, recycled: p.recycled,
		produced: l.w.produced, durable: mark{end: r.state.offset, index: r.state.index - 1},
	}
	if h.gap {
		h.gapFrom = gap.From
	}
	if n := len(r.chain); n > 0 {
		last := &r.chain[n-1].header
		h.previousID, h.ordinal = last.id, last.ordinal+1
	}
	h.ordinal = max(h.ordinal, r.newestOrdinal()+1)
	var page [headerSize]byte
	h.encode(page[:])
	path := filepath.Join(l.dir, segmentName(gap.To, p.id))
	_, err = p.res.file.WriteAt(page[:], 0)
	if err == nil {
		err = p.res.file.Sync()
	}
	if err == nil {
		err = fs.Rename(p.path, path)
	}
	p.res.unpin()
	if err == nil {
		err = errors.Join(fs.SyncDir(l.dir), l.store.syncParents(l.topic))
	}
	if err != nil {
		return err
	}
	r.chain = append(r.chain, &segmentFile{header: h, path: path, end: headerSize, zeroTo: headerSize})
	r.state.offset = gap.To
	return nil
}

// remember writes the state of a log that reserves offsets, so that it tells of this start of the
// machine: a process that is killed later loses nothing. And that of a log whose truncation is complete
// now.
func (r *recovery) remember() error {
	l := r.log
	reserve := l.reserves() && len(r.chain) > 0 && !r.clean && !r.file.boot.same(l.store.boot)
	if !reserve && !r.file.cut.active {
		return nil
	}
	var at checkpoint
	if n := len(r.chain); n > 0 {
		at = checkpoint{segment: r.chain[n-1].header.id, pos: r.chain[n-1].end, at: r.state}
	}
	if reserve {
		l.keep.file.ceiling = max(l.keep.file.ceiling, r.state.offset)
	}
	err := l.replaceState(func(f *stateFile) { f.check, f.cut = at, suffixCut{} })
	l.ceiling.Store(l.keep.file.ceiling)
	l.w.marked = false
	return err
}
