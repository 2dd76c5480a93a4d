package mmaplog

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/leatbus/leat/core"
)

// openManifest reads the manifest of a data folder, once, and begins to write it. A folder without one, or
// with a damaged one, gets a new one; its logs are then read from their folders.
func openManifest(s *Store) (*manifest, error) {
	m := &manifest{store: s, path: filepath.Join(s.dir, manifestName), slack: compactSlack}
	image, err := readManifest(s.fs, m.path)
	switch {
	case errors.Is(err, core.ErrVersionTooNew):
		return nil, err
	case err == nil:
		m.image, m.known, m.trusted, m.read = image, image.logs, image.closed, true
		m.at, m.edits, m.live = image.end, image.edits, image.live
		m.file, err = s.fs.Open(m.path, ReadWrite)
		if err == nil {
			m.buf = (&manifestEdit{kind: editOpened}).append(nil)
			err = m.sync() // from here on the mark of the last close means nothing
		}
	default:
		if !errors.Is(err, errNotExist) {
			s.opts.Logger.Warn("the manifest is not usable; it is made again", "path", m.path, "err", err)
		}
		err = m.replace((&manifestEdit{kind: editOpened}).append(appendManifestHead(nil)))
	}
	if err != nil {
		err = m.abandon(err)
	}
	if err != nil && m.trusted {
		return nil, err // it would be believed at the next start, whatever changes now
	}
	return m, nil
}

// knownSegments is what the manifest tells the recovery of a log.
type knownSegments struct {
	log     *resolvedLog // nil if it tells nothing
	known   *knownLog    // what that comes from
	trusted bool         // and nothing else has to be looked at
	present map[uint64]bool
	older   *olderSegments     // that nobody needs to read; nil if there are none
	edits   map[uint64]rawEdit // of the other segments that were not dropped
}

// of gives what is known of a log when it is opened: nothing, where there is no manifest. Anyone may call it.
func (m *manifest) of(key logKey) *knownSegments {
	if m == nil {
		return &knownSegments{}
	}
	m.mu.Lock()
	log, image, trusted := m.known[key], m.image, m.trusted
	m.mu.Unlock()
	k := &knownSegments{edits: map[uint64]rawEdit{}}
	if log == nil {
		return k
	}
	k.log, k.known, k.trusted = image.resolve(log), log, trusted
	if k.trusted {
		return k
	}
	k.present = make(map[uint64]bool, len(k.log.live))
	for _, n := range k.log.live {
		k.present[image.edit(n).id()] = false
	}
	return k
}

// covers reports whether the manifest knows the segment of a file in the log's folder, so that its header
// need not be read now. A file whose drop was durable is removed with the spares.
func (r *recovery) covers(id uint64, path string) bool {
	k := r.known
	if _, dropped := k.log.dropped[id]; dropped {
		r.spares = append(r.spares, path)
		return true
	}
	if _, known := k.present[id]; !known {
		return false
	}
	k.present[id] = true
	return true
}

// listKnown decides which segments of the manifest recovery looks at: all but the sealed ones that
// continue each other from the oldest on, without the last of those. It is damage if a sealed one is
// missing, or shorter than it was when its end was durable.
func (r *recovery) listKnown() error {
	k := r.known
	if k.log == nil {
		return nil
	}
	image, there := k.log.image, k.log.live
	last := k.log.edits[len(k.log.edits)-1] // ids depend on what was there before
	r.log.idSeed = mixIDs(r.log.idSeed, image.edit(last).id(), uint64(last))
	if !k.trusted {
		there = make([]int32, 0, len(k.log.live))
		for _, n := range k.log.live {
			switch e := image.edit(n); {
			case k.present[e.id()]:
				there = append(there, n)
			case e.kind() == editSealed:
				return r.missing(e)
			default:
				k.edits[e.id()] = e
			}
		}
	}
	older, bytes := r.continuous(there)
	if older > 0 && !k.trusted {
		for _, n := range there[:older] {
			if err := r.checkSize(image.edit(n)); err != nil {
				return err
			}
		}
	}
	if older > 0 {
		k.older = &olderSegments{dir: r.log.dir, image: image, edits: there[:older:older], bytes: bytes}
	}
	for _, n := range there[older:] {
		k.edits[image.edit(n).id()] = image.edit(n)
		if err := r.inspectKnown(image.edit(n)); err != nil {
			return err
		}
	}
	return nil
}

