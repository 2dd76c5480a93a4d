package mmaplog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

const (
	// offlineLooks is how often a log is looked at that changes meanwhile.
	offlineLooks = 6
	// progressBytes is how often Progress is called.
	progressBytes = 16 << 20
)

// Scan reads one log, every frame of it with its checksums, and does not change anything. The log may be in
// use: what it finds damaged it looks at again, and reports only what two looks in a row find. Errors are
// those of reading (CodeIO, CodePermission), CodeVersionTooNew, and that of ctx or of o.Frame; damage is no
// error but in the report.
func Scan(ctx context.Context, fs FS, log OfflineLog, o ScanOptions) (*OfflineReport, error) {
	var before *OfflineReport
	once := o.Frame != nil && o.Again == nil
	for look := 1; ; look++ {
		if look > 1 && o.Again != nil {
			o.Again()
		}
		s := &offlineScan{ctx: ctx, fs: readOnlyFS{fs}, opts: o, once: once, report: &OfflineReport{Log: log}}
		err := s.run()
		switch {
		case s.callbackErr != nil:
			return nil, s.callbackErr
		case errors.Is(err, errNotExist) && look < offlineLooks && !once:
			before = nil // a segment went between listing and reading
			continue
		case err != nil:
			return nil, ioErrorUnlessAbsent("read log "+log.Name(), err)
		case s.report.Class < OfflineDamaged || once || look == offlineLooks,
			before != nil && slices.EqualFunc(before.Damaged(), s.report.Damaged(), sameFinding):
			return s.report, nil
		}
		before = s.report
	}
}

func sameFinding(a, b OfflineFinding) bool { return a.Path == b.Path && a.Position == b.Position }

// offlineScan is one look at one log.
type offlineScan struct {
	ctx         context.Context
	fs          FS
	opts        ScanOptions
	report      *OfflineReport
	buf         scanBuf
	seen        int64 // bytes since the last Progress
	once        bool  // segments that go are left out
	callbackErr error
	damages     []offlineDamage
	sealed      []manifestEdit // of segments that the manifest says were durable as a whole

	rec     *recovery
	listed  bool     // rec knows all segments
	opening error    // what opening would answer
	state   logState // what the next frame continues
	stopAt  int64    // behind the last frame of the segment
	limit   int64    // frames of the segment have lower offsets, because the next one starts there
}

func (s *offlineScan) run() error {
	if err := s.list(); err != nil {
		return err
	}
	s.opening = s.tryOpening()
	if core.CodeOf(s.opening) == core.CodeVersionTooNew || unreadable(s.opening) {
		return s.opening
	}
	if s.listed {
		if err := errors.Join(s.walk(), s.headers()); err != nil {
			return err
		}
		s.checkSealed()
	}
	s.judge()
	s.progress(0)
	return s.ctx.Err()
}

// list sorts the names of the folder into what Leat knows and what it does not.
func (s *offlineScan) list() error {
	names, err := s.fs.ReadDir(s.report.Log.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(s.report.Log.Dir, name)
		switch base, ok := strings.CutSuffix(name, ".cut"); {
		case s.report.Log.Segment != "":
		case ok && isLogFile(base):
			s.report.find(OfflineFinding{Path: path, Reason: "opening set it aside: it did not continue the log",
				Advice: "look at it with leat log dump; delete it when nobody misses its records"})
		case strings.HasSuffix(name, damagedSuffix): // a repair kept it
		case !isLogFile(name):
			s.report.Unknown = append(s.report.Unknown, path)
		}
	}
	return nil
}

// tryOpening runs the part of recovery that only reads, to hear what opening the log would say.
func (s *offlineScan) tryOpening() error {
	o, err := Options{Clock: clock.System}.withDefaults()
	if err != nil {
		return err
	}
	log := s.report.Log
	store := &Store{fs: s.fs, opts: o}
	l := &Log{store: store, topic: log.Topic, partition: log.Partition, dir: log.Dir}
	s.rec = &recovery{log: l, buf: &scanBuf{}}
	if log.Segment != "" {
		store.fs = oneSegment{s.fs, log.Segment}
	}
	if err := s.rec.list(); err != nil {
		return err
	}
	s.listed = true
	if err := s.useManifest(); err != nil {
		return err
	}
	if log.Segment == "" {
		if err := s.rec.load(); err != nil {
			return err
		}
	}
	if err := s.rec.scan(); err != nil {
		return err
	}
	return s.rec.judge()
}

