package ringbuf

import (
	"fmt"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	maxRing = 1 << 30

	// ringClosedBit lives in the claim word of a ring with several producers. Sequences stay far below
	// it: at 10⁹ a second it takes 146 years to get there.
	ringClosedBit = 1 << 62

	// Values of Ring.end before it is known.
	stillOpen = math.MaxInt64
	sealing   = math.MaxInt64 - 1 // no claims any more; those that got in are being counted

	defaultMaxBatch = 64

	// runLeast is the length from which runs are cut, so that a consumer frees slots of a long backlog
	// while it works on it and not all at once afterwards.
	runLeast = 1024
)

// FullPolicy says what [Producer.Send] and [Producer.Claim] do when there is no room.
type FullPolicy uint8

const (
	// WaitForRoom waits until the slowest consumer has made room, or ctx ends.
	WaitForRoom FullPolicy = iota
	// Fail returns ErrFull.
	Fail
	// DropNewest drops what was to be sent and counts it in [Stats.Dropped]: Send returns nil as if it
	// were sent; Claim, which has no slots to give, returns ErrFull.
	DropNewest
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

	// Floor is the pause that a consumer makes between a run that was used up and its first look for the
	// next: about 100 ns for 0, none if negative. Longer (500 ns) means longer runs and more
	// throughput, shorter less latency when events come back to back. Block has none.
	Floor time.Duration

	// Full says what Send and Claim do when there is no room.
	Full FullPolicy

	// Fenced makes every publish and release a sequentially consistent store, which costs some nanoseconds.
	// It is for callers that sleep by a protocol of their own, around Poll: they look at a flag after
	// Publish, and that must not happen before the publish is visible.
	Fenced bool

	// Lossy allows [Ring.Reader]: readers that nobody waits for. T must be without pointers and its size
	// a multiple of 8 bytes.
	Lossy bool
}

// Ring is a ring of slots of type T with one or several producers and any number of consumers, each of
// which sees everything that is published after it was added. Producers wait for the slowest consumer:
// nothing that a consumer has not released is ever overwritten. Without a consumer nobody waits.
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
	most  int64 // slots of one run
	wait  waiting
	full  FullPolicy
	lossy bool

	// fenced says that a store that others may sleep for must be sequentially consistent; otherwise it
	// is a release, and whoever goes to sleep executes a barrier (see parkingLot).
	fenced bool

	// Only for several producers (see shared.go):
	words    []atomic.Uint64 // availability words, one per slot, used at the first slot of a claim
	headroom int64           // (Producers-1) × MaxBatch
	lapShift uint            // log2(size): sequence >> lapShift is the lap
	tagShift uint            // where the lap stands in an availability word

	producers int // handles that may exist
	maxBatch  int64
	start     int64       // first sequence
	halted    atomic.Bool // CloseNow: what is published is not handed out any more

	// end is the first sequence that Seal cut off, or stillOpen, or sealing. It may be lowered once: to
	// what was published, by a lone producer that gives up the batch it had open.
	end atomic.Int64

	cursor paddedSequence // one producer: published; several: claimed, and ringClosedBit

	// claims, with one producer only, is where the open batch ends, or some past value of cursor.
	claims paddedSequence

	// touched, with one producer and lossy only: no slot from here on was written to. Unlike claims it does
	// not go back when a batch is aborted, for the readers' slots are gone.
	touched paddedSequence

	readers parkingLot // consumers waiting for data, and producers waiting without a consumer
	writers parkingLot // producers waiting for room

	graph
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
		most: max(int64(capacity)/4, min(int64(capacity), runLeast)),
		wait: newWaiting(o.Wait, o.Floor), full: o.Full, lossy: o.Lossy,
		fenced:    !storesRelease || o.Fenced || o.Wait == Block || !canBarrier(),
		producers: o.Producers, maxBatch: int64(o.MaxBatch), start: start,
	}
	if o.Lossy {
		if err := readableAtAnyTime(r.slots); err != nil {
			return nil, err
		}
	}
	r.readers.barrier, r.writers.barrier = !r.fenced, !r.fenced
	if o.Producers > 1 {
		r.words = make([]atomic.Uint64, capacity)
		r.headroom = int64(o.Producers-1) * r.maxBatch
		r.lapShift = uint(bits.TrailingZeros64(uint64(capacity)))
		r.tagShift = uint(bits.Len64(uint64(r.maxBatch))) + 1
	}
	r.cursor.value.Store(start)
	r.claims.value.Store(start)
	r.touched.value.Store(start)
	r.end.Store(stillOpen)
	r.graph.init(start)
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
	if o.Full > DropNewest {
		return fmt.Errorf("ringbuf: Full %d: want WaitForRoom, Fail or DropNewest", o.Full)
	}
	if o.Floor > time.Millisecond {
		return fmt.Errorf("ringbuf: Floor %v: want at most a millisecond", o.Floor)
	}
	return nil
}