// continuous is how many segments of list are sealed and continue the one before, but for the last of
// them, and their bytes. It is none if a file nobody knew is older than they are.
func (r *recovery) continuous(list []int32) (n int, bytes int64) {
	if r.file.cut.active {
		return 0, 0 // any of them may be behind the truncation
	}
	image := r.known.log.image
	if log := r.known.known; r.known.trusted && log.plain && log.sealed > 0 {
		n = log.sealed - 1
		return n, log.bytes - image.edit(log.edits[n]).size()
	}
	var before manifestEdit
	for n < len(list) && image.edit(list[n]).kind() == editSealed {
		e, err := image.edit(list[n]).decode()
		if err != nil || n > 0 && !e.header.continues(&before) {
			break
		}
		bytes += e.header.size
		before = e
		n++
	}
	if n == 0 {
		return 0, 0
	}
	for _, f := range r.found {
		if f.header.ordinal < before.header.ordinal {
			return 0, 0
		}
	}
	return n - 1, bytes - before.header.size
}

// continues reports whether a segment follows the one that before tells of.
func (h *segmentHeader) continues(before *manifestEdit) bool {
	return h.previousID == before.header.id && h.ordinal > before.header.ordinal &&
		(before.end == 0 || h.base.index == before.last.index && h.base.prevCRC == before.last.prevCRC &&
			h.from() == before.last.offset)
}

// inspectKnown reads the header of a segment that the manifest tells of, and takes what the manifest says
// of its end for durable.
func (r *recovery) inspectKnown(e rawEdit) error {
	edit, err := e.decode()
	if err != nil {
		return core.NewError(core.CodeCorrupt, "open "+r.log.name(), err)
	}
	found := len(r.found)
	err = r.inspect(r.log.segmentPath(&edit.header), edit.header.base.offset, edit.header.id)
	sealed := edit.kind == editSealed
	switch {
	case errors.Is(err, errNotExist):
		return r.missing(e)
	case err != nil:
		return err
	case len(r.found) == found && sealed:
		return r.damaged(&edit, "has a damaged header")
	case !sealed:
		return nil
	}
	if err := r.checkSize(e); err != nil {
		return err
	}
	r.durable.end = max(r.durable.end, edit.header.base.offset)
	r.durable.index = max(r.durable.index, edit.header.base.index-1)
	if edit.end > 0 {
		r.durable.end = max(r.durable.end, edit.last.offset)
		r.durable.index = max(r.durable.index, edit.last.index-1)
	}
	return nil
}

// checkSize compares the length of a sealed segment that is not going to be read with its end.
func (r *recovery) checkSize(e rawEdit) error {
	edit, err := e.decode()
	if err != nil {
		return err
	}
	size, err := r.log.store.fs.Size(r.log.segmentPath(&edit.header))
	if err != nil {
		return err
	}
	if want := max(edit.end, headerSize); size < want {
		return r.damaged(&edit, fmt.Sprintf("has %d bytes, its frames end at %d", size, want))
	}
	return nil
}

func (r *recovery) missing(e rawEdit) error {
	edit, err := e.decode()
	if err != nil {
		return err
	}
	return r.damaged(&edit, "is missing")
}

// damaged is the error for a segment whose loss the manifest proves.
func (r *recovery) damaged(e *manifestEdit, what string) error {
	return core.Errorf(core.CodeCorrupt, "open "+r.log.name(),
		"segment %s %s; it was durable from offset %d on, and nobody dropped it",
		r.log.segmentPath(&e.header), what, e.header.base.offset)
}

// join checks that what recovery accepted continues what it did not look at.
func (r *recovery) join() error {
	k := r.known
	if k.older == nil {
		return nil
	}
	edit, err := k.older.image.edit(k.older.edits[len(k.older.edits)-1]).decode()
	if err == nil && (len(r.chain) == 0 || !r.chain[0].header.continues(&edit)) {
		err = r.damaged(&edit, "is not continued by the next one")
	}
	return err
}

// recovered tells the manifest what recovery found that it did not know. It does not block.
func (m *manifest) recovered(r *recovery) {
	k := r.known
	for i, f := range r.chain {
		e, known := k.edits[f.header.id]
		if !known {
			m.add(&manifestEdit{kind: editCreated, header: f.header})
		}
		sealed := known && e.kind() == editSealed
		switch left := i+1 < len(r.chain); {
		case left && !sealed:
			m.add(&manifestEdit{kind: editSealed, header: f.header})
		case !left && sealed:
			m.add(&manifestEdit{kind: editTruncated, header: f.header})
		}
		delete(k.edits, f.header.id)
	}
	for _, e := range k.edits {
		if edit, err := e.decode(); err == nil {
			m.add(&manifestEdit{kind: editDropped, header: edit.header})
		}
	}
	m.mu.Lock()
	delete(m.known, logKey{r.log.topic, r.log.partition})
	if len(m.known) == 0 {
		m.image = nil
	}
	m.mu.Unlock()
}

// failed tells the manifest that recovery of a log stopped, and may have changed files.
func (m *manifest) failed() {
	m.mu.Lock()
	m.dirty = true
	m.mu.Unlock()
}
