package actors

import (
	"sync"
	"sync/atomic"
)

// systemLane queues what must always get through: lifecycle messages. It has no bound, for a supervisor
// that waited for its child would deadlock with it, and needs none: an actor has few supervisors,
// watchers and children. Anybody pushes; the mailbox's run pops.
type systemLane struct {
	queued atomic.Int32 // len(queue), so that looking costs no lock

	mu    sync.Mutex
	queue []any // guarded by mu
}

func (l *systemLane) push(msg any) {
	l.mu.Lock()
	l.queue = append(l.queue, msg)
	l.queued.Store(int32(len(l.queue)))
	l.mu.Unlock()
}

func (l *systemLane) pop() (any, bool) {
	if l.queued.Load() == 0 {
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	msg := l.queue[0]
	l.queue[0] = nil
	if l.queue = l.queue[1:]; len(l.queue) == 0 {
		l.queue = nil // lifecycle messages are rare: an idle actor keeps no memory for them
	}
	l.queued.Store(int32(len(l.queue)))
	return msg, true
}

func (l *systemLane) pending() bool { return l.queued.Load() != 0 }