// Producer returns a new handle for publishing, or ErrTooMany beyond Options.Producers.
func (r *Ring[T]) Producer() (*Producer[T], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.meters) == r.producers {
		return nil, fmt.Errorf("%w (Options.Producers is %d)", ErrTooMany, r.producers)
	}
	p := &Producer[T]{
		ring: r, base: unsafe.Pointer(&r.slots[0]), mask: r.mask, cursor: &r.cursor.value,
		attention: &r.readers.waiting, next: r.start, gate: r.start,
	}
	// Send publishes by release, which must be enough, and without a claim that anybody could see.
	short := !r.lossy && (!r.fenced || !storesRelease)
	p.quick, p.flat, p.needed = short && !r.shared(), short && r.shared(), 1+r.headroom-r.size
	r.meters = append(r.meters, &p.meter)
	return p, nil
}

// Cap is the number of slots.
func (r *Ring[T]) Cap() int { return int(r.size) }

// Len is the number of slots that are not free: not yet released by the slowest consumer, and claimed
// (several producers) or published (one). It is out of date when it returns. Anybody may call it.
func (r *Ring[T]) Len() int {
	slowest := r.slowest() // first: the claim read later is not behind it
	return int(max(0, min(r.claimed()-slowest, r.size)))
}

func (r *Ring[T]) shared() bool { return r.words != nil }

func (r *Ring[T]) closed() bool { return r.end.Load() != stillOpen }

// store sets a word that others may be waiting for; looking for sleepers comes after it.
func (r *Ring[T]) store(word *atomic.Int64, v int64) {
	if r.fenced {
		word.Store(v)
	} else {
		release(word, v)
	}
}

// claimed is the sequence of the first slot that was not claimed (one producer: not published).
func (r *Ring[T]) claimed() int64 {
	// The cursor first: while end is still open, Seal will read a cursor that is at least this one. Claims
	// that lost against Seal moved the word on, but end is where the claims really end.
	at, end := r.cursor.value.Load()&^ringClosedBit, r.end.Load()
	if end == sealing { // what Seal does not count must not be handed out; it knows when it gives mu back
		r.mu.Lock()
		end = r.end.Load()
		r.mu.Unlock()
	}
	return min(at, end)
}

// slowest is the sequence up to which all consumers have released. Every value was true at a moment during
// the call, and a consumer that is added later starts at or after it: the list of consumers must be
// the same before and after they were read, else one that was added meanwhile, at a sequence
// behind the others, could be missed and the old minimum cached as if it counted that one.
func (r *Ring[T]) slowest() int64 {
	for {
		list := r.gates.Load()
		if (*list)[0] == &r.sink {
			r.drain()
		}
		slowest := (*list)[0].released.value.Load()
		for _, s := range (*list)[1:] {
			slowest = min(slowest, s.released.value.Load())
		}
		if r.gates.Load() == list {
			return slowest
		}
	}
}

// drain is the consumer of a ring without consumers: it releases what is published.
func (r *Ring[T]) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (*r.gates.Load())[0] != &r.sink {
		return
	}
	at := r.sink.released.value.Load()
	if r.shared() {
		at = r.follow(at)
	} else {
		at = max(at, r.claimed())
	}
	r.sink.released.value.Store(at)
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

// Seal refuses new claims and wakes everybody who waits. Claim returns ErrClosed; Next returns what is
// left, then ErrClosed. Batches that were claimed before count as well: Next waits for them to be
// published or aborted. Every value that Send accepted is handed out, none that it refused. Anybody may
// call it, any number of times; it does not wait.
func (r *Ring[T]) Seal() {
	r.mu.Lock()
	switch {
	case r.closed():
	case r.shared():
		r.end.Store(r.cursor.value.Or(ringClosedBit))
	default:
		// The producer makes its claim visible and then looks at end; here it is the other way round. So
		// either it sees that the ring is closed, or its claim is seen and counts. It has no fence
		// between the two, hence the barrier here.
		r.end.Store(sealing)
		r.readers.alarm() // Send looks there
		if !r.fenced {
			barrier()
		}
		r.end.Store(max(r.cursor.value.Load(), r.claims.value.Load()))
	}
	r.mu.Unlock()
	r.wakeAll()
}

// lower takes the open batch of a lone producer out of what is drained. It had ended at Ring.end.
func (r *Ring[T]) lower() {
	r.mu.Lock()
	r.end.Store(min(r.end.Load(), r.cursor.value.Load()))
	r.mu.Unlock()
	r.wakeAll()
}