// oneSegment shows only one file of a folder.
type oneSegment struct {
	FS
	name string
}

// ReadDir lists the one file.
func (o oneSegment) ReadDir(string) ([]string, error) { return []string{o.name}, nil }

// walk reads the frames of all segments, in order.
func (s *offlineScan) walk() error {
	segments := s.rec.chain
	if s.opening != nil {
		segments = slices.DeleteFunc(slices.Clone(s.rec.found), s.replaced)
	}
	for i, seg := range segments {
		h := &seg.header
		s.report.Segments = append(s.report.Segments, OfflineSegment{
			Name: filepath.Base(seg.path), Path: seg.path, ID: h.id, Base: h.base.offset, Size: h.size,
			Room: h.dataEnd - headerSize, Created: h.created,
		})
		s.report.FileBytes += h.size
		var next *segmentFile
		if i+1 < len(segments) {
			next = segments[i+1]
		}
		if next != nil && next.header.base.offset <= s.opts.From && s.opts.From > 0 {
			continue
		}
		if err := s.walkSegment(seg, next, &s.report.Segments[i]); err != nil {
			return err
		}
	}
	if len(segments) > 0 {
		s.report.Start = segments[0].header.base.offset
		s.report.End = max(s.report.Start, s.state.offset)
	}
	return nil
}

// replaced reports whether an accepted segment has the place of seg: it was left by a crash.
func (s *offlineScan) replaced(seg *segmentFile) bool {
	return !slices.Contains(s.rec.chain, seg) && slices.ContainsFunc(s.rec.chain, func(f *segmentFile) bool {
		return f.header.previousID == seg.header.previousID
	})
}

