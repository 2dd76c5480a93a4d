package mmaplog

import (
	"sync"
	"sync/atomic"
)

// quietState is what the watcher knows of a log.
type quietState struct {
	noted atomic.Bool // the log is in watcher.logs
	end   int64       // of the log when it was looked at; owned by the watcher
}

// watcher has a checkpoint written of each log that got quiet: everything is durable, and nothing was
// published for a FlushEvery. One goroutine per store, which sleeps while no log was synced.
type watcher struct {
	store *Store
	wake  chan struct{} // capacity 1
	quit  chan struct{}

	mu   sync.Mutex
	logs []*Log // guarded by mu; each at most once
}

// note has a log watched until it is quiet. It does not block.
func (q *watcher) note(l *Log) {
	if !l.quiet.noted.CompareAndSwap(false, true) {
		return
	}
	q.mu.Lock()
	q.logs = append(q.logs, l)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run looks every FlushEvery as long as there is a log that is not quiet.
func (q *watcher) run() {
	for {
		select {
		case <-q.wake:
		case <-q.quit:
			return
		}
		for q.look() {
			timer := q.store.opts.Clock.NewTimer(q.store.opts.FlushEvery)
			select {
			case <-timer.C():
			case <-q.quit:
				timer.Stop()
				return
			}
		}
	}
}

// look asks for checkpoints of the logs that are quiet, and reports whether there are others.
func (q *watcher) look() bool {
	q.mu.Lock()
	logs := q.logs
	q.logs = nil
	q.mu.Unlock()
	kept := logs[:0]
	for _, l := range logs {
		end := l.End()
		switch {
		case l.closed.Load() || l.Fenced() != nil:
			l.quiet.noted.Store(false)
		case end != l.quiet.end || end != l.DurableEnd() || l.recentlyKept():
			l.quiet.end = end
			kept = append(kept, l)
		case !l.keepAsked.CompareAndSwap(false, true):
			kept = append(kept, l)
		default:
			l.quiet.noted.Store(false) // before the job looks at the durable end
			q.store.janitor.do(func() {
				l.keepAsked.Store(false)
				l.keepQuiet()
			})
		}
	}
	clear(logs[len(kept):])
	q.mu.Lock()
	q.logs = append(q.logs, kept...)
	q.mu.Unlock()
	return len(kept) > 0
}

// keepQuiet writes the checkpoint of a log that got quiet. It runs on the janitor.
func (l *Log) keepQuiet() {
	if c := &l.keep.file.check; c.segment != 0 && c.at.offset == l.DurableEnd() {
		return
	}
	l.keepState("checkpoint of a quiet log", l.checkpointAtEnd)
}
