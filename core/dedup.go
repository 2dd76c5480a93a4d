package core

import (
	"time"

	"github.com/cespare/xxhash/v2"
)

// The window in which a message that is published again under its id is recognised.
const (
	DefaultDedupWindow = 2 * time.Minute
	MinDedupWindow     = time.Second
	MaxDedupWindow     = 24 * time.Hour

	// MaxDedupIDs bounds what one partition remembers: behind so many ids the oldest are forgotten before their
	// time.
	MaxDedupIDs = 1 << 20
)

// MessageID is what a partition remembers of the id of a message: two hashes of it.
type MessageID [2]uint64

// MessageIDOf is that of an id.
func MessageIDOf(id []byte) MessageID {
	var second xxhash.Digest
	second.ResetWithSeed(1)
	_, _ = second.Write(id) // never fails
	return MessageID{xxhash.Sum64(id), second.Sum64()}
}

// storedID says which record had an id.
type storedID struct {
	id     MessageID
	offset int64
	time   int64 // append time of the record
}

// forgottenPerStep bounds how many ids that are out of the window are forgotten at once. A step adds at
// most one, so that more than one keeps up; what is out of the window is not found in any case.
const forgottenPerStep = 16

// dedupTable has the ids of the records in the window, in the order in which they were appended. Its zero
// value is empty and costs nothing, because most partitions never see an id.
//
// Invariant: list[head:] has the numbers from first on, times that do not fall, and the numbers from
// settled on are those of the write under way; index has the number of the last entry of each id.
type dedupTable struct {
	window  int64
	index   map[MessageID]int64
	list    []storedID
	head    int
	first   int64 // number of list[head]
	settled int64 // first number that is not known to be in the log
}

func (t *dedupTable) len() int { return len(t.list) - t.head }

func (t *dedupTable) end() int64 { return t.first + int64(t.len()) }

// span is the window, in nanoseconds.
func (t *dedupTable) span() int64 {
	if t.window == 0 {
		return int64(DefaultDedupWindow)
	}
	return t.window
}

// find gives the record that had an id, if it is in the window.
func (t *dedupTable) find(id MessageID, now int64) (storedID, bool) {
	number, known := t.index[id]
	if !known {
		return storedID{}, false
	}
	s := t.list[t.head+int(number-t.first)]
	return s, now-s.time < t.span()
}

// add notes a record of the write under way.
func (t *dedupTable) add(s storedID) {
	if t.index == nil {
		t.index = make(map[MessageID]int64)
	}
	for range forgottenPerStep {
		if t.len() == 0 || t.first >= t.settled || s.time-t.list[t.head].time < t.span() {
			break
		}
		t.forget()
	}
	if t.len() >= MaxDedupIDs {
		t.forget()
	}
	t.index[s.id] = t.end()
	t.list = append(t.list, s)
}

// forget drops the oldest entry.
func (t *dedupTable) forget() {
	s := &t.list[t.head]
	if t.index[s.id] == t.first {
		delete(t.index, s.id)
	}
	t.head++
	t.first++
	t.settled = max(t.settled, t.first)
	if t.head > 1024 && t.head > len(t.list)/2 {
		n := copy(t.list, t.list[t.head:])
		t.list, t.head = t.list[:n], 0
	}
}

// settle says that the write under way is in the log.
func (t *dedupTable) settle() { t.settled = t.end() }

// unwind forgets the write under way, which failed. An id that it had is not known any more, also if an entry
// that was out of the window had it before.
func (t *dedupTable) unwind() {
	for t.end() > t.settled {
		last := len(t.list) - 1
		if s := &t.list[last]; t.index[s.id] == t.end()-1 {
			delete(t.index, s.id)
		}
		t.list = t.list[:last]
	}
}

// SetDedupWindow sets for how long ids are remembered, at any time; 0 is DefaultDedupWindow.
func (p *Partition) SetDedupWindow(window time.Duration) { p.dedup.window = int64(window) }

// FindID gives the record that had an id, if it was appended within the window before now. What is part
// of the write under way counts.
func (p *Partition) FindID(id MessageID, now int64) (offset, appended int64, known bool) {
	s, known := p.dedup.find(id, now)
	return s.offset, s.time, known
}

// AddID notes that a record has an id. The record is part of the write under way, and forgotten with it,
// or was found in the log before the first step. Records come in the order of their offsets.
func (p *Partition) AddID(id MessageID, offset, appended int64) {
	p.dedup.add(storedID{id, offset, appended})
}

// KeepIDs ends what AddID did with records that were found in the log.
func (p *Partition) KeepIDs() { p.dedup.settle() }

// IDCount is the number of ids that the partition remembers.
func (p *Partition) IDCount() int { return p.dedup.len() }
