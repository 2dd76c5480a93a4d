package ringbuf

import (
	"context"
	"fmt"
	"sync/atomic"
	"unsafe"
)

const (
	minSlab    = 4 << 10
	maxSlab    = 1 << 30
	headerSize = 8  // the length word in front of every entry
	slabAlign  = 64 // of the first byte, so that an entry starts on a cache line as often as it can

	// A length word is 0 until its entry is committed or aborted, then one kind bit and the length
	// of the payload in the low half.
	lengthMask = 1<<32 - 1
	kindData   = 1 << 32 // committed: Next returns it
	kindSkip   = 2 << 32 // aborted, or padding at the end of the slab: Next steps over it

	// closedBit lives in the claim word. Positions are multiples of 8, so their low bits are free;
	// in the claim word itself it makes Close exact: a claim is before it or it fails.
	closedBit = 1
)

// Slab is a ring of bytes for entries of any length: many producers, one consumer at a time.
//
// Any number of goroutines may claim, commit and abort. Next and Release belong to the consumer:
// the caller must make sure, with a lock, that one goroutine at a time is inside them. The other
// methods may be called by anybody.
//
// An entry's bytes belong to its producer from the claim until Commit or Abort, then to the
// consumer until Release; nobody else may read or write them.
//
// Invariant: released <= read <= claim <= released + capacity, and every byte outside
// [released, claim) is zero.
type Slab struct {
	words    []atomic.Uint64 // the memory as 8-byte words, for the length words
	bytes    []byte          // the same memory as bytes, for the payloads
	mask     uint64          // capacity - 1
	capacity uint64
	maxEntry int
	wait     waiting

	claim     paddedPosition // next byte to be claimed, and closedBit; written by producers
	gateCache paddedPosition // some past value of released; shared by producers so that they need
	// not read the line the consumer writes; written by a producer that finds no room under it
	released paddedPosition // first byte not free; written by the consumer

	// Owned by the consumer:
	read uint64 // next byte to be read
	lent bool   // Next returned an entry since the last Release
	_    [cacheGap]byte

	room parkingLot // producers waiting for room
}

// Entry is one claimed stretch of a [Slab].
type Entry struct {
	position uint64 // of the length word
	length   uint32 // of the payload; kept apart from Bytes, which the producer may reslice

	// Bytes is the payload to be filled: as many bytes as were claimed, zero at first, the first one
	// aligned to 8. It must not be touched after Commit or Abort.
	Bytes []byte
}

// NewSlab makes a ring of capacity bytes: a power of two from 4 KiB to 1 GiB. Each entry takes 8
// bytes more than its payload and is rounded up to 8.
func NewSlab(capacity int) (*Slab, error) {
	return newSlabAt(capacity, 0)
}

// newSlabAt starts at a later position, a multiple of 8, as if that many bytes had passed before.
func newSlabAt(capacity int, position uint64) (*Slab, error) {
	if capacity < minSlab || capacity > maxSlab || capacity&(capacity-1) != 0 {
		return nil, fmt.Errorf("ringbuf: slab of %d bytes: want a power of two from %d to %d",
			capacity, minSlab, maxSlab)
	}
	words, bytes := alignedMemory(capacity)
	s := &Slab{
		words: words, bytes: bytes,
		mask: uint64(capacity - 1), capacity: uint64(capacity), maxEntry: capacity / 8,
		wait: newWaiting(Park, 0), read: position,
	}
	s.claim.value.Store(position)
	s.gateCache.value.Store(position)
	s.released.value.Store(position)
	return s, nil
}

// alignedMemory returns n zero bytes that start at a multiple of slabAlign, seen in two ways. Heap
// objects do not move, and without pointers inside the collector does not look at them.
func alignedMemory(n int) ([]atomic.Uint64, []byte) {
	words := make([]atomic.Uint64, (n+slabAlign)/8)
	for uintptr(unsafe.Pointer(&words[0]))%slabAlign != 0 {
		words = words[1:]
	}
	words = words[: n/8 : n/8]
	return words, unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}

