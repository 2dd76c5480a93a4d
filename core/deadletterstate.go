package core

import (
	"maps"
	"math/bits"
	"slices"
)

// DeadLetterState is which letters of one partition of a dead-letter topic were settled. It is a state
// machine without I/O or clock; its owner keeps calls apart.
//
//	offset   start ······ next ··············· end
//	letters  gone  settled     x  x pending xx      x is settled out of order
//
// Settling only ever adds, so the records of a state merge in any order, and a record that stands behind a
// newer one does no harm.
//
// Invariant: the letter at next is not settled; chunks below that of next are forgotten; a chunk of which not
// everything is stored is in dirty.
type DeadLetterState struct {
	next     int64
	redriven int64
	dropped  int64
	chunks   map[int64]*[DeadLetterChunk / 8]byte
	stored   map[int64]bool // chunks that have a record
	dirty    map[int64]bool
}

// Next is the first letter that is not settled, or the end if all are.
func (s *DeadLetterState) Next() int64 { return s.next }

// Redriven is how many letters were published again, since the topic was created.
func (s *DeadLetterState) Redriven() int64 { return s.redriven }

// Dropped is how many were given up for good.
func (s *DeadLetterState) Dropped() int64 { return s.dropped }

// Settled reports whether a letter was redriven or dropped.
func (s *DeadLetterState) Settled(offset int64) bool {
	if offset < s.next {
		return true
	}
	chunk := s.chunks[offset/DeadLetterChunk]
	at := offset % DeadLetterChunk
	return chunk != nil && chunk[at/8]&(1<<(at%8)) != 0
}

// Pending is how many letters of [start, end), which is what the log has, were neither redriven nor dropped.
func (s *DeadLetterState) Pending(start, end int64) int64 {
	lo := max(start, s.next)
	if lo >= end {
		return 0
	}
	pending := end - lo
	for index, chunk := range s.chunks {
		base := index * DeadLetterChunk
		switch {
		case base >= end || base+DeadLetterChunk <= lo:
		case base >= lo && base+DeadLetterChunk <= end:
			for _, b := range chunk {
				pending -= int64(bits.OnesCount8(b))
			}
		default:
			for at := max(base, lo); at < min(base+DeadLetterChunk, end); at++ {
				if s.Settled(at) {
					pending--
				}
			}
		}
	}
	return pending
}

// Settle notes that the letters of [lo, hi) were redriven, or dropped, and gives how many of them were not
// settled before. The log has [start, end): what is before it is settled by itself, and nothing can be
// behind.
func (s *DeadLetterState) Settle(lo, hi, start, end int64, dropped bool) int64 {
	before := s.next
	s.next = max(s.next, start)
	fresh := int64(0)
	for at := max(lo, s.next); at < min(hi, end); at++ {
		if !s.Settled(at) {
			s.set(at)
			fresh++
		}
	}
	if dropped {
		s.dropped += fresh
	} else {
		s.redriven += fresh
	}
	s.advance()
	if s.next != before { // the cursor is in every record; one has to say it
		s.chunk(s.next / DeadLetterChunk)
		s.markDirty(s.next / DeadLetterChunk)
	}
	return fresh
}

func (s *DeadLetterState) set(offset int64) {
	index, at := offset/DeadLetterChunk, offset%DeadLetterChunk
	s.chunk(index)[at/8] |= 1 << (at % 8)
	s.markDirty(index)
}

func (s *DeadLetterState) chunk(index int64) *[DeadLetterChunk / 8]byte {
	chunk := s.chunks[index]
	if chunk == nil {
		if s.chunks == nil {
			s.chunks = make(map[int64]*[DeadLetterChunk / 8]byte)
		}
		chunk = new([DeadLetterChunk / 8]byte)
		s.chunks[index] = chunk
	}
	return chunk
}

func (s *DeadLetterState) markDirty(index int64) {
	if s.dirty == nil {
		s.dirty = make(map[int64]bool)
	}
	s.dirty[index] = true
}

// advance moves next behind what is settled, and forgets chunks that lie before it.
func (s *DeadLetterState) advance() {
	for {
		chunk := s.chunks[s.next/DeadLetterChunk]
		at := s.next % DeadLetterChunk
		if chunk == nil || chunk[at/8]&(1<<(at%8)) == 0 {
			break
		}
		s.next++
	}
	for index := range s.chunks {
		if index < s.next/DeadLetterChunk {
			delete(s.chunks, index)
			delete(s.dirty, index)
			if s.stored[index] {
				s.markDirty(index) // its record is to be removed
			}
		}
	}
}

// Dirty gives the records that are to be stored, by chunk, those that remove last. Call Stored when they are.
// The bits are copies.
func (s *DeadLetterState) Dirty() []DeadLetterRecord {
	var records, removed []DeadLetterRecord
	for _, index := range slices.Sorted(maps.Keys(s.dirty)) {
		if s.chunks[index] == nil {
			removed = append(removed, DeadLetterRecord{Chunk: index, Removed: true})
			continue
		}
		records = append(records, s.record(index))
	}
	return append(records, removed...)
}

// Stored notes that records of Dirty were stored, and nothing was settled since they were taken.
func (s *DeadLetterState) Stored(records []DeadLetterRecord) {
	if s.stored == nil {
		s.stored = make(map[int64]bool)
	}
	for i := range records {
		delete(s.dirty, records[i].Chunk)
		if records[i].Removed {
			delete(s.stored, records[i].Chunk)
		} else {
			s.stored[records[i].Chunk] = true
		}
	}
}

// Snapshot gives the records from which Restore makes this state.
func (s *DeadLetterState) Snapshot() []DeadLetterRecord {
	var records []DeadLetterRecord
	for _, index := range slices.Sorted(maps.Keys(s.chunks)) {
		records = append(records, s.record(index))
	}
	return records
}

func (s *DeadLetterState) record(index int64) DeadLetterRecord {
	set := s.chunks[index][:]
	for len(set) > 0 && set[len(set)-1] == 0 {
		set = set[:len(set)-1]
	}
	return DeadLetterRecord{Chunk: index, Next: s.next, Redriven: s.redriven, Dropped: s.dropped,
		Bits: slices.Clone(set)}
}

// Restore takes over a stored record. end is that of the log: what lies behind it was lost with the tail, and
// its offsets may be given again.
func (s *DeadLetterState) Restore(r *DeadLetterRecord, end int64) {
	s.Stored([]DeadLetterRecord{{Chunk: r.Chunk, Removed: r.Removed}})
	if r.Removed {
		return // what it said is before the next of another record
	}
	s.next = max(s.next, min(r.Next, end))
	s.redriven, s.dropped = max(s.redriven, r.Redriven), max(s.dropped, r.Dropped)
	chunk, base := s.chunk(r.Chunk), r.Chunk*DeadLetterChunk
	for i, b := range r.Bits {
		chunk[i] |= b
	}
	for at := max(base, end); at < base+DeadLetterChunk; at++ {
		at := at - base
		chunk[at/8] &^= 1 << (at % 8)
	}
	dirty := s.dirty[r.Chunk]
	s.advance()
	if dirty && s.chunks[r.Chunk] != nil {
		s.markDirty(r.Chunk)
	}
}
