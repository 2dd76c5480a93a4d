package actors

import (
	"context"
	"fmt"
	"sync/atomic"
)

// goroutineThroughput is how many messages one actor handles before others of its thread may run.
const goroutineThroughput = 1024

// Goroutines is a Dispatcher that starts a goroutine whenever a mailbox has something to do. It counts
// them, so that its System can wait.
//
// Invariant: count is 1 for the System until close, plus 1 for each user; once 0 it stays 0.
type Goroutines struct {
	count atomic.Int64
	ended chan struct{} // closed when count reaches 0
}

func newGoroutines() *Goroutines {
	g := &Goroutines{ended: make(chan struct{})}
	g.count.Store(1)
	return g
}

// Goroutines returns the dispatcher of actors that need no thread of their own.
func (s *System) Goroutines() *Goroutines { return s.routines }

// acquire lets close wait for the caller until it calls release; false after close has ended.
func (g *Goroutines) acquire() bool {
	for {
		n := g.count.Load()
		if n == 0 {
			return false
		}
		if g.count.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *Goroutines) release() {
	if g.count.Add(-1) == 0 {
		close(g.ended)
	}
}

// Schedule runs fn on a goroutine of its own. After the System has closed the caller runs it.
func (g *Goroutines) Schedule(fn func()) {
	if !g.acquire() {
		fn()
		return
	}
	go func() {
		defer g.release()
		fn()
	}()
}

// starter is Schedule of one function again and again, without making a closure each time.
func (g *Goroutines) starter(fn func()) func() {
	counted := func() {
		defer g.release()
		fn()
	}
	return func() {
		if !g.acquire() {
			fn()
			return
		}
		go counted()
	}
}

// Throughput is the number of messages handled before the mailbox is scheduled again.
func (g *Goroutines) Throughput() int { return goroutineThroughput }

// close waits until all goroutines have ended. It is called once.
func (g *Goroutines) close(ctx context.Context) error {
	g.release()
	select {
	case <-g.ended:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-g.ended:
		return nil
	default:
		return fmt.Errorf("actors: close: %d goroutines still run: %w", g.count.Load(), ctx.Err())
	}
}
