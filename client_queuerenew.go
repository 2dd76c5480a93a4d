package leat

import (
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// The writer of a stream keeps the leases running of records that wait here for the loop, so that one that is
// given to the loop has at least half of its lease left. It does so four times in the length of a lease, and
// leaves out what came since the last time. A loop that took nothing and answered nothing for half a lease
// gets no more of it: what waits goes to others when the leases end, and is not given to the loop then.
const renewals = 4

// renewEvery is how often that is; not more often than a writer can be bothered with.
func (s *queueSession) renewEvery() time.Duration {
	lease := s.lease
	if lease <= 0 {
		lease = core.QueueLease
	}
	return max(lease/renewals, 10*time.Millisecond)
}

// renew leaves extensions of what waits to the writer. A lease belongs to all records of a grant, also to
// those that the loop has of the grant under way.
func (s *queueSession) renew() {
	q := s.queue()
	now := q.client.clock.Mono()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.moved {
		q.moved, q.movedAt = false, now
	}
	if s.over.Load() || s.leaving || s.lease == 0 {
		return
	}
	goesOn := now-q.movedAt < int64(s.lease)/2
	for g := s.first; g != nil; {
		following := g.next
		switch {
		case g.renewed == 0:
			g.renewed = now
		case !g.waits.Load():
		case goesOn:
			s.tellLocked(wire.SettleExtend, g, g.open, 0, "")
			g.renewed = now
		case now-g.renewed >= int64(s.lease): // it is over at the node, or will be in a moment
			s.answeredLocked(g, g.open)
			q.changed.Store(true)
		}
		g = following
	}
}
