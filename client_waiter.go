package leat

import (
	"context"
	"sync"
	"sync/atomic"
)

// States of a clientWaiter.
const (
	waiterArmed     uint32 = iota // its caller waits, or is about to
	waiterDone                    // the outcome is there, and a token in wake
	waiterAbandoned               // its caller has gone; whoever completes it frees it
)

// clientWaiter is where one synchronous publish waits for its receipt.
type clientWaiter struct {
	state atomic.Uint32
	wake  chan struct{} // capacity 1
	home  *sync.Pool

	receipt Receipt // written before waiterDone, read after
	err     error
}

// newWaiter takes a waiter of a producer. They stay with it: a channel of a test in virtual time must not
// be used outside of it.
func (p *remoteProducer) newWaiter() *clientWaiter {
	w, ok := p.waiters.Get().(*clientWaiter)
	if !ok {
		w = &clientWaiter{wake: make(chan struct{}, 1), home: &p.waiters}
	}
	w.state.Store(waiterArmed)
	return w
}

func (w *clientWaiter) free() {
	w.receipt, w.err = Receipt{}, nil
	w.home.Put(w)
}

// complete hands the outcome over. It never blocks: the token has room.
func (w *clientWaiter) complete(r Receipt, err error) {
	w.receipt, w.err = r, err
	if w.state.Swap(waiterDone) == waiterAbandoned {
		w.free()
		return
	}
	w.wake <- struct{}{}
}

// await waits for the outcome and frees the waiter. If ctx ends first the record may or may not be stored.
func (w *clientWaiter) await(ctx context.Context) (Receipt, error) {
	select {
	case <-w.wake:
	case <-ctx.Done():
		if w.state.CompareAndSwap(waiterArmed, waiterAbandoned) {
			return Receipt{}, ctx.Err()
		}
		<-w.wake // the outcome came in between, and its token with it
	}
	receipt, err := w.receipt, w.err
	w.free()
	return receipt, err
}
