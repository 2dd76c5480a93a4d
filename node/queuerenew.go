package node

import (
	"time"

	"github.com/leatbus/leat/core"
)

// renewals is how often in the length of a lease those leases are renewed that wait in this process for a
// loop, so that one that is handed to the loop has at least half of it left.
const renewals = 4

// renewLeast bounds how often that is.
const renewLeast = 10 * time.Millisecond

// renew keeps the leases running of what waits for a loop that goes on.
func (o *queueOwner) renew(now int64) {
	g := o.group
	every := max(int64(g.cfg.Lease)/renewals, int64(renewLeast))
	if now < o.renewAt && o.renewAt <= now+every { // else the group had a longer lease before
		return
	}
	o.renewAt = now + every
	for _, m := range g.members {
		g.renewWaiting(m, now)
	}
}

// renewWaiting extends what waits for the loop of a member, unless that took nothing and answered nothing for
// half a lease: then others are to have it. A lease belongs to all records of a grant, also to those that the
// loop has of the grant under way.
func (g *queueGroup) renewWaiting(m *queueMember, now int64) {
	if m.taken.Swap(false) || m.moved {
		m.moved, m.movedAt = false, now
	}
	if !m.loops || now-m.movedAt >= int64(g.cfg.Lease)/2 {
		return
	}
	for _, grant := range m.out {
		if grant.waits.Load() {
			g.prolong(grant, grant.known, now)
		}
	}
}

// looping reports whether a member has something that may wait for its loop.
func (g *queueGroup) looping() bool {
	for _, m := range g.members {
		if m.loops && len(m.out) > 0 {
			return true
		}
	}
	return false
}

// extend begins the lease of records anew that a member was handed together. It gives those that are not the
// member's any more.
func (g *queueGroup) extend(grant *queueGrant, bits uint64) (late uint64) {
	g.mu.Lock()
	defer g.unlock()
	now := g.now()
	if !grant.member.closed.Load() {
		g.revoke(grant.part, now)
	}
	left := bits & grant.left.Load()
	if left != 0 {
		grant.member.moved = true
		g.prolong(grant, left, now)
		g.nudge = true
	}
	return bits &^ left
}

// prolong begins the lease of records of a grant anew, if it is not over. The lock must be held.
func (g *queueGroup) prolong(grant *queueGrant, bits uint64, now int64) {
	p := grant.part
	g.revoke(p, now)
	if bits &= grant.known; bits == 0 {
		return
	}
	in := core.QueueInput{Kind: core.QueueExtend, Member: grant.member.id, Grant: grant.core(bits)}
	g.step(p, &in, now)
	p.deadline = p.q.NextDeadline()
}
