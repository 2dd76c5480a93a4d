package mmaplog

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// syncWorkers bounds how many logs are synced at the same time.
const syncWorkers = 8

// pageBytes is the smallest page there is.
const pageBytes = 4 << 10

// staleLooks is how often a round without news looks for an end that is on its way: microseconds,
// where a store takes a few hundred nanoseconds to come out.
const staleLooks = 50

// syncState is the syncer's part of a log.
type syncState struct {
	dirty     atomic.Bool  // in syncer.dirty, or a round that covers it is under way
	requested atomic.Bool  // a round that has not begun is queued
	barrier   atomic.Int64 // added to where a full barrier is needed; its value means nothing

	phase roundPhase // guarded by syncer.mu

	// Owned by the round; rounds of one log do not overlap.
	fenceTold  bool
	dirsSynced bool // the folders above the log's own
	started    bool // a segment became durable with its folder entry in this round
}

type roundPhase uint8

const (
	roundIdle roundPhase = iota
	roundQueued
	roundRunning
	roundAgain // running, and asked for another one
)

// syncer syncs logs: those somebody waits for at once, the dirty ones every FlushEvery. While a log
// is being synced further requests for it gather into the next round (group commit); different logs
// are synced in parallel.
type syncer struct {
	store *Store
	wake  chan struct{} // capacity 1, for the flusher: there is a dirty log
	quit  chan struct{}

	mu   sync.Mutex
	work sync.Cond // queue or closed changed
	idle sync.Cond // a round ended
	// mu guards the following.
	queue  []*Log
	dirty  []*Log
	closed bool
}

func newSyncer(s *Store) *syncer {
	y := &syncer{store: s, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	y.work.L, y.idle.L = &y.mu, &y.mu
	return y
}

// request queues a round of l. It does not block.
func (y *syncer) request(l *Log) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.requestLocked(l)
}

func (y *syncer) requestLocked(l *Log) {
	if y.closed {
		return
	}
	switch l.round.phase {
	case roundIdle:
		l.round.phase = roundQueued
		y.queue = append(y.queue, l)
		y.work.Signal()
	case roundRunning:
		l.round.phase = roundAgain
	}
	l.round.requested.Store(true)
}

// markDirty tells that l has unsynced bytes: a round begins within FlushEvery.
func (y *syncer) markDirty(l *Log) {
	if !l.round.dirty.CompareAndSwap(false, true) {
		return
	}
	y.mu.Lock()
	y.dirty = append(y.dirty, l)
	y.mu.Unlock()
	select {
	case y.wake <- struct{}{}:
	default:
	}
}

// flush is the flusher's loop: FlushEvery after the first log got dirty it asks for rounds of all.
func (y *syncer) flush() {
	for {
		select {
		case <-y.wake:
		case <-y.quit:
			return
		}
		timer := y.store.opts.Clock.NewTimer(y.store.opts.FlushEvery)
		select {
		case <-timer.C():
		case <-y.quit:
			timer.Stop()
			return
		}
		y.mu.Lock()
		for _, l := range y.dirty {
			y.requestLocked(l)
		}
		y.dirty = y.dirty[:0]
		y.mu.Unlock()
	}
}

// runWorker does rounds until the store closes.
func (y *syncer) runWorker() {
	y.mu.Lock()
	defer y.mu.Unlock()
	for {
		for len(y.queue) == 0 && !y.closed {
			y.work.Wait()
		}
		if len(y.queue) == 0 {
			return
		}
		l := y.queue[0]
		y.queue = append(y.queue[:0], y.queue[1:]...)
		l.round.phase = roundRunning
		l.round.requested.Store(false)
		y.mu.Unlock()
		l.sync()
		y.mu.Lock()
		y.endRoundLocked(l)
	}
}