// TryClaim reserves n bytes, 0 to MaxEntry, and never blocks. It reports false when there is no room
// now, n is out of range, or the slab is closed. The entry must be committed or aborted soon: the
// consumer cannot pass it.
func (s *Slab) TryClaim(n int) (Entry, bool) {
	if uint(n) > uint(s.maxEntry) {
		return Entry{}, false
	}
	size := entrySize(uint64(n))
	for {
		at := s.claim.value.Load()
		if at&closedBit != 0 {
			return Entry{}, false
		}
		padding := s.padding(at, size)
		end := at + padding + size
		if s.overtakes(end, s.gateCache.value.Load()) {
			gate := s.released.value.Load()
			// A slower producer may put an older gate back over a newer one: every value stored here
			// was true once, so a cache that moves back only makes somebody look again.
			s.gateCache.value.Store(gate)
			if s.overtakes(end, gate) {
				return Entry{}, false
			}
		}
		// The gate only moves forward, so room seen above is still there if the swap succeeds: no
		// other producer claimed in between, and the consumer can only have freed more.
		if s.claim.value.CompareAndSwap(at, end) {
			return s.entry(at, padding, n), true
		}
	}
}

// overtakes tells whether claiming up to end would run into bytes the consumer has not freed. The
// difference is taken as signed: a gate read later than the claim may lie beyond it.
func (s *Slab) overtakes(end, gate uint64) bool {
	return int64(end-gate) > int64(s.capacity)
}

// padding is the number of bytes left out so that an entry of size bytes at position at does not
// wrap around the end of the memory.
func (s *Slab) padding(at, size uint64) uint64 {
	if rest := s.capacity - at&s.mask; size > rest {
		return rest
	}
	return 0
}

// entry makes the claimed range usable: it publishes the padding and cuts out the payload.
func (s *Slab) entry(at, padding uint64, n int) Entry {
	if padding != 0 {
		s.word(at).Store(kindSkip | (padding - headerSize))
		at += padding
	}
	payload := at&s.mask + headerSize
	end := payload + uint64(n)
	return Entry{position: at, length: uint32(n), Bytes: s.bytes[payload:end:end]}
}

// Claim is TryClaim that waits for room. It waits before it claims, so there is nothing to undo when
// ctx ends. A producer must not wait here while it holds another entry uncommitted: the consumer
// cannot pass that one. ctx is looked at only when there is no room.
//
// Once it had to wait it goes on when an eighth of the slab is free, so that producers and consumer
// take turns in long runs, not entry by entry.
//
// Errors: ErrClosed, ErrTooLarge, or ctx.Err().
func (s *Slab) Claim(ctx context.Context, n int) (Entry, error) {
	for {
		if e, ok := s.TryClaim(n); ok {
			return e, nil
		}
		if uint(n) > uint(s.maxEntry) {
			return Entry{}, fmt.Errorf("%w: %d bytes, want 0 to %d", ErrTooLarge, n, s.maxEntry)
		}
		if err := s.awaitRoom(ctx, n); err != nil {
			return Entry{}, err
		}
	}
}

// awaitRoom returns when a claim of n bytes is worth trying again.
func (s *Slab) awaitRoom(ctx context.Context, n int) error {
	size := entrySize(uint64(n))
	err := s.room.await(ctx, s.wait, func() bool {
		at := s.claim.value.Load()
		return at&closedBit != 0 || s.free() >= max(s.capacity/8, size+s.padding(at, size))
	})
	if err == nil && s.claim.value.Load()&closedBit != 0 {
		err = ErrClosed
	}
	return err
}

// Commit hands a claimed entry to the consumer with one atomic store. Each entry is committed or
// aborted exactly once. It panics on an entry that no claim returned.
func (s *Slab) Commit(e Entry) { s.publish(e, kindData) }

