package actors

import (
	"sync/atomic"
	"time"
)

// turnstile is where goroutines wait until something bounded has room again. No wake-up is lost:
//
//	waiter: counts itself → tries again → receives a token
//	other:  makes room    → reads the count → leaves a token
//
// One token is enough for all: whoever got through passes it on while others wait.
type turnstile struct {
	waiters atomic.Int32
	tokens  atomic.Pointer[chan struct{}]
}

// open lets one waiter try again. It costs one load when nobody waits, and never blocks.
func (t *turnstile) open() {
	if t.waiters.Load() == 0 {
		return
	}
	select {
	case t.channel() <- struct{}{}:
	default: // a token lies there already
	}
}

// pass calls try until it reports true, or gives up when done is closed or something comes
// from late (each may be nil). It reports whether try did.
func (t *turnstile) pass(done <-chan struct{}, late <-chan time.Time, try func() bool) bool {
	t.waiters.Add(1)
	passed := t.wait(done, late, try)
	t.waiters.Add(-1)
	t.open()
	return passed
}

func (t *turnstile) wait(done <-chan struct{}, late <-chan time.Time, try func() bool) bool {
	for {
		if try() {
			return true
		}
		select {
		case <-t.channel():
		case <-done:
			return false
		case <-late:
			return try()
		}
	}
}

func (t *turnstile) channel() chan struct{} {
	if c := t.tokens.Load(); c != nil {
		return *c
	}
	c := make(chan struct{}, 1)
	t.tokens.CompareAndSwap(nil, &c)
	return *t.tokens.Load()
}
