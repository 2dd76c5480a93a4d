package mmaplog

import (
	"errors"
	"fmt"

	"github.com/leatbus/leat/core"
)

// Damaged says which durable records cannot be read. It is the cause of the CodeCorrupt that opening or
// reading a log answers, for errors.As. Nothing of it was cut.
type Damaged struct {
	From, To int64  // offsets; To is the first one behind that may be whole. Equal: no record is lost
	Segment  string // path of the file
	Position int64  // in it, where the damage begins
	Reason   string
}

// Error tells where the damage is.
func (d *Damaged) Error() string {
	return fmt.Sprintf("segment %s, position %d: %s; offsets [%d, %d) were durable and cannot be read",
		d.Segment, d.Position, d.Reason, d.From, d.To)
}

// OnDamage says what opening a log does that has lost durable records.
type OnDamage uint8

const (
	// Fail, the default, refuses to open the log. Nothing is changed on the disk.
	Fail OnDamage = iota
	// SkipWithGap opens it. All that is good is served, Recovery.Damaged lists what is not, and a reader
	// that comes there gets CodeCorrupt with the range, until somebody seeks behind it. Nothing of the
	// damaged files is changed or deleted; where the last segment is one, the log goes on in a new one.
	SkipWithGap
)

// damageMax bounds how many places of a log may be damaged: more were not damaged by chance.
const damageMax = 10_000

// hole is a part of a segment that cannot be read.
type hole struct {
	pos    int64    // behind the last good frame
	resume int64    // where good frames go on; the segment's end if none do
	to     logState // what the frame there continues, or the next segment
	Damaged
}

// holeIn finds the hole that position at is in, or that records before it which nobody can read are in.
func holeIn(holes []hole, at int64) *hole {
	for i := range holes {
		if h := &holes[i]; h.pos <= at && at <= h.resume {
			return h
		}
	}
	return nil
}

// holeScan reads all of a segment, up to where the next one begins.
type holeScan struct {
	buf   *scanBuf // bound to the file
	seed  uint32
	path  string
	until logState // what the next segment continues, or the end of the log
	state logState // behind the last good frame
	holes []hole
	frame func(*core.FrameHeader) // of each good frame; may be nil
}

// run reads frames from pos on. It ends at the place that until tells of, in one way or another. Errors are
// those of reading, and CodeVersionTooNew.
func (s *holeScan) run(pos int64) error {
	for {
		stop, cause, err := s.good(pos)
		if err != nil || s.state.offset >= s.until.offset {
			return err
		}
		if len(s.holes) == damageMax {
			return core.Errorf(core.CodeCorrupt, "read segment", "%s is damaged in more than %d places", s.path,
				damageMax)
		}
		resume, h, err := s.buf.nextFrame(stop, s.seed, &s.state, s.until.offset)
		if err != nil {
			return err
		}
		found := hole{pos: stop, resume: resume, to: s.until, Damaged: Damaged{From: s.state.offset,
			To: s.until.offset, Segment: s.path, Position: stop, Reason: reasonOf(cause)}}
		if h != nil {
			found.to, found.To = before(h), h.BaseOffset
		}
		s.holes = append(s.holes, found)
		s.state, pos = found.to, resume
		if h == nil {
			return nil
		}
	}
}

// good reads frames that continue each other and gives where that ends, and why.
func (s *holeScan) good(pos int64) (stop int64, cause, err error) {
	for s.state.offset < s.until.offset {
		h, err := s.buf.frameAt(pos, s.seed)
		if unreadable(err) || errors.Is(err, core.ErrVersionTooNew) {
			return pos, nil, err
		}
		if err == nil {
			err = s.state.accept(&h)
		}
		if err != nil {
			return pos, err, nil
		}
		if s.frame != nil && h.Type() != core.FrameFiller {
			s.frame(&h)
		}
		pos += h.Size()
	}
	return pos, nil, nil
}

// before is the state of the log in front of a frame.
func before(h *core.FrameHeader) logState {
	return logState{offset: h.BaseOffset, index: h.Index, prevCRC: h.PrevCRC, term: h.Term, time: h.Time}
}

// reasonOf is what a finding says of an error that ended reading.
func reasonOf(err error) string {
	if errors.Is(err, errNoFrame) {
		return "nothing there"
	}
	return cause(err)
}

// skips reports whether the log is served in spite of damage.
func (l *Log) skips() bool { return l.opts.OnDamage == SkipWithGap }

// holesOf gives the places of a segment that cannot be read, found when somebody met one of them. again is to
// look once more: they may have become more.
func (l *Log) holesOf(s *segment, again bool) ([]hole, error) {
	if known := s.holes.Load(); known != nil && !again {
		return *known, nil
	}
	f, err := l.store.fs.Open(s.path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	scan := holeScan{buf: &scanBuf{}, seed: s.seed, path: s.path, state: s.start(), until: l.placeBehind(s)}
	scan.buf.reset(f, s.published.Load())
	if err := scan.run(headerSize); err != nil {
		return nil, err
	}
	s.holes.Store(&scan.holes)
	return scan.holes, nil
}

// placeBehind is what the segment after s continues, or the end of what is published.
func (l *Log) placeBehind(s *segment) logState {
	end := logState{index: l.marks.endIndex.Load() + 1}
	end.offset = l.End() // behind index: frames up to it are published, too
	list := l.segs.from(s.header.base.offset)
	if i := findSegment(list, s.header.base.offset); i >= 0 && i+1 < len(list) {
		return list[i+1].header.before()
	}
	return end
}

// before is the state of the log that the segment continues.
func (h *segmentHeader) before() logState {
	return logState{offset: h.from(), index: h.base.index, prevCRC: h.base.prevCRC, term: h.base.term,
		time: h.created}
}

// overHole moves a place at which no frame of the segment follows behind what is damaged there; false if the
// log is not served in spite of damage, or none is known.
func (l *Log) overHole(s *segment, at *checkpoint) bool {
	if !l.skips() {
		return false
	}
	holes, err := l.holesOf(s, false)
	if h := holeIn(holes, at.pos); err == nil && h != nil && h.leads(at) {
		time := max(at.at.time, h.to.time)
		at.pos, at.at = h.resume, h.to
		at.at.time = time
		return true
	}
	return false
}

// foundDamaged looks what of a segment is damaged and reports whether the log is served without it.
func (l *Log) foundDamaged(s *segment) bool {
	if !l.skips() {
		return false
	}
	holes, err := l.holesOf(s, true)
	return err == nil && len(holes) > 0
}

// leads reports whether going over the hole moves a place, and not back.
func (h *hole) leads(at *checkpoint) bool {
	return h.to.index >= at.at.index && (h.resume > at.pos || h.to.index > at.at.index ||
		h.to.offset > at.at.offset || h.to.prevCRC != at.at.prevCRC)
}

// damaged reports whether something of the segment is known to be damaged. Nothing is written into its file.
func (s *segment) damaged() bool {
	holes := s.holes.Load()
	return s.noHeader || holes != nil && len(*holes) > 0
}