// Abort gives a claimed entry up: the consumer will step over it. See Commit.
func (s *Slab) Abort(e Entry) { s.publish(e, kindSkip) }

func (s *Slab) publish(e Entry, kind uint64) {
	if e.Bytes == nil {
		panic("ringbuf: commit or abort of an entry that was not claimed")
	}
	s.word(e.position).Store(kind | uint64(e.length))
}

// Next returns the payload of the next committed entry in the order of claims, and reports false if
// the next entry is not committed yet or there is none. The bytes are the consumer's until Release.
// Only the consumer may call it; it never blocks. A consumer that found nothing should let some
// microseconds pass before it looks again: each look slows the producer whose entry it waits for.
func (s *Slab) Next() ([]byte, bool) {
	// A full slab read to its end without Release has its oldest length word at the read position.
	for s.read-s.released.value.Load() < s.capacity {
		word := s.word(s.read).Load()
		if word == 0 {
			break
		}
		length := word & lengthMask
		payload := s.read&s.mask + headerSize
		s.read += entrySize(length)
		if word&kindData != 0 {
			s.lent = true
			return s.bytes[payload : payload+length : payload+length], true
		}
	}
	if !s.lent { // skipped entries alone must not keep producers waiting for a Release
		s.Release()
	}
	return nil, false
}

// Release frees every entry returned by Next since the last Release, and wakes producers waiting for
// room, if any. Only the consumer may call it; it never blocks.
func (s *Slab) Release() {
	from := s.released.value.Load()
	if from == s.read {
		return
	}
	// The next lap takes any non-zero word for a length, and its entries start elsewhere: all must go.
	if lo, hi := from&s.mask, (s.read-1)&s.mask+1; lo < hi {
		clear(s.bytes[lo:hi])
	} else {
		clear(s.bytes[lo:])
		clear(s.bytes[:hi])
	}
	s.lent = false
	s.released.value.Store(s.read)
	// Below an eighth nobody is woken. That loses no wake-up: what fills the rest is claimed, and
	// whoever holds it commits it without waiting for room, so another Release follows.
	if s.room.waiting.Load() != 0 && s.free() >= s.capacity/8 {
		s.room.wakeAll()
	}
}

// Pending is the number of bytes claimed and not yet released, headers and padding included. It
// costs two loads and is out of date when it returns.
func (s *Slab) Pending() int {
	released := s.released.value.Load() // first: the claim read later is not behind it
	return int(s.claim.value.Load()&^closedBit - released)
}

// Empty tells whether everything ever claimed has been released.
func (s *Slab) Empty() bool { return s.Pending() == 0 }

// Capacity is the size of the slab in bytes.
func (s *Slab) Capacity() int { return int(s.capacity) }

// MaxEntry is the length in bytes of the longest payload: an eighth of the capacity.
func (s *Slab) MaxEntry() int { return s.maxEntry }

// Claims is the number of bytes ever claimed, headers, aborted entries and padding included.
func (s *Slab) Claims() uint64 { return s.claim.value.Load() &^ closedBit }

// Close refuses new claims and wakes producers waiting for room with ErrClosed. Entries claimed before
// it can still be committed and read: after Close, Empty means drained for good. Calling it again
// does nothing.
func (s *Slab) Close() {
	s.claim.value.Or(closedBit)
	s.room.wake()
}

func (s *Slab) free() uint64 {
	released := s.released.value.Load()
	used := s.claim.value.Load()&^closedBit - released
	return s.capacity - min(used, s.capacity) // released may be old, so used may look too large
}

// word is the length word of the entry at position.
func (s *Slab) word(position uint64) *atomic.Uint64 {
	return &s.words[position&s.mask/headerSize]
}

// entrySize is the room an entry with a payload of n bytes takes.
func entrySize(n uint64) uint64 { return headerSize + (n+7)&^7 }
