package mmaplog

import (
	"errors"
	"slices"

	"github.com/leatbus/leat/core"
)

// Opening a log that has lost durable records takes another way than opening a sound one, which gives up at
// the first sign of damage. It believes no manifest, looks at every file, and reads on behind the damage:
//
//	sound way ──CodeCorrupt, or a file that notes damage──▶ find ──▶ nothing: the sound way after all
//	                                                          ├──▶ Fail: the first damage is the error
//	                                                          └──▶ SkipWithGap: cut what was never durable of
//	                                                               sound files, go on behind the damage
//
// Whole segments are read again only where damage is known or a link is broken, and from the last durable
// place on, as always. Damage elsewhere is met by readers.

// finding is what the recovery of a damaged log knows beside.
type finding struct {
	noted   []noted
	all     bool                    // what was noted is not readable: every segment is read
	live    map[uint64]manifestEdit // segments that the manifest tells of, by id
	absent  []manifestEdit          // those of them that were durable and are not there
	suspect map[uint64]bool         // ids of segments to read
	damage  []Damaged
	notes   []noted // of damage
	behind  bool    // the log has to go on in a new segment
}

func (r *recovery) report(id uint64, d Damaged) {
	r.find.damage = append(r.find.damage, d)
	r.find.notes = append(r.find.notes, noted{segment: id, position: d.Position, from: d.From, to: d.To})
}

// listAll is list for a log that is damaged.
func (r *recovery) listAll() error {
	k := r.log.store.manifest.of(logKey{r.log.topic, r.log.partition})
	k.trusted, r.known = false, k
	r.find.live, r.find.suspect = map[uint64]manifestEdit{}, map[uint64]bool{}
	for _, n := range r.find.noted {
		r.find.suspect[n.segment] = true
	}
	if k.log != nil {
		for _, n := range k.log.live {
			e, err := k.log.image.edit(n).decode()
			if err != nil {
				return core.NewError(core.CodeCorrupt, "open "+r.log.name(), err)
			}
			r.find.live[e.header.id] = e
		}
	}
	if err := r.eachFile(r.inspectAny); err != nil {
		return err
	}
	r.sortFound()
	return r.useLive()
}

// inspectAny is inspect for a file whose header may belong to another log.
func (r *recovery) inspectAny(path string, base int64, id uint64) error {
	if k := r.known.log; k != nil {
		if _, dropped := k.dropped[id]; dropped {
			r.spares = append(r.spares, path)
			return nil
		}
	}
	err := r.inspect(path, base, id)
	if core.CodeOf(err) == core.CodeCorrupt { // it was moved or renamed
		r.broken = append(r.broken, brokenFile{base: base, id: id, path: path})
		err = nil
	}
	return err
}

// useLive compares the files with what the manifest tells.
func (r *recovery) useLive() error {
	for id, e := range r.find.live {
		there := slices.ContainsFunc(r.found, func(s *segmentFile) bool { return s.header.id == id })
		lost := !there && e.kind == editSealed
		broken := slices.ContainsFunc(r.broken, func(b brokenFile) bool { return b.id == id })
		if !lost {
			r.known.edits[id] = rawEdit(e.append(nil))
		}
		if lost && !broken {
			r.find.absent = append(r.find.absent, e)
		}
		if e.kind != editSealed {
			continue
		}
		if there {
			if short, err := r.short(&e); short || err != nil {
				r.find.suspect[id] = true
			}
		}
		r.durable.end = max(r.durable.end, e.header.base.offset)
		r.durable.index = max(r.durable.index, e.header.base.index-1)
		if e.end > 0 {
			r.durable.end = max(r.durable.end, e.last.offset)
			r.durable.index = max(r.durable.index, e.last.index-1)
		}
	}
	return nil
}

// short reports whether a file ends before its frames do.
func (r *recovery) short(e *manifestEdit) (bool, error) {
	f, err := r.log.store.fs.Open(r.log.segmentPath(&e.header), ReadOnly)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	return size < max(e.end, headerSize), err
}

// damaged reports whether something of the file is: nothing is written into it.
func (s *segmentFile) damaged() bool { return s.noHeader || len(s.holes) > 0 }

// newestOrdinal is the highest ordinal that any segment of the log has or had, as far as is known.
func (r *recovery) newestOrdinal() uint64 {
	newest := uint64(0)
	for _, s := range r.found {
		newest = max(newest, s.header.ordinal)
	}
	for _, e := range r.find.live {
		newest = max(newest, e.header.ordinal)
	}
	if r.known.log != nil {
		newest = max(newest, r.known.log.trimmed)
	}
	return newest
}

