package ringbuf

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// stage is what others see of a consumer: producers, which wait for what it releases, and the consumers
// after it.
type stage struct {
	released paddedSequence // first slot that this consumer still needs
	lot      parkingLot     // consumers after this one, waiting for it
	deps     atomic.Pointer[[]*stage]
	name     string
	closed   atomic.Bool
}

// graph is who waits for whom.
//
//	producers ──▶ cursor ──▶ journal ───┐
//	    ▲              └───▶ replica ──▶ apply      apply: After(journal, replica)
//	    └─ gates ─────────── all three ──┘
//
// It changes under mu and is read without: both kinds of lists are replaced, never written to. Producers wait
// for every consumer and not only for the last of each path, because one that is added after another may
// start in front of it.
type graph struct {
	gates atomic.Pointer[[]*stage] // all consumers, or the sink alone
	sink  stage                    // stands for the consumers of a ring that has none

	mu     sync.Mutex // guards the following, and changes of gates and of deps
	meters []*meter   // one per producer
}

func (g *graph) init(start int64) {
	g.sink.released.value.Store(start)
	g.gates.Store(&[]*stage{&g.sink})
}

// consumers lists the stages that are not the sink.
func (g *graph) consumers() []*stage {
	list := *g.gates.Load()
	if list[0] == &g.sink {
		return nil
	}
	return list
}

// ConsumerOption is an option of [Ring.Consumer].
type ConsumerOption func(*consumerOptions)

type consumerOptions struct {
	name string
	deps []*stage
}

// Named gives the consumer a name in [Stats].
func Named(name string) ConsumerOption {
	return func(o *consumerOptions) { o.name = name }
}

// After makes the consumer see a slot only when all of the given consumers of the same ring have released
// it, with whatever they wrote into it. Pipelines and diamonds are made of it.
func After[T any](consumers ...*Consumer[T]) ConsumerOption {
	return func(o *consumerOptions) {
		for _, c := range consumers {
			if !slices.Contains(o.deps, &c.stage) {
				o.deps = append(o.deps, &c.stage)
			}
		}
	}
}

// Consumer adds a consumer that sees everything published from now on, also while producers publish. It
// fails with ErrClosed on a sealed ring, and on After a consumer that is closed or belongs to another
// ring.
func (r *Ring[T]) Consumer(options ...ConsumerOption) (*Consumer[T], error) {
	var o consumerOptions
	for _, option := range options {
		option(&o)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed() {
		return nil, ErrClosed
	}
	present := r.consumers()
	for _, s := range o.deps {
		if !slices.Contains(present, s) {
			return nil, fmt.Errorf("ringbuf: After consumer %q, which is closed or of another ring", s.name)
		}
	}
	c := &Consumer[T]{ring: r}
	c.name = o.name
	c.lot.barrier = !r.fenced
	c.deps.Store(&o.deps)
	// Twice: from the swap on producers wait for c, so the second sequence is at or after everything that
	// any of them took for released before (see slowest); until then the first holds them up.
	c.released.value.Store(r.published())
	gates := append(slices.Clone(present), &c.stage)
	r.gates.Store(&gates)
	start := r.published()
	c.released.value.Store(start)
	c.next, c.read, c.seen, c.boundary = start, start, start, start
	// Producers that waited without a consumer wait for this one now; and the second sequence may have
	// made room that those who released before could not see.
	r.readers.wake()
	r.writers.wake()
	return c, nil
}

// published is the sequence of a claim before which everything is published. It is not enough to begin at the
// last claim: if the others close, a consumer may be all that keeps producers from slots that one of
// them still writes. The caller has mu.
func (r *Ring[T]) published() int64 {
	if !r.shared() {
		return r.claimed()
	}
	at := r.sink.released.value.Load()
	for _, s := range *r.gates.Load() {
		at = max(at, s.released.value.Load())
	}
	return r.follow(at)
}

// follow is the end of the published claims from at on, which is where a claim begins. If claims of a later
// lap are found it stops there: what comes before was published, too.
func (r *Ring[T]) follow(at int64) int64 {
	for n, _ := r.claimAt(at); n != 0; n, _ = r.claimAt(at) {
		at += n
	}
	return at
}

// remove takes a consumer out: what came after it comes after what it came after.
func (r *Ring[T]) remove(c *Consumer[T]) {
	r.mu.Lock()
	c.closed.Store(true)
	var gates []*stage
	for _, s := range r.consumers() {
		if s != &c.stage {
			gates = append(gates, s)
		}
	}
	for _, s := range gates {
		if deps := *s.deps.Load(); slices.Contains(deps, &c.stage) {
			s.deps.Store(without(deps, &c.stage))
		}
	}
	if len(gates) == 0 {
		// Everything before boundary is published, and nobody needs it any more.
		r.sink.released.value.Store(max(r.sink.released.value.Load(), c.boundary))
		gates = []*stage{&r.sink}
	}
	r.gates.Store(&gates)
	r.mu.Unlock()
	r.wakeAll()
	c.lot.wake()
}

// without is the list with a stage replaced by what that depends on itself.
func without(deps []*stage, gone *stage) *[]*stage {
	var list []*stage
	for _, s := range slices.Concat(deps, *gone.deps.Load()) {
		if s != gone && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return &list
}

// wakeAll wakes whoever sleeps anywhere in the ring, after something that concerns all.
func (r *Ring[T]) wakeAll() {
	r.readers.wake()
	r.writers.wake()
	for _, s := range r.consumers() {
		s.lot.wake()
	}
}
