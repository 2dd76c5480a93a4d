package mmaplog

import (
	"runtime"

	"github.com/leatbus/leat/core"
)

const (
	// pageBytes is the smallest page there is.
	pageBytes = 4 << 10
	// staleLooks is how often a round without news looks for an end that is on its way: microseconds,
	// where a store takes a few hundred nanoseconds to come out.
	staleLooks = 50
)

// roundPlan is what a round makes durable, and what rounds remember of those before.
type roundPlan struct {
	end    int64 // of what the round covers
	index  uint64
	bytes  int64 // published before end, as segment.cum counts
	before int64 // durable end when the round began
	began  int64 // on the clock's Mono
	out    outSegment
	segs   []segmentEnd

	gather     gather
	fenceTold  bool
	dirsSynced bool // the folders above the log's own
	started    bool // a segment became durable with its folder entry in this round
}

// sync is one round: it makes durable what is published now, moves the durable marks and tells the
// callback. It runs on one goroutine at a time per log.
func (l *Log) sync() {
	l.awaitOthers()
	if !l.beginRound() {
		return
	}
	l.store.point("sync.before")
	err := l.syncSegments()
	l.store.point("sync.after")
	l.finishRound(err)
}

// beginRound notes what the round is to cover. It reports false if the log is fenced: a second sync would
// succeed and lie.
func (l *Log) beginRound() bool {
	// Cleared before the end is read: what is published after that marks the log dirty again.
	l.round.dirty.Store(false)
	if l.tellFence() {
		return false
	}
	p := &l.round.plan
	// Index before end before positions: each is covered by the ones read later.
	p.index = l.marks.endIndex.Load()
	p.end = l.marks.end.Load()
	p.bytes = l.writtenBytes()
	p.before = l.marks.durableEnd.Load()
	p.began = l.store.opts.Clock.Mono()
	return true
}

// finishRound moves the marks, or fences the log with the error of a sync.
func (l *Log) finishRound(err error) {
	if outOfFiles(err) { // to sync a folder takes a file: nothing failed but to open that
		l.store.syncer.markDirty(l)
		return
	}
	if err != nil {
		l.fenceWith(ioError(l.name(), err))
		l.tellFence()
		return
	}
	p := &l.round.plan
	took := l.store.opts.Clock.Mono() - p.began
	news := l.moveDurable(p.end, p.index, p.bytes)
	if news {
		p.gather.note(p.end-p.before, l.marks.end.Load()-p.end, took)
		if l.store.opts.Synced != nil {
			l.store.opts.Synced(took, p.end-p.before)
		}
	}
	// A writer that published as the round began may have seen dirty from before: the map sink's end is
	// not out yet when it reads dirty. It is out by now, a system call later, or many loads.
	for i := 0; i < staleLooks && !news && l.marks.end.Load() == p.end; i++ {
		runtime.Gosched()
	}
	if l.marks.end.Load() != p.end {
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
	if l.round.plan.started {
		l.round.plan.started = false
		l.askRetention() // after the mark moved: what is older than the new segment may go only then
		l.askCheckpoint()
	}
	l.store.watcher.note(l)
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
	if !l.round.plan.fenceTold {
		l.round.plan.fenceTold = true
		l.opts.Durable(l.DurableEnd(), f)
	}
	return true
}

// unfinished gives the segments at the log's end that may need a sync or the janitor. Segments are synced
// in order, so what lies before one that is durable and closed is that too.
func (l *Log) unfinished() []*segment {
	list := l.segs.recent()
	i := len(list)
	for i > 0 && (list[i-1].needsSync() || list[i-1].live.Load() != nil) {
		i--
	}
	return list[i:]
}

func (s *segment) needsSync() bool {
	return s.synced.Load() < s.published.Load() || !s.entrySynced.Load()
}

// syncSegments makes durable what was published when it began.
func (l *Log) syncSegments() error {
	l.planSegments()
	l.writeAhead()
	for _, e := range l.round.plan.segs {
		if e.seg.needsSync() {
			if err := l.syncSegment(e.seg, e.to); err != nil {
				return err
			}
		}
		if e.sealed && e.seg.live.Load() != nil {
			l.askCooling()
		}
	}
	return nil
}

// syncSegment makes the bytes of s below position to durable: content first, then, the first time, the
// folder entries that lead to it.
func (l *Log) syncSegment(s *segment, to int64) error {
	res := s.pinned()
	if res == nil {
		return core.Errorf(core.CodeInternal, l.name(), "segment %s was closed before it was synced", s.path)
	}
	defer res.unpin()
	var err error
	switch {
	case res.region == nil:
		to = s.published.Load() // the sync is one of the whole file
		err = res.file.Sync()
	case s.entrySynced.Load():
		s.noteUnmapped(to)
		err = res.region.Sync(s.synced.Load(), to)
	default:
		s.noteUnmapped(to)
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
		l.round.plan.started = true
	}
	s.synced.Store(to)
	return nil
}

// noteUnmapped tells readers that a sync takes whole pages below position to out of the page tables.
func (s *segment) noteUnmapped(to int64) {
	s.unmapped.Store(max(s.unmapped.Load(), to&^(pageBytes-1)))
}

// syncFolders makes the log's folder durable and, once, the folders that hold it.
func (l *Log) syncFolders() error {
	if err := l.store.fs.SyncDir(l.dir); err != nil {
		return err
	}
	if l.round.plan.dirsSynced {
		return nil
	}
	if err := l.store.syncParents(l.topic); err != nil {
		return err
	}
	l.round.plan.dirsSynced = true
	return nil
}
