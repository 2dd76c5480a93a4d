package mmaplog

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

const (
	// syncWorkers is how many rounds run at the same time while the disk answers.
	syncWorkers = 8
	// syncWorkersMax is how many there may be when some hang: as many logs may hang before the next one
	// waits. Callers of Sync, which are their own workers, do not count.
	syncWorkersMax = 64
	// stuckAfter is how long requests wait for a worker before there is one more.
	stuckAfter = 50 * time.Millisecond
)

// syncState is the syncer's part of a log.
type syncState struct {
	dirty     atomic.Bool  // in syncer.dirty, or a round that covers it is under way
	requested atomic.Bool  // a round that has not begun is queued
	waited    atomic.Bool  // and somebody waits for it, or for one that follows
	barrier   atomic.Int64 // added to where a full barrier is needed; its value means nothing

	phase  roundPhase // guarded by syncer.mu
	listed bool       // in syncer.queue, maybe for a round that somebody else has done; guarded by syncer.mu

	waiters roundWaiters
	plan    roundPlan // owned by whoever runs the round; rounds of one log do not overlap
}

type roundPhase uint8

const (
	roundIdle roundPhase = iota
	roundQueued
	roundRunning
	roundAgain // running, and asked for another one
)

// syncer syncs logs: those somebody waits for at once, the dirty ones every FlushEvery. While a log
// is being synced further requests for it gather into the next round (group commit). Different logs
// are synced in parallel, and when many are asked for, many in one round, see syncMany. Rounds are run by
// the workers, or by callers that wait for them, see Sync.
type syncer struct {
	store *Store
	wake  chan struct{} // capacity 1, for the flusher: there is a dirty log, or no worker for a request
	quit  chan struct{}
	ended atomic.Bool // the store closes: callers begin no rounds of their own

	mu   sync.Mutex
	work sync.Cond // queue or closed changed
	idle sync.Cond // a round ended
	// mu guards the following.
	queue   []*Log
	dirty   []*Log
	workers int   // goroutines
	free    int   // of them without a round
	taken   int64 // when a worker took a round last, on the clock's Mono
	closed  bool
}

func newSyncer(s *Store) *syncer {
	y := &syncer{store: s, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	y.work.L, y.idle.L = &y.mu, &y.mu
	return y
}

// start begins the syncer's goroutines, which Store.Close waits for.
func (y *syncer) start() {
	y.store.early.Go(y.flush)
	y.mu.Lock()
	defer y.mu.Unlock()
	for range syncWorkers {
		y.addWorkerLocked()
	}
}

func (y *syncer) addWorkerLocked() {
	y.workers++
	y.free++
	y.store.early.Go(y.runWorker)
}

// request queues a round of each log. It does not block.
func (y *syncer) request(logs ...*Log) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, l := range logs {
		y.requestLocked(l)
	}
}

func (y *syncer) requestLocked(l *Log) {
	if y.closed {
		return
	}
	switch l.round.phase {
	case roundIdle:
		y.enqueueLocked(l)
	case roundRunning:
		l.round.phase = roundAgain
	}
	l.round.requested.Store(true)
}

func (y *syncer) enqueueLocked(l *Log) {
	l.round.phase = roundQueued
	if !l.round.listed {
		l.round.listed = true
		y.queue = append(y.queue, l)
	}
	if y.free == 0 {
		y.nudgeFlusher()
	}
	y.work.Signal()
}

// markDirty tells that l has unsynced bytes: a round begins within FlushEvery.
func (y *syncer) markDirty(l *Log) {
	if !l.round.dirty.CompareAndSwap(false, true) {
		return
	}
	y.mu.Lock()
	y.dirty = append(y.dirty, l)
	y.mu.Unlock()
	y.nudgeFlusher()
}

func (y *syncer) nudgeFlusher() {
	select {
	case y.wake <- struct{}{}:
	default:
	}
}

// flush is the flusher's loop: FlushEvery after the first log got dirty it asks for rounds of all. While
// requests wait because every worker has a round, it looks whether those rounds end.
func (y *syncer) flush() {
	var alarm alarm
	defer alarm.set(y.store.opts.Clock, 0, 0)
	flushAt := int64(0)
	for {
		select {
		case <-y.wake:
		case <-alarm.due:
			alarm.at = 0
		case <-y.quit:
			return
		}
		now := y.store.opts.Clock.Mono()
		y.mu.Lock()
		if flushAt == 0 && len(y.dirty) > 0 {
			flushAt = now + int64(y.store.opts.FlushEvery)
		}
		if flushAt != 0 && now >= flushAt {
			flushAt = 0
			y.flushLocked()
		}
		next := flushAt
		if stuckAt := y.relieveLocked(now); stuckAt != 0 && (next == 0 || stuckAt < next) {
			next = stuckAt
		}
		y.mu.Unlock()
		alarm.set(y.store.opts.Clock, now, next)
	}
}

