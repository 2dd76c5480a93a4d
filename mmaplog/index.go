package mmaplog

import (
	"sort"
	"sync/atomic"
)

// A sparse index tells where in a segment to begin the search for an offset or a time, so that at most
// 16 KiB of frames are looked at, or one batch if that is larger. It is a cache: without it, or where it has
// gaps, the search begins earlier and finds the same.
//
//	current segment     noted by the writer, once per batch and 16 KiB, and by recovery
//	left and synced     written behind the frames by the janitor, with a footer (footer.go)
//	cold                read back when somebody looks for an offset in it (indexcache.go)

// indexEntry is a place between two frames of a segment.
type indexEntry struct {
	position uint32
	offset   uint32 // of the next record, from the segment's base
	index    uint32 // of the next frame, from the segment's base
	// time of the frame before: no frame before the place is younger, and none behind it is older.
	time int64
}

const indexEntryMemory = 24

// indexBlock is the entries of one segment, ascending. It has one writer, which only appends, and any
// number of readers.
type indexBlock struct {
	n       atomic.Int64 // entries[:n] are readable
	entries []indexEntry
	from    int64                      // frames before this position were not looked at
	before  atomic.Pointer[indexBlock] // made of them later (indexearly.go)
	asked   atomic.Bool                // somebody is making it
	maxTime int64                      // of the segment's last frame; only where known is set
	known   bool
}

// firstEntries is the room of an index that is begun: enough for the smallest segment.
const firstEntries = 16

func newIndexBlock(room int) *indexBlock {
	return &indexBlock{entries: make([]indexEntry, room), from: headerSize}
}

func (b *indexBlock) list() []indexEntry {
	if b == nil {
		return nil
	}
	return b.entries[:b.n.Load()]
}

// memory is what the block takes.
func (b *indexBlock) memory() int64 { return int64(len(b.entries)) * indexEntryMemory }

// sparseIndex is where a segment keeps its block.
type sparseIndex struct{ block atomic.Pointer[indexBlock] }

// note appends the place at position, where next is what the frames before lead to, unless the one before is
// near. It belongs to whoever writes the segment.
func (x *sparseIndex) note(base *segmentBase, position int64, next *logState) {
	b := x.block.Load()
	if b == nil {
		b = newIndexBlock(firstEntries)
		x.block.Store(b)
	}
	n := int(b.n.Load())
	last := b.from
	if n > 0 {
		last = int64(b.entries[n-1].position)
	}
	if position < last+indexEvery {
		return
	}
	if n == len(b.entries) {
		grown := newIndexBlock(2 * n)
		copy(grown.entries, b.entries)
		grown.from = b.from
		grown.before.Store(b.before.Load())
		grown.n.Store(int64(n))
		x.block.Store(grown)
		b = grown
	}
	b.entries[n] = indexEntry{
		position: uint32(position),
		offset:   uint32(next.offset - base.offset),
		index:    uint32(next.index - base.index),
		time:     next.time,
	}
	b.n.Store(int64(n + 1))
}

// beginAt tells that frames before position are not going to be noted.
func (x *sparseIndex) beginAt(position int64) {
	b := newIndexBlock(firstEntries)
	b.from = position
	x.block.Store(b)
}

// cutTo forgets the places behind position: the frames there are gone.
func (x *sparseIndex) cutTo(position int64) {
	old := x.block.Load()
	if old == nil {
		return
	}
	list := old.list()
	n := sort.Search(len(list), func(i int) bool { return int64(list[i].position) > position })
	b := newIndexBlock(max(n, firstEntries))
	copy(b.entries, list[:n])
	b.from = min(old.from, position)
	b.before.Store(old.before.Load())
	b.n.Store(int64(n))
	x.block.Store(b)
}

// positionOf is a position from which on the frame with offset is found: of the last place that is not
// behind it.
func (b *indexBlock) positionOf(offset int64, base *segmentBase) int64 {
	list, delta := b.list(), offset-base.offset
	i := sort.Search(len(list), func(i int) bool { return int64(list[i].offset) > delta })
	if i > 0 {
		return int64(list[i-1].position)
	}
	if early := b.early(); early != nil {
		return early.positionOf(offset, base)
	}
	return headerSize
}

// placeBefore is the last place all frames before which are older than time t; ok is false if that is the
// segment's start.
func (b *indexBlock) placeBefore(t int64) (e indexEntry, ok bool) {
	list := b.list()
	i := sort.Search(len(list), func(i int) bool { return list[i].time >= t })
	if i > 0 {
		return list[i-1], true
	}
	if early := b.early(); early != nil {
		return early.placeBefore(t)
	}
	return indexEntry{}, false
}

// noteIndex adds the end of the batch just published to the index of the current segment.
func (l *Log) noteIndex() {
	w := &l.w
	w.seg.index.note(&w.seg.header.base, w.pos, &w.next)
	w.seg.nudges.indexAt = w.pos + indexEvery
}

// adoptIndex takes over what recovery noted of the segment, if it read it.
func (s *segment) adoptIndex(noted *sparseIndex, store *Store) {
	b := noted.block.Load()
	switch {
	case b == nil:
	case s.sealed.Load():
		store.indexes.add(s, b)
	default:
		s.index.block.Store(b)
	}
}