func (y *syncer) endRoundLocked(l *Log) {
	if l.round.phase == roundAgain {
		l.round.phase = roundQueued
		y.queue = append(y.queue, l)
		y.work.Signal()
		return
	}
	l.round.phase = roundIdle
	y.idle.Broadcast()
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

// sync is one round: it makes durable what is published now, moves the durable marks and tells the
// callback. It runs on one goroutine at a time per log.
func (l *Log) sync() {
	// Cleared before the end is read: what is published after that marks the log dirty again.
	l.round.dirty.Store(false)
	if l.tellFence() {
		return
	}
	// Index before end before positions: each is covered by the ones read later.
	index := l.marks.endIndex.Load()
	end := l.marks.end.Load()
	began, before := l.store.opts.Clock.Mono(), l.marks.durableEnd.Load()
	l.store.point("sync.before")
	bytes, err := l.syncSegments()
	l.store.point("sync.after")
	if err != nil {
		l.fenceWith(ioError(l.name(), err))
		l.tellFence()
		return
	}
	took := l.store.opts.Clock.Mono() - began
	news := l.moveDurable(end, index, bytes)
	if news && l.store.opts.Synced != nil {
		l.store.opts.Synced(took, end-before)
	}
	// A writer that published as the round began may have seen dirty from before: the map sink's end is
	// not out yet when it reads dirty. It is out by now, a system call later, or many loads.
	for i := 0; i < staleLooks && !news && l.marks.end.Load() == end; i++ {
		runtime.Gosched()
	}
	if l.marks.end.Load() != end {
		l.store.syncer.markDirty(l)
	}
}

// moveDurable moves the durable marks and tells the callback, if there is news.
func (l *Log) moveDurable(end int64, index uint64, bytes int64) (news bool) {
	if end == l.marks.durableEnd.Load() {
		return false
	}
	if end < l.marks.durableEnd.Load() {
		panic("mmaplog: durable end moves back")
	}
	l.marks.durableEnd.Store(end)
	l.marks.durableIndex.Store(index)
	l.marks.durableBytes.Store(bytes)
	if l.round.started {
		l.round.started = false
		l.askRetention() // after the mark moved: what is older than the new segment may go only then
	}
	l.askState(end)
	l.opts.Durable(end, nil)
	return true
}

// tellFence tells the callback once that the log is fenced.
func (l *Log) tellFence() bool {
	f := l.fence.Load()
	if f == nil {
		return false
	}
	if !l.round.fenceTold {
		l.round.fenceTold = true
		l.opts.Durable(l.DurableEnd(), f)
	}
	return true
}

// syncSegments makes every published byte durable and returns their count since the log was opened.
func (l *Log) syncSegments() (int64, error) {
	bytes := l.writtenBytes()
	for _, s := range *l.segs.Load() {
		sealed := s.sealed.Load()
		if s.synced.Load() < s.published.Load() || !s.entrySynced.Load() {
			if err := l.syncSegment(s); err != nil {
				return 0, err
			}
		}
		if sealed && s.live.Load() != nil {
			l.askCooling()
		}
	}
	return bytes, nil
}

// syncSegment makes the published bytes of s durable: content first, then, the first time, the
// folder entries that lead to it.
func (l *Log) syncSegment(s *segment) error {
	res := s.pinned()
	if res == nil {
		return core.Errorf(core.CodeInternal, l.name(), "segment %s was closed before it was synced", s.path)
	}
	defer res.unpin()
	to := s.published.Load()
	s.unmapped.Store(to &^ (pageBytes - 1))
	var err error
	switch {
	case res.region == nil:
		err = res.file.Sync()
	case s.entrySynced.Load():
		err = res.region.Sync(s.synced.Load(), to)
	default:
		err = res.region.Sync(0, to)
	}
	if err != nil {
		return err
	}
	if !s.entrySynced.Load() {
		if err := l.syncFolders(); err != nil {
			return err
		}
		s.entrySynced.Store(true)
		l.round.started = true
	}
	s.synced.Store(to)
	return nil
}

// syncFolders makes the log's folder durable and, once, the folders that hold it.
func (l *Log) syncFolders() error {
	if err := l.store.fs.SyncDir(l.dir); err != nil {
		return err
	}
	if l.round.dirsSynced {
		return nil
	}
	if err := l.store.syncParents(l.topic); err != nil {
		return err
	}
	l.round.dirsSynced = true
	return nil
}