// findDamage decides what the log consists of, and what is missing in it.
func (r *recovery) findDamage() error {
	if err := r.adopt(); err != nil {
		return err
	}
	_, first, err := r.begin()
	if err != nil {
		return err
	}
	if first == nil {
		r.state.index = 1
		r.loseAll()
		return nil
	}
	r.linkBack(first)
	if err := r.readSuspects(); err != nil {
		return err
	}
	r.chain = r.chain[:len(r.chain)-1] // first, which is read now
	for s := first; s != nil; {
		r.chain = append(r.chain, s)
		if s, err = r.readOn(s); err != nil {
			return err
		}
	}
	r.loseOldest()
	slices.SortStableFunc(r.find.damage, func(a, b Damaged) int {
		return compareOffsets(a.From, b.From)
	})
	return nil
}

func compareOffsets(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// linkBack accepts first and the segments before it. Where a link is broken the next older segment is read,
// to see where it ends.
func (r *recovery) linkBack(first *segmentFile) {
	r.chain = []*segmentFile{first}
	for at := first; at.header.previousID != 0; {
		i := slices.IndexFunc(r.found, func(f *segmentFile) bool {
			return f.header.id == at.header.previousID && f.header.ordinal < at.header.ordinal
		})
		for j := len(r.found) - 1; i < 0 && j >= 0; j-- {
			if h := &r.found[j].header; h.ordinal < at.header.ordinal && h.base.offset <= at.header.from() &&
				h.base.index <= at.header.base.index {
				i = j
				r.find.suspect[h.id] = true
			}
		}
		if i < 0 {
			break
		}
		at = r.found[i]
		r.chain = append(r.chain, at)
	}
	slices.Reverse(r.chain)
}

// readSuspects reads those segments before the last accepted one in which something may be damaged.
func (r *recovery) readSuspects() error {
	for i, s := range r.chain[:len(r.chain)-1] {
		if !r.find.all && !s.noHeader && !r.find.suspect[s.header.id] {
			continue
		}
		next := r.chain[i+1]
		f, err := r.log.store.fs.Open(s.path, ReadOnly)
		if err != nil {
			return err
		}
		r.buf.reset(f, s.header.dataEnd)
		scan := holeScan{buf: r.buf, seed: core.HeaderSeed(s.header.id), path: s.path, state: s.begin(0).at,
			until: next.header.before(), frame: r.counted}
		if err := errors.Join(scan.run(headerSize), f.Close()); err != nil {
			return err
		}
		s.holes = scan.holes
		for j := range s.holes {
			r.nameMissing(&s.holes[j], s, next)
			r.report(s.header.id, s.holes[j].Damaged)
		}
	}
	return nil
}

// counted counts a frame that was read.
func (r *recovery) counted(h *core.FrameHeader) {
	r.log.recovery.Frames++
	r.log.recovery.Bytes += h.Size()
}

// nameMissing names the file that is missing, or has nothing to read, behind s where it is known.
func (r *recovery) nameMissing(h *hole, s, next *segmentFile) {
	id, base := uint64(0), h.To
	if next != nil && next.header.previousID != s.header.id && h.To == next.header.from() {
		id, base = next.header.previousID, h.From
	}
	for _, e := range r.find.absent {
		if b := e.header.base.offset; b >= h.From && (b < base || b == base && e.header.id == id) {
			id, base = e.header.id, b
		}
	}
	if id == 0 {
		return
	}
	for _, b := range r.broken {
		if b.id == id {
			h.Segment, h.Position, h.Reason = b.path, 0, "the header page is damaged, and there are no frames"
			return
		}
	}
	missing := noted{segment: id, from: base}
	d := missing.describe(r.log.dir)
	h.Segment, h.Position, h.Reason = d.Segment, 0, d.Reason
}

// readOn reads a segment to its end and gives the one that continues the log, if there is one.
func (r *recovery) readOn(s *segmentFile) (*segmentFile, error) {
	s.scanned = true
	f, err := r.log.store.fs.Open(s.path, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	scan := holeScan{buf: r.buf, seed: core.HeaderSeed(s.header.id), path: s.path,
		until: logState{offset: 1<<63 - 1}, frame: r.counted}
	scan.state = s.begin(r.state.time).at
	if cut := &r.file.cut; cut.active {
		scan.until.offset = cut.from
	}
	for pos := int64(headerSize); ; {
		r.buf.reset(f, s.header.dataEnd)
		stop, why, err := scan.good(pos)
		r.state, s.end = scan.state, stop
		if err != nil {
			return nil, err
		}
		if r.cutDone() {
			return nil, r.tornEnd(f, s, errCutHere, nil)
		}
		if next := r.successor(s); next != nil {
			return next, nil
		}
		if next := r.adopted(s); next != nil {
			return next, nil
		}
		if durable, err := r.wasDurable(f, s); !durable || err != nil {
			return nil, r.tornEnd(f, s, why, err)
		}
		next := r.candidate(s)
		limit := scan.until.offset
		if next != nil {
			limit = next.header.from()
		}
		r.buf.reset(f, s.header.dataEnd)
		resume, h, err := r.buf.nextFrame(stop, scan.seed, &scan.state, limit)
		if err != nil {
			return nil, err
		}
		if len(r.find.damage) == damageMax {
			return nil, core.Errorf(core.CodeCorrupt, "open "+r.log.name(),
				"it is damaged in more than %d places", damageMax)
		}
		lost := hole{pos: stop, resume: resume, Damaged: Damaged{From: r.state.offset, Segment: s.path,
			Position: stop, Reason: reasonOf(why)}}
		switch {
		case h != nil:
			lost.to = before(h)
		case next != nil:
			lost.to = next.header.before()
		default:
			lost.to = r.behindDurable()
		}
		lost.To = lost.to.offset
		if h == nil {
			r.nameMissing(&lost, s, next)
		}
		s.holes = append(s.holes, lost)
		r.report(s.header.id, lost.Damaged)
		if h == nil {
			r.state = lost.to
			r.find.behind = next == nil
			return next, nil
		}
		scan.state, pos = lost.to, resume
	}
}

var errCutHere = errors.New("the log was truncated here")

// wasDurable reports whether what is not good behind the state is known to have been durable.
func (r *recovery) wasDurable(f File, s *segmentFile) (bool, error) {
	if r.durable.end > r.state.offset || r.durable.index >= r.state.index {
		return true, nil
	}
	r.buf.reset(f, s.header.dataEnd)
	known, err := r.buf.durableAfter(s.end, core.HeaderSeed(s.header.id), &r.state)
	if err != nil || known >= r.state.index {
		return true, err
	}
	for _, other := range r.rejected() {
		known, err := r.evidence(other.path, other.header.id, headerSize, other.header.dataEnd)
		if err != nil || known >= r.state.index {
			return true, err
		}
	}
	return false, nil
}

// tornEnd notes where the log ends. A damaged segment is left as it is, and the log goes on in another.
func (r *recovery) tornEnd(f File, s *segmentFile, why, err error) error {
	if err != nil {
		return err
	}
	if s.damaged() {
		s.zeroTo, r.find.behind = s.end, true
		return nil
	}
	s.index.beginAt(s.end)
	r.buf.reset(f, s.header.dataEnd)
	return r.explain(s.end, why)
}

// candidate is the segment that comes after a damaged one, if there is one.
func (r *recovery) candidate(s *segmentFile) *segmentFile {
	var next *segmentFile
	for _, f := range r.found {
		h := &f.header
		if h.ordinal <= s.header.ordinal || h.from() < r.state.offset || h.base.index < r.state.index {
			continue
		}
		if h.previousID == s.header.id {
			next = f // the youngest of those
		} else if next == nil {
			next = f
		}
	}
	return next
}

// behindDurable is the place behind all that is known to have been durable.
func (r *recovery) behindDurable() logState {
	to := r.state
	to.offset = max(r.durable.end, to.offset+1)
	frames := (to.offset - r.state.offset + core.MaxBatchRecords - 1) / core.MaxBatchRecords
	to.index = max(r.durable.index+1, to.index+uint64(frames))
	return to
}

// loseAll notes that there is no file where there were durable records.
func (r *recovery) loseAll() {
	if r.durable.end == 0 {
		return
	}
	r.state = r.behindDurable()
	r.find.behind = true
	r.loseOldest()
	if len(r.find.damage) == 0 { // neither the manifest nor what was noted tells which
		all := noted{to: r.durable.end}
		r.report(0, all.describe(r.log.dir))
	}
}

// loseOldest notes what is missing before the first segment.
func (r *recovery) loseOldest() {
	start := r.state.offset
	if len(r.chain) > 0 {
		start = r.chain[0].header.base.offset
	}
	oldest := noted{from: start, to: start}
	for _, e := range r.find.absent {
		if e.header.base.offset < oldest.from {
			oldest.from, oldest.segment = e.header.base.offset, e.header.id
		}
	}
	for _, n := range r.find.noted {
		here := slices.ContainsFunc(r.found, func(s *segmentFile) bool { return s.header.id == n.segment })
		if !here && n.to == start && n.from < oldest.from {
			oldest = n
		}
	}
	if oldest.from < start {
		r.report(oldest.segment, oldest.describe(r.log.dir))
	}
}

// goBehind makes the log go on in a new segment where its last one is damaged, which is noted first.
func (r *recovery) goBehind() error {
	if !slices.Equal(r.find.notes, r.find.noted) || r.find.all {
		if err := r.log.store.fs.MkdirAll(r.log.dir); err != nil {
			return err
		}
		if err := r.log.noteDamage(r.find.notes); err != nil {
			return err
		}
	}
	r.log.recovery.Damaged = r.find.damage
	r.log.setProduced() // nobody knows what was in the frames that are lost
	if !r.find.behind {
		return nil
	}
	return r.beginAt(Gap{From: r.state.offset, To: r.state.offset})
}
