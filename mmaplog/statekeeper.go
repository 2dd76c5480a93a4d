package mmaplog

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
)

// The state file is written by the janitor, or by whoever waits for it to do so:
//
//   - after a segment was started, and when the log got quiet, with a checkpoint: recovery reads from there
//     on, and knows that what lies before was durable;
//   - at an orderly close, with a clean mark: recovery reads nothing. The writer has the mark taken away
//     before it appends for the first time after that;
//   - when half of the reserved offsets are used, see ceiling.go.
//
// The first two are at most once a second per log.
const keepEvery = time.Second

// stateKeeper is a log's state file as it is on the disk. It belongs to recovery, then to the janitor.
type stateKeeper struct {
	file    stateFile // without the bytes of saved
	parents bool      // the folders above the log's own are durable
}

// keepState replaces the state file with what is known now and a checkpoint, and logs a failure: what
// is there stays valid.
func (l *Log) keepState(why string, place func() (checkpoint, error)) {
	if l.closed.Load() || l.Fenced() != nil || l.keep.file.clean {
		return
	}
	at, err := place()
	if err == nil {
		err = l.replaceState(func(f *stateFile) { f.advance(&at) })
	}
	if err != nil && !l.closed.Load() {
		l.store.opts.Logger.Warn("cannot write the state of a log", "topic", l.topic, "partition", l.partition,
			"for", why, "err", err)
	}
}

// advance sets the checkpoint, unless it would go back.
func (f *stateFile) advance(to *checkpoint) {
	if to.segment != 0 && to.at.index >= f.check.at.index {
		f.check = *to
	}
}

// replaceState writes the state file anew. A clean mark stays only if change sets it.
func (l *Log) replaceState(change func(*stateFile)) error {
	next := l.keep.file
	next.clean = false
	next.boot = l.store.boot
	next.produced = l.produced.Load()
	if s := l.state.Load(); s != nil && s.at.offset <= l.DurableEnd() && l.state.CompareAndSwap(s, nil) {
		next.saved = s
	} else if next.saved != nil {
		old, _, err := l.readState()
		if err != nil {
			l.store.opts.Logger.Warn("the state of producers is lost", "topic", l.topic, "partition", l.partition,
				"err", err)
		}
		next.saved = old.saved
	}
	change(&next)
	if !l.keep.parents { // before the file is there, which tells of them
		if err := l.store.syncParents(l.topic); err != nil {
			return err
		}
		l.keep.parents = true
	}
	if err := l.replaceStateFile(next.encode(l.topic, l.partition)); err != nil {
		return err
	}
	if next.saved != nil {
		next.saved = &savedState{at: next.saved.at}
	}
	l.keep.file = next
	l.keptAt.Store(1 + l.store.opts.Clock.Mono())
	return nil
}

// checkpointAtRoll is the start of the newest segment that begins in what is durable.
func (l *Log) checkpointAtRoll() (checkpoint, error) {
	durable := l.DurableEnd()
	list := l.segs.recent()
	for i := len(list) - 1; i >= 0; i-- {
		if s := list[i]; s.entrySynced.Load() && s.header.base.offset <= durable {
			return checkpoint{segment: s.header.id, pos: headerSize, at: s.start()}, nil
		}
	}
	return checkpoint{}, nil
}

// checkpointAtEnd is the durable end, found by the headers of the frames behind what is known already.
func (l *Log) checkpointAtEnd() (checkpoint, error) {
	at, err := l.checkpointAtRoll()
	if at.segment == 0 || err != nil {
		return at, err
	}
	if known := l.keep.file.check; known.segment == at.segment {
		at = known
	}
	durable := l.DurableEnd()
	for _, s := range l.segs.recent() {
		if s.header.id == at.segment {
			err = l.walkHeaders(s, &at, func(h *core.FrameHeader) bool { return h.NextOffset() <= durable })
		}
	}
	if errors.Is(err, errNotExist) {
		return checkpoint{}, nil // trimmed meanwhile
	}
	return at, err
}

// askCheckpoint has a checkpoint written after a segment was started.
func (l *Log) askCheckpoint() {
	if l.recentlyKept() || !l.keepAsked.CompareAndSwap(false, true) {
		return
	}
	l.store.janitor.do(func() {
		l.keepAsked.Store(false)
		if at, _ := l.checkpointAtRoll(); at.at.index > max(l.keep.file.check.at.index, 1) {
			l.keepState("checkpoint at a roll", l.checkpointAtRoll)
		}
	})
}

func (l *Log) recentlyKept() bool {
	at := l.keptAt.Load()
	return at != 0 && l.store.opts.Clock.Mono()-at < int64(keepEvery)
}

// closeState leaves a clean mark, if everything is durable. The writer has stopped. It runs on the janitor.
func (l *Log) closeState() {
	w, list := &l.w, l.segs.recent()
	if l.Fenced() != nil || len(list) == 0 || w.open.records > 0 || len(w.rolled) > 0 ||
		w.next.offset != l.End() || l.DurableEnd() != l.End() || l.keep.file.clean {
		return
	}
	last := list[len(list)-1]
	at := checkpoint{segment: last.header.id, pos: last.published.Load(), at: w.next}
	err := l.replaceState(func(f *stateFile) { f.check, f.clean = at, true })
	if err != nil {
		l.store.opts.Logger.Warn("cannot write the state of a log", "topic", l.topic, "partition", l.partition,
			"for", "clean mark", "err", err)
	}
}

// closeStates leaves clean marks in the given logs, whose writers have stopped, and waits for it.
func (s *Store) closeStates(logs []*Log) {
	_ = s.janitor.wait(func() error {
		var next atomic.Int64
		var workers sync.WaitGroup
		for range min(syncWorkers, len(logs)) {
			workers.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(logs)); i = next.Add(1) - 1 {
					logs[i].closeState()
				}
			})
		}
		workers.Wait()
		return nil
	})
}

// setProduced notes that there may be frames of producers. It belongs to the writer, or to recovery.
func (l *Log) setProduced() {
	l.w.produced = true
	l.produced.Store(true)
}

// unmark takes the clean mark away before the first append after opening, on the janitor, and waits.
func (l *Log) unmark() error {
	err := l.store.janitor.wait(func() error {
		if !l.keep.file.clean {
			return nil
		}
		if l.reserves() && !l.keep.file.boot.same(l.store.boot) {
			return l.replaceState(func(*stateFile) {}) // it has to tell of this start of the machine
		}
		err := l.removeCleanMark()
		l.keep.file.clean = err != nil
		return err
	})
	l.w.marked = err != nil
	return ioError(l.name(), err)
}
