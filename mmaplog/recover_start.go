package mmaplog

import "fmt"

// Of a new log nothing of which was durable yet a power cut may keep a later segment and lose the first
// one. What is left is the end of a log that never was, as far as anybody was promised: the log is empty. It
// is told from a log whose first segments were trimmed, because before anything is trimmed for the first time
// a checkpoint is durable, and from one that lost its first file otherwise, because something was durable.

// lostStart looks whether the log has no start. Whatever tells of a durable record, or might have done so and
// is not there, makes the log what it seems to be.
func (r *recovery) lostStart() error {
	k := r.known
	if len(r.found) == 0 || r.found[0].header.previousID == 0 || r.durable.end > 0 || r.durable.index > 0 ||
		r.file.check.segment != 0 || r.file.saved != nil || r.unusable || r.file.cut.active ||
		!r.log.store.manifest.usable() || k.trusted || k.older != nil ||
		k.log != nil && (k.log.trimmed > 0 || k.log.anySealed()) {
		return nil
	}
	for _, s := range r.found {
		known, err := r.evidence(s.path, s.header.id, headerSize, s.header.dataEnd)
		if err != nil || known > 0 {
			return err
		}
	}
	r.startless = true
	return nil
}

// usable reports whether there was a manifest when the store was opened.
func (m *manifest) usable() bool { return m != nil && m.read }

// anySealed reports whether a segment of the log was durable as a whole.
func (l *resolvedLog) anySealed() bool {
	for _, n := range l.live {
		if l.image.edit(n).kind() == editSealed {
			return true
		}
	}
	return false
}

// cutAll takes all segments out of a log that has no start, durably.
func (r *recovery) cutAll() error {
	if !r.startless {
		return nil
	}
	first := r.found[0]
	for i := len(r.found) - 1; i >= 0; i-- {
		if err := r.setAside(r.found[i]); err != nil {
			return err
		}
		r.log.recovery.CutBytes += r.found[i].header.size
	}
	r.log.recovery.CutReason = fmt.Sprintf(
		"segment %s and what is behind it: the log before offset %d is lost, and nothing of it was durable",
		first.path, first.header.from())
	return r.log.store.fs.SyncDir(r.log.dir)
}

// rememberDurable makes sure that a checkpoint is on the disk: what lostStart goes by when segments are
// trimmed. It runs on the janitor.
func (l *Log) rememberDurable() error {
	if l.keep.file.check.segment != 0 || l.keep.file.saved != nil {
		return nil
	}
	at, err := l.checkpointAtRoll()
	if err != nil {
		return err
	}
	return l.replaceState(func(f *stateFile) { f.advance(&at) })
}
