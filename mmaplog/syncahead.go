package mmaplog

const (
	// aheadMin is worth a system call of its own, in bytes.
	aheadMin = 1 << 20
	// aheadSteps bounds how often a round looks for more while it has the disk begin.
	aheadSteps = 8
)

// segmentEnd is how far a round makes a segment durable.
type segmentEnd struct {
	seg    *segment
	to     int64
	sealed bool
}

// planSegments notes the segments the round has to look at. It comes after the ends were read.
func (l *Log) planSegments() {
	p := &l.round.plan
	clear(p.segs)
	p.segs = p.segs[:0]
	for _, s := range l.unfinished() {
		sealed := s.sealed.Load() // before published, which is final then
		p.segs = append(p.segs, segmentEnd{s, s.published.Load(), sealed})
	}
}

// writeAhead has the disk begin to write what is mapped and was published, up to now: more than the round
// is to cover. A log at full speed would else leave the disk idle while a round waits for its last pages and
// for the flush, and then wait for the disk itself. Nothing is promised by this; the round's own sync does
// that, and what lies behind it is for the next one.
func (l *Log) writeAhead() {
	if !l.opts.mapped() {
		return
	}
	for range aheadSteps {
		begun := int64(0)
		for _, s := range l.unfinished() {
			begun += s.writeAhead()
		}
		if begun == 0 {
			return
		}
	}
}

// writeAhead gives the number of bytes the disk began with.
func (s *segment) writeAhead() int64 {
	lo, hi := max(s.begun, s.synced.Load()), s.published.Load()
	lo, hi = lo&^(pageBytes-1), hi&^(pageBytes-1)
	if hi-lo < aheadMin {
		return 0
	}
	res := s.pinned()
	if res == nil {
		return 0
	}
	defer res.unpin()
	if res.region == nil {
		return 0
	}
	s.unmapped.Store(hi)
	if err := res.region.Release(lo, hi); err != nil {
		return 0 // the sync meets it again
	}
	res.file.BeginWriteOut(lo, hi)
	s.begun = hi
	return hi - lo
}
