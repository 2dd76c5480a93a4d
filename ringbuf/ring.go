package ringbuf

import (
	"fmt"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	maxRing = 1 << 30

	// ringClosedBit lives in the claim word of a ring with several producers. Sequences stay far below
	// it: at 10⁹ a second it takes 146 years to get there.
	ringClosedBit = 1 << 62
	stillOpen     = math.MaxInt64 // Ring.end before Close

	defaultMaxBatch = 64
)

// Options says how a [Ring] is used. The zero value is one producer, batches of any size, and Park.
type Options struct {
	// Producers is the number of handles [Ring.Producer] gives out; 0 and 1 mean one, which is faster.
	Producers int

	// MaxBatch is the most slots one claim may take. 0 means the capacity with one producer; with
	// several it means 64 or a quarter of each producer's share of the capacity, whichever is less.
	// With several producers, (Producers-1) × MaxBatch slots stay free as headroom, so Producers ×
	// MaxBatch must not be more than the capacity.
	MaxBatch int

	// Wait is how producers wait for room and consumers for data.
	Wait WaitStrategy
}

// Ring is a ring of slots of type T with one or several producers and one or more consumers, each of
// which sees everything. Producers wait for the slowest consumer; nothing is ever overwritten unread.
//
// A T without pointers is not looked at by the garbage collector. A T with pointers keeps what it
// points to alive until its slot is written again.
//
// A slot belongs to its producer from Claim until Publish or Abort, then to the consumers until the
// last of them has released it; nobody else may read or write it.
//
// Invariant: slowest consumer <= published <= claimed <= slowest consumer + capacity, where each is
// the sequence of the first slot not yet released, published, claimed. A sequence is the number of a
// slot since the ring began; its place in memory is the sequence modulo the capacity.
type Ring[T any] struct {
	slots []T
	size  int64
	mask  int64
	wait  waiting

	// Only for several producers (see shared.go):
	words    []atomic.Uint64 // availability words, one per slot, used at the first slot of a claim
	headroom int64           // (Producers-1) × MaxBatch
	lapShift uint            // log2(size): sequence >> lapShift is the lap
	tagShift uint            // where the lap stands in an availability word

	producers int // handles that may exist
	maxBatch  int64
	start     int64        // first sequence
	end       atomic.Int64 // first sequence that Close cut off, or stillOpen; written once

	cursor paddedSequence // one producer: published; several: claimed, and ringClosedBit

	readers parkingLot // consumers waiting for data
	writers parkingLot // producers waiting for room

	consumers atomic.Pointer[[]*Consumer[T]] // copied on write; read when a cached gate is used up
	mu        sync.Mutex                     // guards the following, and writing consumers
	handles   int                            // producer handles given out
}

// New makes a ring of capacity slots, a power of two up to 2³⁰.
func New[T any](capacity int, o Options) (*Ring[T], error) {
	return newRingAt[T](capacity, o, 0)
}

// newRingAt starts at a later sequence, as if that many slots had passed before.
func newRingAt[T any](capacity int, o Options, start int64) (*Ring[T], error) {
	if err := o.complete(capacity); err != nil {
		return nil, err
	}
	r := &Ring[T]{
		slots: make([]T, capacity), size: int64(capacity), mask: int64(capacity - 1),
		wait: newWaiting(o.Wait), producers: o.Producers, maxBatch: int64(o.MaxBatch), start: start,
	}
	if o.Producers > 1 {
		r.words = make([]atomic.Uint64, capacity)
		r.headroom = int64(o.Producers-1) * r.maxBatch
		r.lapShift = uint(bits.TrailingZeros64(uint64(capacity)))
		r.tagShift = uint(bits.Len64(uint64(r.maxBatch))) + 1
	}
	r.cursor.value.Store(start)
	r.end.Store(stillOpen)
	r.consumers.Store(new([]*Consumer[T]))
	return r, nil
}

