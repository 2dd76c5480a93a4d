package node

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
)

// States of a waiter.
const (
	waiterArmed     uint32 = iota // its publisher is about to look
	waiterParked                  // its publisher sleeps
	waiterDone                    // the outcome is there
	waiterAbandoned               // its publisher's context ended; whoever completes it frees it
)

// waiterYields is how often a publisher lets others run before it sleeps.
const waiterYields = 20

// waiter is where one synchronous publish waits for its outcome. The journal knows it by index,
// because a slab holds no pointers.
type waiter struct {
	index uint32
	state atomic.Uint32
	wake  chan struct{} // capacity 1

	receipt leat.Receipt // written before waiterDone, read after
	err     error
}

// waiters is the table of all waiters; its size is the most publishes that ever waited at once.
type waiters struct {
	all atomic.Pointer[[]*waiter] // copied on write

	mu    sync.Mutex // guards the following
	spare []*waiter
}

func (t *waiters) take() *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.spare); n > 0 {
		w := t.spare[n-1]
		t.spare = t.spare[:n-1]
		w.state.Store(waiterArmed)
		return w
	}
	return t.growLocked()
}

// growLocked doubles the table, so that copying it costs little per waiter.
func (t *waiters) growLocked() *waiter {
	var old []*waiter
	if list := t.all.Load(); list != nil {
		old = *list
	}
	grown := append(make([]*waiter, 0, 2*len(old)+8), old...)
	for len(grown) < cap(grown) {
		w := &waiter{index: uint32(len(grown)), wake: make(chan struct{}, 1)}
		grown = append(grown, w)
		t.spare = append(t.spare, w)
	}
	t.all.Store(&grown)
	w := t.spare[len(t.spare)-1]
	t.spare = t.spare[:len(t.spare)-1]
	return w
}

func (t *waiters) free(w *waiter) {
	w.receipt, w.err = leat.Receipt{}, nil
	t.mu.Lock()
	t.spare = append(t.spare, w)
	t.mu.Unlock()
}

// complete hands an outcome to its publisher.
func (t *waiters) complete(o *outcome) {
	w := (*t.all.Load())[o.ticket]
	w.receipt, w.err = o.receipt(), o.err
	switch w.state.Swap(waiterDone) {
	case waiterParked:
		w.wake <- struct{}{}
	case waiterAbandoned:
		t.free(w)
	}
}

// await waits for the outcome and frees the waiter. If ctx ends first the record may or may not be
// stored.
func (t *waiters) await(ctx context.Context, w *waiter) (leat.Receipt, error) {
	for range waiterYields {
		if w.state.Load() == waiterDone {
			return t.collect(w)
		}
		runtime.Gosched()
	}
	if !w.state.CompareAndSwap(waiterArmed, waiterParked) {
		return t.collect(w)
	}
	select {
	case <-w.wake:
		return t.collect(w)
	case <-ctx.Done():
	}
	if w.state.CompareAndSwap(waiterParked, waiterAbandoned) {
		return leat.Receipt{}, ctx.Err()
	}
	<-w.wake // the outcome came in between, and its token with it
	return t.collect(w)
}

func (t *waiters) collect(w *waiter) (leat.Receipt, error) {
	receipt, err := w.receipt, w.err
	t.free(w)
	return receipt, err
}
