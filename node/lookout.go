package node

import "sync/atomic"

// overdueLooks is how many looks at work that may wait lie between two that count: a few microseconds.
const overdueLooks = 8

// lookout is how the executor decides whether to take the lock. Publishers that do not wait for receipts
// journal their own backlog, each batch in the cache of the processor that made it; an executor that took
// every entry as it comes would fetch them all from there, and slow the publisher by looking. So it takes
// what somebody waits for at once, and anything else when nobody has taken the lock for some looks.
type lookout struct {
	urgent atomic.Bool // somebody waits for what was committed, and does not journal it
	_      [124]byte

	// The following is owned by the executor.
	looks int
	turn  uint32 // the lock's count at the last look that counted
}

// due reports whether the executor should take the lock.
func (s *shard) due() bool {
	return s.lookout.urgent.Load() || s.synced.any() || s.tasks.any() || !s.slab.Empty() && s.overdue()
}

// urge says that somebody waits for what was committed. The executor must be awake or be woken.
func (s *shard) urge() {
	if !s.lookout.urgent.Load() {
		s.lookout.urgent.Store(true)
	}
}

// overdue reports whether nobody has taken the lock for some looks.
func (s *shard) overdue() bool {
	l := &s.lookout
	if l.looks++; l.looks%overdueLooks != 0 {
		return false
	}
	turn := s.lock.turns.Load()
	same := turn == l.turn
	l.turn = turn
	return same
}
