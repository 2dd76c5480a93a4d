package mmaplog

import (
	"errors"
	"sync"
)

// The manifest is one file per store that tells which segments there are, so that opening a store after an
// orderly close touches no sealed segment, and which were durable, so that one that is missing is noticed:
//
//	writer, sync round, recovery ──edits──▶ buffer ──janitor──▶ MANIFEST, append-only
//
// It is a cache and evidence, never the only truth: segment headers are. Without it everything follows from
// them. Three rules keep it from telling of too much or too little:
//
//   - It is believed without a look into the folders only if it ends with the mark of an orderly close. The
//     mark is followed, durably, by another edit before anything is changed.
//   - The edit that drops a sealed segment is durable before its file goes. So a sealed segment that is not
//     dropped and is not there was taken away by somebody else.
//   - Where it cannot be written any more it is removed.
//
// All methods that write belong to the janitor, but for those that say something else.
type manifest struct {
	store *Store
	path  string

	// Owned by the janitor, and by Open and Close when there is none.
	file    File
	at      int64 // where the next edit goes
	edits   int   // in the file and the buffer
	live    int   // segments, about
	leaving int   // files whose drop is durable and that may still be there
	slack   int   // edits that may be out of date before it is written anew
	stuck   error // it could neither be written nor removed
	read    bool  // there was one when the store was opened
	trusted bool  // it ended with the mark of an orderly close when the store was opened

	mu sync.Mutex
	// mu guards the following.
	buf   []byte
	asked bool                 // the janitor was asked to write buf
	lost  bool                 // it was removed; edits go nowhere
	dirty bool                 // recovery of a log stopped half way
	image *manifestImage       // what it told when the store was opened
	known map[logKey]*knownLog // of image, the logs that were not opened since
}

const (
	manifestName    = "MANIFEST"
	manifestTmpName = "MANIFEST.tmp"
)

// add queues an edit. Anyone may call it; it does not block.
func (m *manifest) add(e *manifestEdit) {
	m.mu.Lock()
	if m.lost {
		m.mu.Unlock()
		return
	}
	m.buf = e.append(m.buf)
	ask := !m.asked
	m.asked = true
	m.mu.Unlock()
	if ask {
		m.store.janitor.do(func() { _ = m.write() })
	}
}

// created tells of a segment that was started. Anyone may call it; it does not block.
func (m *manifest) created(s *segment) {
	m.add(&manifestEdit{kind: editCreated, header: s.header})
}

// sealed tells that a segment was left and is durable, where its frames end and what the next one continues.
// An end of 0 is not known. Anyone may call it; it does not block.
func (m *manifest) sealed(s *segment, end int64, last *logState) {
	m.add(&manifestEdit{kind: editSealed, header: s.header, end: end, last: *last})
}

// removed tells that a segment with nothing durable in it goes. Anyone may call it; it does not block.
func (m *manifest) removed(s *segment) {
	m.add(&manifestEdit{kind: editDropped, header: s.header})
}

// trimmed makes durable that the oldest segments of a log are not wanted any more; only then may their files
// go, and left is called. Without an error they may, too, if there is no manifest any more. Each edit is
// also about the older ones: a power cut may keep any of them, and one that keeps a younger one only would
// otherwise leave a hole.
func (m *manifest) trimmed(list []*segment) error { return m.dropped(list, true) }

func (m *manifest) dropped(list []*segment, older bool) error {
	for _, s := range list {
		m.add(&manifestEdit{kind: editDropped, older: older, header: s.header})
	}
	err := m.sync()
	if err == nil {
		m.leaving += len(list)
	}
	return err
}

// left tells that the file of a dropped segment is gone durably.
func (m *manifest) left() {
	m.leaving--
	m.tidy()
}

// truncated makes durable that the log ends within s, which is written again, and that the segments behind
// it are not wanted any more; left is called for each of those.
func (m *manifest) truncated(s *segment, gone []*segment) error {
	m.add(&manifestEdit{kind: editTruncated, header: s.header})
	return m.dropped(gone, false)
}

// topicRemoved makes durable that nothing of a topic is wanted any more.
func (m *manifest) topicRemoved(topic uint64) error {
	m.mu.Lock()
	for key := range m.known {
		if key.topic == topic {
			delete(m.known, key)
		}
	}
	m.mu.Unlock()
	m.add(&manifestEdit{kind: editTopicRemoved, header: segmentHeader{topic: topic}})
	return m.sync()
}

// write writes the queued edits.
func (m *manifest) write() error {
	m.mu.Lock()
	buf := m.buf
	m.buf, m.asked = nil, false
	lost := m.lost
	m.mu.Unlock()
	if lost || len(buf) == 0 {
		return m.stuck
	}
	m.store.point("manifest.before-write")
	if _, err := m.file.WriteAt(buf, m.at); err != nil {
		return m.abandon(err)
	}
	m.at += int64(len(buf))
	for ; len(buf) > 0; buf = buf[editSize:] {
		m.edits++
		m.live += rawEdit(buf[:editSize]).change()
	}
	m.tidy()
	return nil
}

// sync writes the queued edits and makes all of them durable.
func (m *manifest) sync() error {
	if err := m.write(); err != nil || m.file == nil {
		return err
	}
	m.store.point("manifest.before-sync")
	if err := m.file.Sync(); err != nil {
		return m.abandon(err)
	}
	return nil
}

// abandon removes the manifest after an error: what is in it is not known, and without it everything follows
// from the headers of the segments. It is made again when the store is opened. The error says that even that
// failed.
func (m *manifest) abandon(cause error) error {
	m.store.opts.Logger.Warn("the manifest is given up until the store is opened again", "path", m.path,
		"err", cause)
	m.mu.Lock()
	m.lost, m.buf = true, nil
	m.mu.Unlock()
	if m.file != nil {
		_ = m.file.Close()
		m.file = nil
	}
	err := m.store.fs.Remove(m.path)
	if err == nil || errors.Is(err, errNotExist) {
		err = m.store.fs.SyncDir(m.store.dir)
	}
	m.stuck = err
	return err
}

// close writes what is queued and, if the store was closed in order, the mark of that.
func (m *manifest) close(orderly bool) error {
	if err := m.write(); err != nil || m.file == nil {
		return err
	}
	m.mu.Lock()
	orderly = orderly && !m.dirty && m.leaving == 0 && (m.trusted || len(m.known) == 0)
	m.mu.Unlock()
	if orderly && m.edits > m.live+m.live/4+m.slack {
		if err := m.rewrite(); err != nil || m.file == nil {
			return err
		}
	}
	if orderly {
		m.add(&manifestEdit{kind: editClosed})
	}
	if err := m.sync(); err != nil || m.file == nil {
		return err
	}
	err := m.file.Close()
	m.file = nil
	return err
}

// drop makes the drop of trimmed segments durable before the jobs behind this one remove their files.
func (l *Log) drop(list []*segment) {
	if l.trimStuck {
		return
	}
	err := l.rememberDurable()
	if err == nil {
		err = l.store.manifest.trimmed(list)
	}
	if err != nil {
		l.trimStuck = true
		l.store.opts.Logger.Warn("cannot drop segments; none are removed until the log is opened again",
			"topic", l.topic, "partition", l.partition, "err", err)
	}
}

// await returns when the jobs queued before are done.
func (j *janitor) await() {
	done := make(chan struct{})
	j.do(func() { close(done) })
	<-done
}
