package mmaplog

import "github.com/leatbus/leat/core"

// judge decides whether what was not accepted is a torn tail or damage of durable data, which is
// never cut. Durable is what a header or a younger frame says was durable when it was written.
func (r *recovery) judge() error {
	if r.cutDone() {
		return nil
	}
	if err := r.judgeBroken(); err != nil {
		return err
	}
	if len(r.chain) == 0 {
		if r.durable.end > 0 {
			return core.Errorf(core.CodeCorrupt, "open "+r.log.name(),
				"%s is empty, but offset %d was durable", r.log.dir, r.durable.end-1)
		}
		return nil
	}
	last := r.chain[len(r.chain)-1]
	durable := r.durable.index
	if last.zeroTo > last.end {
		known, err := r.evidence(last.path, last.header.id, last.end, last.header.dataEnd)
		if err != nil {
			return err
		}
		durable = max(durable, known)
	}
	for _, s := range r.rejected() {
		known, err := r.evidence(s.path, s.header.id, headerSize, s.header.dataEnd)
		if err != nil {
			return err
		}
		durable = max(durable, known)
	}
	if r.durable.end <= r.state.offset && durable < r.state.index {
		return nil
	}
	found := r.stop.text
	if found == "" {
		found = "nothing there"
	}
	return core.NewError(core.CodeCorrupt, "open "+r.log.name(), &Damaged{
		From: r.state.offset, To: max(r.durable.end, r.state.offset+1), Segment: last.path, Position: r.stop.at,
		Reason: found,
	})
}

// rejected lists the segments with valid headers that do not continue the chain.
func (r *recovery) rejected() []*segmentFile {
	var rest []*segmentFile
	accepted := r.chain // in the order in which they are in found
	for _, s := range r.found {
		if len(accepted) > 0 && s == accepted[0] {
			accepted = accepted[1:]
		} else {
			rest = append(rest, s)
		}
	}
	return rest
}

// evidence searches part of a segment for younger frames that tell what was durable.
func (r *recovery) evidence(path string, id uint64, from, to int64) (uint64, error) {
	f, err := r.log.store.fs.Open(path, ReadOnly)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r.buf.reset(f, to)
	return r.buf.durableAfter(from, core.HeaderSeed(id), &r.state)
}

// judgeBroken looks at files whose header is damaged or was never written. A power cut leaves a blank
// header, or one without frames; they are ignored where the rest of the log continues without them.
// Frames under a header that was written and is damaged now may have been durable.
func (r *recovery) judgeBroken() error {
	for _, b := range r.broken {
		if !b.blank && len(r.chain) > 0 && r.chain[0].header.previousID == b.id {
			return r.headerLost(&b)
		}
		if b.base < r.state.offset {
			continue // replaced long ago
		}
		frames, durable, err := r.framesIn(&b)
		if err != nil {
			return err
		}
		missing := !b.blank && b.base > r.state.offset && len(r.found) == 0
		if missing || frames && (!b.blank || durable >= r.state.index) {
			return r.headerLost(&b)
		}
	}
	return nil
}

func (r *recovery) headerLost(b *brokenFile) error {
	return core.Errorf(core.CodeCorrupt, "open "+r.log.name(),
		"segment %s, position 0: the header is damaged and offset %d may have been durable", b.path, b.base)
}

// framesIn tells whether a file without a header holds frames that continue the log.
func (r *recovery) framesIn(b *brokenFile) (found bool, durable uint64, err error) {
	f, err := r.log.store.fs.Open(b.path, ReadOnly)
	if err != nil {
		return false, 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, 0, err
	}
	seed := core.HeaderSeed(b.id)
	r.buf.reset(f, min(size, maxSegmentFile)&^7)
	if size > headerSize {
		_, err = r.buf.frameAt(headerSize, seed)
		found = err == nil
		if unreadable(err) {
			return false, 0, err
		}
	}
	durable, err = r.buf.durableAfter(headerSize, seed, &r.state)
	return found || durable > 0, durable, err
}
