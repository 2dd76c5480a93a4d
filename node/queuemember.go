package node

import (
	"context"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// queueMember is one member of a queue group on this node: a subscription of this process, or a stream of a
// client. It asks for records when it has none left to deliver; until it got some it waits, and the group
// hands them to it when there are some.
type queueMember struct {
	group   *queueGroup
	id      int64
	name    string
	max     int32 // records it may have
	sleeper *sleeper

	dirty  atomic.Bool // it acked since the group looked
	fed    atomic.Bool // granted has grants
	full   atomic.Bool // it waits, and has as many records as it may
	taken  atomic.Bool // its loop has used up a grant since renew looked
	closed atomic.Bool // it left, or the group ended

	// The following is guarded by the group's lock.
	held    int32         // records it has, as far as core.Queue knows
	out     []*queueGrant // with records that are not answered
	granted []*queueGrant // handed out and not taken by the loop; they are in out, too
	spare   []queueGrant
	lender  *queueLender // of those who pull; nil for a member of its own
	loops   bool         // what it is handed waits in this process for a loop
	moved   bool         // it asked or answered since movedAt
	movedAt int64
	sweep   bool // out has grants that are over; dirty would keep acked from asking for a look
	waiting bool
	err     error // why the group ended
}

// acked notes that a record was acked. The group looks within foldEvery, or when the member asks for more.
func (m *queueMember) acked() {
	if !m.dirty.Load() {
		m.dirty.Store(true)
		m.group.foldSoon()
	}
	if m.sleeper.parked.Load() {
		m.sleeper.rouse()
	}
}

// room is how many records more it may be handed. The group's lock must be held.
func (m *queueMember) room() int32 {
	if m.lender != nil {
		return m.lender.room()
	}
	return m.max - m.held
}

// newGrant gives memory for a grant. The group's lock must be held.
func (m *queueMember) newGrant() *queueGrant {
	if len(m.spare) == 0 {
		m.spare = make([]queueGrant, grantChunk)
	}
	g := &m.spare[0]
	m.spare = m.spare[1:]
	return g
}

// pending reports whether asking makes sense.
func (m *queueMember) pending() bool {
	if m.fed.Load() || m.closed.Load() || m.full.Load() && m.dirty.Load() {
		return true
	}
	return !m.full.Load() && m.group.pending()
}

// take moves what was handed out to into, asking for it if there is none. It reports an error when the
// member has left, or the group has ended.
func (m *queueMember) take(into []*queueGrant) ([]*queueGrant, error) {
	g := m.group
	g.mu.Lock()
	if m.closed.Load() {
		defer g.mu.Unlock()
		if m.err != nil {
			return into, m.err
		}
		return into, core.NewError(core.CodeClosed, g.topic.op("subscription to"), nil)
	}
	if len(m.granted) == 0 {
		g.ask(m)
	}
	into = append(into, m.granted...)
	clear(m.granted)
	m.granted = m.granted[:0]
	m.fed.Store(false)
	g.unlock()
	return into, nil
}

// leave ends the membership: what was acked is stored when it returns, the rest is delivered again and not
// counted as an attempt.
func (m *queueMember) leave(ctx context.Context) error {
	g := m.group
	g.mu.Lock()
	if m.closed.Load() {
		g.mu.Unlock()
		return nil
	}
	g.drop(m, core.QueueLeave)
	g.unlock()
	m.sleeper.force()
	return g.commit(ctx)
}