// complete checks the options and puts defaults in place of zeros.
func (o *Options) complete(capacity int) error {
	if capacity < 1 || capacity > maxRing || capacity&(capacity-1) != 0 {
		return fmt.Errorf("ringbuf: ring of %d slots: want a power of two from 1 to %d", capacity, maxRing)
	}
	if o.Producers == 0 {
		o.Producers = 1
	}
	if o.Producers < 1 || o.Producers > capacity {
		return fmt.Errorf("ringbuf: Producers %d: want 1 to the capacity of %d", o.Producers, capacity)
	}
	share := capacity / o.Producers
	if o.MaxBatch == 0 {
		o.MaxBatch = capacity
		if o.Producers > 1 {
			o.MaxBatch = max(1, min(defaultMaxBatch, share/4))
		}
	}
	if o.MaxBatch < 1 || o.MaxBatch > share {
		return fmt.Errorf("ringbuf: MaxBatch %d: want 1 to %d, the capacity divided by Producers",
			o.MaxBatch, share)
	}
	if o.Wait > Spin {
		return fmt.Errorf("ringbuf: Wait %d: want Park, Block or Spin", o.Wait)
	}
	return nil
}

// Producer returns a new handle for publishing, or ErrTooMany beyond Options.Producers.
func (r *Ring[T]) Producer() (*Producer[T], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handles == r.producers {
		return nil, fmt.Errorf("%w (Options.Producers is %d)", ErrTooMany, r.producers)
	}
	r.handles++
	return &Producer[T]{ring: r, next: r.start, gate: r.start}, nil
}

// Consumer adds a consumer that sees everything published from now on. Consumers are added before
// anything is claimed, else ErrStarted; without one, the ring fills up and its producers wait. It must
// not run at the same time as a claim.
func (r *Ring[T]) Consumer() (*Consumer[T], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claimed() != r.start {
		return nil, ErrStarted
	}
	c := &Consumer[T]{ring: r, next: r.start, scanned: r.start}
	c.released.value.Store(r.start)
	before := *r.consumers.Load()
	after := append(before[:len(before):len(before)], c)
	r.consumers.Store(&after)
	return c, nil
}

// Cap is the number of slots.
func (r *Ring[T]) Cap() int { return int(r.size) }

// Len is the number of slots that are not free: not yet released by the slowest consumer, and claimed
// (several producers) or published (one). It is out of date when it returns. Anybody may call it.
func (r *Ring[T]) Len() int {
	slowest := r.slowest() // first: the claim read later is not behind it
	return int(max(0, min(r.claimed()-slowest, r.size)))
}

// Close refuses new claims and wakes everybody who waits. Claim returns ErrClosed; Next returns what
// was published before Close, then ErrClosed. With several producers, batches that were claimed
// before Close count as well, and Next waits for them to be published or aborted; with one, a batch
// published while or after Close runs may be dropped. Anybody may call it, any number of times.
func (r *Ring[T]) Close() {
	r.mu.Lock()
	if r.end.Load() == stillOpen {
		if r.shared() {
			r.end.Store(r.cursor.value.Or(ringClosedBit))
		} else {
			r.end.Store(r.cursor.value.Load())
		}
	}
	r.mu.Unlock()
	r.readers.wake()
	r.writers.wake()
}

func (r *Ring[T]) shared() bool { return r.words != nil }

func (r *Ring[T]) closed() bool { return r.end.Load() != stillOpen }

// claimed is the sequence of the first slot that was not claimed (one producer: not published).
func (r *Ring[T]) claimed() int64 {
	// Claims that lost against Close moved the word on, but end is where the claims really end.
	return min(r.cursor.value.Load()&^ringClosedBit, r.end.Load())
}

// slowest is the sequence up to which all consumers have released.
func (r *Ring[T]) slowest() int64 {
	consumers := *r.consumers.Load()
	if len(consumers) == 0 {
		return r.start
	}
	slowest := int64(math.MaxInt64)
	for _, c := range consumers {
		slowest = min(slowest, c.released.value.Load())
	}
	return slowest
}

// free is the number of slots that can be claimed now, headroom included.
func (r *Ring[T]) free() int64 {
	slowest := r.slowest()
	return r.size - (r.claimed() - slowest)
}

// run returns the slots [from, to) in one piece, or two where they wrap around the end of memory.
func (r *Ring[T]) run(from, to int64) (first, second []T) {
	if from == to {
		return nil, nil
	}
	lo, hi := from&r.mask, (to-1)&r.mask+1
	if lo < hi {
		return r.slots[lo:hi:hi], nil
	}
	return r.slots[lo:], r.slots[:hi:hi]
}
