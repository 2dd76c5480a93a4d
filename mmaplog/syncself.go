package mmaplog

import (
	"context"
	"sync"

	"github.com/leatbus/leat/core"
)

// Sync makes durable what is published when it is called, on the goroutine of the caller: nobody is woken
// to do it. See SyncTo.
func (l *Log) Sync(ctx context.Context) error { return l.SyncTo(ctx, l.End()) }

// SyncTo returns when the durable end has reached end, or End if that is less. If no round of the log is
// running it runs one itself, which calls LogOptions.Durable on the caller's goroutine; else it waits for the
// one that is, and for the next if that does not cover end. So callers that come during a round share the
// next one. It blocks for as long as the disk does; ctx ends only the waiting for others. Errors: that of
// ctx; CodeLogFenced, after which nothing of the log becomes durable any more; CodeClosed.
func (l *Log) SyncTo(ctx context.Context, end int64) error {
	y := l.store.syncer
	end = min(end, l.End())
	var ended <-chan struct{}
	for l.marks.durableEnd.Load() < end {
		if f := l.fence.Load(); f != nil {
			return f
		}
		l.round.waited.Store(true)
		if y.lead(l) {
			l.sync()
			y.end(l)
			continue
		}
		if y.ended.Load() && !l.Syncing() {
			return core.NewError(core.CodeClosed, "sync "+l.name(), nil)
		}
		if ended == nil {
			ended = l.round.waiters.next()
			continue // the round may have ended before that
		}
		select {
		case <-ended:
			ended = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Syncing reports whether a round of the log is running or asked for, so that SyncTo might have to wait for
// somebody else. By the time it returns this may have changed.
func (l *Log) Syncing() bool {
	y := l.store.syncer
	y.mu.Lock()
	defer y.mu.Unlock()
	return l.round.phase != roundIdle
}

// Sync is Log.Sync of several logs of this store, and costs less than that: more than four are made durable
// together where the file system allows it, and the sync of each of a few is a worker's. The first error is
// returned; the other logs are synced nevertheless.
func (s *Store) Sync(ctx context.Context, logs ...*Log) error {
	ends := make([]int64, len(logs))
	for i, l := range logs {
		ends[i] = l.End()
	}
	if mine := s.syncer.leadMany(logs); len(mine) > 0 {
		s.syncer.syncMany(mine)
	}
	var first error
	for i, l := range logs {
		if err := l.SyncTo(ctx, ends[i]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// RequestSyncs is RequestSync of several logs of this store, which get one round together where that is
// possible. It does not block.
func (s *Store) RequestSyncs(logs []*Log) {
	for _, l := range logs {
		l.round.barrier.Add(1) // see RequestSync
		l.round.waited.Store(true)
	}
	s.syncer.request(logs...)
}

// leadMany begins rounds of those logs that syncMany can do together, if they are many, and asks for rounds
// of the others that have something to sync.
func (y *syncer) leadMany(logs []*Log) []*Log {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.ended.Load() {
		return nil
	}
	var mine, others []*Log
	device := uint64(0)
	for _, l := range logs {
		if l.unsynced() == 0 {
			continue
		}
		d := l.flushDevice()
		if device == 0 {
			device = d
		}
		idle := l.round.phase == roundIdle || l.round.phase == roundQueued
		if d == 0 || d != device || !idle {
			others = append(others, l)
			continue
		}
		mine = append(mine, l)
	}
	if len(mine) <= parallelMax {
		mine, others = nil, append(others, mine...)
	}
	for _, l := range mine {
		y.beginLocked(l)
	}
	for _, l := range others {
		y.requestLocked(l)
	}
	return mine
}

// roundWaiters are the callers of SyncTo that wait for the end of somebody else's round.
type roundWaiters struct {
	mu    sync.Mutex
	ended chan struct{} // closed at the end of the round; nil if nobody waits; guarded by mu
}

// next gives what is closed when the running round ends, or the next one.
func (w *roundWaiters) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		w.ended = make(chan struct{})
	}
	return w.ended
}

func (w *roundWaiters) wake() {
	w.mu.Lock()
	ended := w.ended
	w.ended = nil
	w.mu.Unlock()
	if ended != nil {
		close(ended)
	}
}
