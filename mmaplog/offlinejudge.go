package mmaplog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/leatbus/leat/core"
)

// What a person can do about a finding.
const (
	adviceDamaged = "restore the file from a copy; " +
		"without one, leat log repair --skip-damage gives the records up"
	adviceMissing = "put the file back; without it, leat log repair --skip-damage gives its records up"
	adviceOpenEnd = "nothing: a node that opens the log cuts it, and one that has it open may be writing there"
)

// headers looks at the files whose header is damaged or was never written.
func (s *offlineScan) headers() error {
	for i := range s.rec.broken {
		b := &s.rec.broken[i]
		frames, durable, err := s.rec.framesIn(b)
		if err != nil {
			return err
		}
		next := s.behind(b)
		finding := OfflineFinding{Path: b.path, Reason: "the header page is damaged", From: b.base, To: -1}
		if b.blank {
			finding.Reason = "the header page is empty"
		}
		switch {
		case next != nil || frames && b.base >= s.report.End && (!b.blank || durable >= s.rec.state.index):
			finding.Class, finding.Advice = OfflineDamaged, adviceHeader
			if next != nil {
				finding.To = next.header.from()
			}
		case frames:
			finding.From, finding.To = 0, 0
			finding.Reason += ", and the log goes on without it"
			finding.Advice = "nothing: opening ignores the file"
		default:
			finding.From, finding.To = 0, 0
			finding.Reason += ", and there are no frames: a crash left the file"
			finding.Advice = "nothing: opening ignores the file"
		}
		if finding.Class == OfflineDamaged {
			s.damaged(finding, offlineDamage{broken: b, next: next})
		} else {
			s.report.find(finding)
		}
	}
	return nil
}

// offlineDamage is what repairing a finding of damage needs to know.
type offlineDamage struct {
	finding OfflineFinding
	// The segment that frames stop in, at pos in state, and the one behind it; both may be absent.
	seg, next *segmentFile
	pos       int64
	state     logState
	resume    *core.FrameHeader // where frames go on in the same segment, or nil
	resumeAt  int64
	until     mark        // without resume and next: what was durable
	missing   bool        // the segment between seg and next is missing
	forget    bool        // the oldest one is
	broken    *brokenFile // or has no header
}

func (s *offlineScan) damaged(f OfflineFinding, d offlineDamage) {
	s.report.find(f)
	d.finding = f
	s.damages = append(s.damages, d)
}

const adviceHeader = "leat log repair writes a header from the file's frames"

const adviceTail = "nothing: readers do without"

// checkTail compares index and footer of a segment, the frames of which were just read, with them. They are
// a cache, so damage of them is only worth knowing; but a whole footer that tells of frames that are not
// there is proof that they were.
func (s *offlineScan) checkTail(f File, seg *segmentFile) error {
	block, footer, err := readTail(f, &seg.header)
	if errors.Is(err, errNoFooter) {
		return nil
	}
	note := OfflineFinding{Path: seg.path, Position: seg.header.dataEnd, Advice: adviceTail}
	if err != nil {
		var disk *fs.PathError
		if errors.As(err, &disk) {
			return err
		}
		note.Reason = "index or footer are damaged: " + err.Error()
		s.report.find(note)
		return nil
	}
	last := footer.last
	last.term = s.state.term // a footer does not tell
	switch {
	case last.offset > s.state.offset || last.index > s.state.index:
		damage := offlineDamage{seg: seg, pos: s.stopAt, state: s.state, until: mark{last.offset, last.index - 1}}
		s.damaged(OfflineFinding{Class: OfflineDamaged, Path: seg.path, Position: footer.end,
			From: s.state.offset, To: last.offset, Advice: adviceDamaged,
			Reason: fmt.Sprintf("the footer tells of frames up to offset %d, the last one found ends at %d",
				last.offset, s.state.offset)}, damage)
	case last != s.state || !s.rightIndex(block, seg):
		note.Reason = fmt.Sprintf("index or footer do not belong to the frames: %+v, found %+v", last, s.state)
		s.report.find(note)
	}
	return nil
}

// rightIndex reports whether the entries of an index lie where frames begin.
func (s *offlineScan) rightIndex(block *indexBlock, seg *segmentFile) bool {
	seed := core.HeaderSeed(seg.header.id)
	for _, e := range block.list() {
		h, err := s.buf.frameAt(int64(e.position), seed)
		if errors.Is(err, errNoFrame) {
			continue // behind the last frame
		}
		if err != nil || h.BaseOffset != seg.header.base.offset+int64(e.offset) ||
			h.Index != seg.header.base.index+uint64(e.index) || h.Time < e.time-1<<maxTimeShift {
			return false
		}
	}
	return true
}

// behind gives the segment that comes after a file without a header.
func (s *offlineScan) behind(b *brokenFile) *segmentFile {
	i := slices.IndexFunc(s.rec.found, func(f *segmentFile) bool { return f.header.previousID == b.id })
	if i < 0 {
		return nil
	}
	return s.rec.found[i]
}

// judge adds what opening would say and reading has not found.
func (s *offlineScan) judge() {
	if s.opening == nil {
		for _, seg := range s.rec.rejected() {
			s.report.find(OfflineFinding{Class: OfflineOpenEnd, Path: seg.path, From: seg.header.base.offset, To: -1,
				Reason: fmt.Sprintf("the segment does not continue the log, which ends at offset %d", s.report.End),
				Advice: adviceOpenEnd})
		}
		return
	}
	if s.report.Class == OfflineDamaged {
		return
	}
	finding := OfflineFinding{Class: OfflineDamaged, Path: s.report.Log.Dir, From: s.report.End, To: -1,
		Reason: cause(s.opening), Advice: adviceDamaged}
	if n := len(s.rec.chain); n > 0 {
		last := s.rec.chain[n-1]
		finding.Path, finding.Position = last.path, s.rec.stop.at
	}
	s.damaged(finding, offlineDamage{})
}

// cause is the text of an error without what is said around it.
func cause(err error) string {
	var ours *core.Error
	if errors.As(err, &ours) && ours.Err != nil {
		return ours.Err.Error()
	}
	return fmt.Sprint(err)
}