// alarm is a timer that is there only while something is due.
type alarm struct {
	at    int64 // on the clock's Mono; 0 for never
	timer clock.Timer
	due   <-chan time.Time
}

func (a *alarm) set(c clock.Clock, now, at int64) {
	if at == a.at {
		return
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	*a = alarm{at: at}
	if at != 0 {
		a.timer = c.NewTimer(time.Duration(at - now))
		a.due = a.timer.C()
	}
}

func (y *syncer) flushLocked() {
	for _, l := range y.dirty {
		y.requestLocked(l)
	}
	y.dirty = y.dirty[:0]
}

// relieveLocked adds a worker if requests have waited for one for stuckAfter, and says when to look again,
// 0 for not at all.
func (y *syncer) relieveLocked(now int64) int64 {
	if len(y.queue) == 0 || y.free > 0 || y.workers >= syncWorkersMax || y.closed {
		return 0
	}
	if now-y.taken >= int64(stuckAfter) {
		y.taken = now // it will take one
		y.addWorkerLocked()
	}
	return y.taken + int64(stuckAfter)
}

// runWorker does rounds until the store closes, or until there are enough workers without it.
func (y *syncer) runWorker() {
	y.mu.Lock()
	defer y.mu.Unlock()
	var logs []*Log
	for {
		if logs = y.takeLocked(logs[:0]); len(logs) == 0 {
			y.workers--
			y.free--
			return
		}
		y.free--
		y.mu.Unlock()
		y.run(logs)
		clear(logs)
		y.mu.Lock()
		y.free++
	}
}

// takeLocked waits for a request and begins its round, with those of others where syncMany may do them
// together. It gives none when the worker is not needed any more.
func (y *syncer) takeLocked(logs []*Log) []*Log {
	for {
		for len(y.queue) == 0 {
			if y.closed || y.free > syncWorkers {
				return nil
			}
			y.work.Wait()
		}
		first := y.queue[0]
		device := uint64(0)
		if len(y.queue) > parallelMax {
			device = first.flushDevice()
		}
		kept := y.queue[:0]
		for i, l := range y.queue {
			if i > 0 && (device == 0 || len(logs) == manyMax || l.flushDevice() != device) {
				kept = append(kept, l)
				continue
			}
			l.round.listed = false
			if l.round.phase == roundQueued {
				y.beginLocked(l)
				logs = append(logs, l)
			}
		}
		clear(y.queue[len(kept):])
		y.queue = kept
		if len(logs) > 0 {
			y.taken = y.store.opts.Clock.Mono()
			return logs
		}
	}
}

func (y *syncer) beginLocked(l *Log) {
	l.round.phase = roundRunning
	l.round.requested.Store(false)
}

// run runs the rounds that were begun.
func (y *syncer) run(logs []*Log) {
	if len(logs) > 1 {
		y.syncMany(logs)
		return
	}
	logs[0].sync()
	y.end(logs[0])
}

// lead begins a round of l on the caller's goroutine unless one is running or the store closes.
func (y *syncer) lead(l *Log) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.ended.Load() || l.round.phase != roundIdle && l.round.phase != roundQueued {
		return false
	}
	y.beginLocked(l)
	return true
}

// end ends a round that lead or takeLocked began, and wakes who waits for it.
func (y *syncer) end(l *Log) {
	y.mu.Lock()
	if l.round.phase == roundAgain {
		y.enqueueLocked(l)
	} else {
		l.round.phase = roundIdle
		y.idle.Broadcast()
	}
	y.mu.Unlock()
	l.round.waiters.wake()
}

// drain syncs the given logs and returns when none of them has a round queued or running.
func (y *syncer) drain(logs []*Log) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, l := range logs {
		y.requestLocked(l)
	}
	for _, l := range logs {
		for l.round.phase != roundIdle {
			y.idle.Wait()
		}
	}
}

// close ends the goroutines; rounds that are queued are done first.
func (y *syncer) close() {
	close(y.quit)
	y.mu.Lock()
	defer y.mu.Unlock()
	y.closed = true
	y.work.Broadcast()
}
