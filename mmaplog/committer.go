package mmaplog

import (
	"context"
	"sync"
	"sync/atomic"
)

// Committer lets any number of goroutines append durably to one log, each waiting for the disk. It is the
// log's writer from now on. Those that come while the disk works for others share one write and one sync,
// which the first of them does on its own goroutine (group commit).
//
//	first ── add ── wait for the group, at most half a sync ── write ── sync ──┬── returns
//	others ──────── add ── wait ───────────────────────────────────────────────┘
type Committer struct {
	log *Log

	mu sync.Mutex // held by whoever uses the writer; the write of a group is under it, the sync is not
	// mu guards the following.
	next    *commitGroup // takes appenders; nil if there are none
	leading bool         // somebody writes, syncs or waits to

	gather gather // owned by the leader
}

// commitGroup is appends that are written and synced together.
type commitGroup struct {
	joined atomic.Int64  // guarded by Committer.mu for writing
	err    error         // set before wake is closed
	wake   chan struct{} // a value makes who receives it the leader; closed when the group is done
}

// NewCommitter makes a Committer of l, which must have no other writer.
func NewCommitter(l *Log) *Committer { return &Committer{log: l} }

// Append appends n encoded records, which stay together, with the time now, and returns when they are on
// the disk. Errors are those of Log.Add, of Log.Publish and of Log.SyncTo; after one of ctx the records may
// or may not become durable.
func (c *Committer) Append(ctx context.Context, now int64, records []byte, n int) (base int64, err error) {
	c.lock()
	if c.next == nil {
		c.next = &commitGroup{wake: make(chan struct{}, 1)}
	}
	g := c.next
	if g.joined.Load() == 0 {
		c.log.Begin(now)
	}
	base, err = c.log.Add(records, n)
	if err != nil {
		c.mu.Unlock()
		return base, err
	}
	g.joined.Add(1)
	lead := !c.leading
	c.leading = true
	c.mu.Unlock()
	if !lead {
		if lead, err = g.await(ctx); err != nil {
			return base, err
		}
	}
	if lead {
		c.lead(g)
	}
	return base, g.err
}

// lockTries is about a microsecond; somebody who adds holds mu for a third of that.
const lockTries = 256

// lock locks mu. The members of a group are woken together and all come at once. A Mutex has a goroutine
// that meets another one sleep at once if more are ready to run, and then hands itself over from sleeper to
// sleeper, which takes longer than what is done under it.
func (c *Committer) lock() {
	for range lockTries {
		if c.mu.TryLock() {
			return
		}
	}
	c.mu.Lock()
}

// await returns when the group is done, or its leader has to be the caller.
func (g *commitGroup) await(ctx context.Context) (lead bool, err error) {
	if ctx.Done() == nil {
		_, lead = <-g.wake
		return lead, nil
	}
	select {
	case _, lead = <-g.wake:
		return lead, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// lead writes and syncs a group, which the caller belongs to, and names the leader of the next.
func (c *Committer) lead(g *commitGroup) {
	clock := c.log.store.opts.Clock
	c.gather.wait(clock.Mono, g.joined.Load)
	c.mu.Lock()
	c.next = nil
	end, err := c.log.Publish()
	c.mu.Unlock()
	began := clock.Mono()
	if err == nil {
		// Not the leader's context: the others wait for this too.
		err = c.log.SyncTo(context.Background(), end)
	}
	g.err = err
	took := clock.Mono() - began

	c.mu.Lock()
	next, queued := c.next, int64(0)
	if next != nil {
		queued = next.joined.Load()
	}
	c.gather.note(g.joined.Load(), queued, took)
	if next != nil {
		next.wake <- struct{}{} // one value at most: a group gets one leader
	} else {
		c.leading = false
	}
	c.mu.Unlock()
	close(g.wake)
}