// walkSegment reads the frames of one segment. Where they stop before they reach the next one, or before
// what is known to have been durable, the damage is noted and reading goes on behind it.
func (s *offlineScan) walkSegment(seg, next *segmentFile, out *OfflineSegment) error {
	f, err := s.fs.Open(seg.path, ReadOnly)
	if errors.Is(err, errNotExist) && s.once {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	out.Scanned = true
	if seg.header.gap {
		s.report.find(OfflineFinding{Path: seg.path, From: seg.header.gapFrom, To: seg.header.base.offset,
			Reason: "no record has these offsets: a power cut took records that were not synced"})
	}
	s.state = seg.begin(0).at
	seed := core.HeaderSeed(seg.header.id)
	s.limit = math.MaxInt64
	if next != nil {
		s.limit = next.header.from()
	}
	s.buf.reset(f, seg.header.dataEnd)
	before := s.report.Class
	s.report.Class = OfflineClean
	pos, err := s.frames(out, headerSize, seed)
	for err == nil && pos < seg.header.dataEnd {
		if next != nil && s.reached(&next.header) {
			break // what is behind the last frame has no meaning
		}
		if next != nil && next.header.previousID != seg.header.id && !s.followed(pos, seed) {
			s.missing(seg, next)
			break
		}
		pos, err = s.skip(seg, next, out, pos, seed)
	}
	s.stopAt = pos
	if err == nil && s.report.Class < OfflineDamaged {
		err = s.checkTail(f, seg)
	}
	s.report.Class = max(s.report.Class, before)
	return err
}

func (s *offlineScan) reached(h *segmentHeader) bool {
	return s.state.offset == h.from() && s.state.index == h.base.index
}

// frames reads from pos as long as each frame continues the one before, and gives where that ends.
func (s *offlineScan) frames(out *OfflineSegment, pos int64, seed uint32) (int64, error) {
	for {
		if err := s.ctx.Err(); err != nil {
			return pos, err
		}
		h, err := s.buf.frameAt(pos, seed)
		if unreadable(err) || core.CodeOf(err) == core.CodeVersionTooNew {
			return pos, err
		}
		if err != nil || s.state.accept(&h) != nil {
			return pos, nil
		}
		s.report.count(out, &h)
		s.progress(h.Size())
		if err := s.hand(out, pos, &h); err != nil {
			return pos, err
		}
		pos += h.Size()
	}
}

// hand gives a frame to the caller.
func (s *offlineScan) hand(out *OfflineSegment, pos int64, h *core.FrameHeader) error {
	if s.opts.Frame == nil || h.NextOffset() < s.opts.From {
		return nil
	}
	whole, err := s.buf.view(pos, h.Size())
	if err != nil {
		return err
	}
	s.callbackErr = s.opts.Frame(&OfflineFrame{Segment: out.Path, Position: pos, Header: *h,
		Payload: whole[core.FrameHeaderSize:h.Length]})
	return s.callbackErr
}

// skip notes that frames stop at pos and finds where they go on: it gives where they stop again, or dataEnd
// if there is nothing more.
func (s *offlineScan) skip(seg, next *segmentFile, out *OfflineSegment, pos int64,
	seed uint32) (int64, error) {
	reason, err := s.why(pos, seed)
	if err != nil {
		return pos, err
	}
	damaged := next != nil
	if !damaged {
		if damaged, err = s.wasDurable(pos, seed); err != nil {
			return pos, err
		}
	}
	if !damaged {
		return seg.header.dataEnd, s.openEnd(seg, pos, reason)
	}
	at, h, err := s.buf.nextFrame(pos, seed, &s.state, s.limit)
	if err != nil {
		return pos, err
	}
	finding := OfflineFinding{Class: OfflineDamaged, Path: seg.path, Position: pos, From: s.state.offset, To: -1,
		Reason: reason, Advice: adviceDamaged}
	damage := offlineDamage{seg: seg, next: next, pos: pos, state: s.state, resume: h, resumeAt: at,
		until: s.rec.durable}
	switch {
	case h != nil:
		finding.To = h.BaseOffset
		s.state = logState{offset: h.BaseOffset, index: h.Index, prevCRC: h.PrevCRC, time: h.Time, term: h.Term}
	case next != nil:
		finding.To = next.header.from()
	case s.rec.durable.end > s.state.offset:
		finding.To = s.rec.durable.end
	}
	s.damaged(finding, damage)
	if h == nil {
		return seg.header.dataEnd, nil
	}
	return s.frames(out, at, seed)
}

// wasDurable reports whether a header, or a younger frame of the segment in buf, says that the frame at pos
// was durable.
func (s *offlineScan) wasDurable(pos int64, seed uint32) (bool, error) {
	if s.rec.durable.end > s.state.offset || s.rec.durable.index >= s.state.index {
		return true, nil
	}
	known, err := s.buf.durableAfter(pos, seed, &s.state)
	return known >= s.state.index, err
}

// openEnd notes what is behind the last frame of a log and was never durable.
func (s *offlineScan) openEnd(seg *segmentFile, pos int64, reason string) error {
	last, err := s.buf.lastNonZero(pos)
	if seg.header.recycled && err == nil { // what an earlier segment left says nothing
		last, err = s.buf.headersEnd(pos, core.HeaderSeed(seg.header.id), &s.state)
	}
	if err != nil || last == pos {
		return err
	}
	s.report.find(OfflineFinding{Class: OfflineOpenEnd, Path: seg.path, Position: pos,
		From: s.state.offset, To: -1,
		Reason: fmt.Sprintf("%d bytes that are no frame of the log: %s", last-pos, reason), Advice: adviceOpenEnd})
	return nil
}

// followed reports whether a younger frame of the segment in buf is behind pos.
func (s *offlineScan) followed(pos int64, seed uint32) bool {
	_, h, err := s.buf.nextFrame(pos, seed, &s.state, s.limit)
	return err == nil && h != nil
}

// missing notes that the segments between two are gone.
func (s *offlineScan) missing(seg, next *segmentFile) {
	broken := func(b brokenFile) bool { return b.id == next.header.previousID }
	if slices.ContainsFunc(s.rec.broken, broken) {
		return // headers tells of it
	}
	damage := offlineDamage{seg: seg, next: next, missing: true, state: s.state}
	s.damaged(OfflineFinding{Class: OfflineDamaged, Path: filepath.Dir(next.path), From: s.state.offset,
		To: next.header.from(), Advice: adviceMissing,
		Reason: fmt.Sprintf("the segment %016x, which comes before %s, is missing, while the older %s is there",
			next.header.previousID, filepath.Base(next.path), filepath.Base(seg.path))}, damage)
}

// why tells what is wrong at pos.
func (s *offlineScan) why(pos int64, seed uint32) (string, error) {
	h, err := s.buf.frameAt(pos, seed)
	if unreadable(err) {
		return "", err
	}
	if err == nil {
		state := s.state
		err = state.accept(&h)
	}
	if errors.Is(err, errNoFrame) {
		return "nothing there", nil
	}
	return cause(err), nil
}

func (s *offlineScan) progress(n int64) {
	s.seen += n
	if s.opts.Progress != nil && (s.seen >= progressBytes || n == 0) {
		s.opts.Progress(s.seen)
		s.seen = 0
	}
}
