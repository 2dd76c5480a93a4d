package core

import "slices"

// rebalance begins a new generation: it sets the target of every partition, gives away the free
// ones and asks for those that have to move. Each member gets its share of partitions, the shares
// differ by at most one, and a member keeps what it owns up to its share, so that as few as
// possible move. It runs after every change of members or partitions and nowhere else.
func (g *Group) rebalance(out *GroupEffects) {
	g.generation++
	g.shareOut()
	g.keep()
	g.fill()
	for i := range g.parts {
		p := &g.parts[i]
		switch {
		case p.owner == nil:
			g.give(int32(i), out)
		case p.owner != p.target && p.revokeBy == 0:
			p.revokeBy = g.now + SessionTimeoutNanos
			g.revoking++
			out.add(GroupEffect{Kind: GroupRevoke, Member: p.owner.id, Partition: int32(i),
				Generation: p.generation})
		}
	}
	g.checkBalance()
}

// shareOut sets every member's quota. Where the shares are not equal, the larger ones go to the
// members that own most.
func (g *Group) shareOut() {
	if len(g.members) == 0 {
		return
	}
	for _, m := range g.members {
		m.owned = 0
	}
	for i := range g.parts {
		if p := &g.parts[i]; p.mayStay() {
			p.owner.owned++
		}
	}
	g.byOwned = append(g.byOwned[:0], g.members...)
	slices.SortStableFunc(g.byOwned, func(a, b *groupMember) int { return int(b.owned - a.owned) })
	share, rest := len(g.parts)/len(g.members), len(g.parts)%len(g.members)
	for i, m := range g.byOwned {
		m.quota = int32(share)
		if i < rest {
			m.quota++
		}
	}
	clear(g.byOwned)
}

// mayStay reports whether the partition has an owner that reads it. One that was asked to release
// it stops anyway, so that keeping the partition there saves nothing.
func (p *groupPartition) mayStay() bool { return p.owner != nil && p.revokeBy == 0 }

// keep leaves partitions with their owners up to the quota, lowest first.
func (g *Group) keep() {
	for i := range g.parts {
		p := &g.parts[i]
		p.target = nil
		if p.mayStay() && p.owner.quota > 0 {
			p.target = p.owner
			p.owner.quota--
		}
	}
}

// fill spreads the rest over the members with quota left, in the order of their ids.
func (g *Group) fill() {
	next := 0
	for i := range g.parts {
		if g.parts[i].target != nil {
			continue
		}
		for next < len(g.members) && g.members[next].quota == 0 {
			next++
		}
		if next == len(g.members) {
			return
		}
		g.parts[i].target = g.members[next]
		g.members[next].quota--
	}
}

// give assigns a partition without an owner to its target, under the current generation.
func (g *Group) give(partition int32, out *GroupEffects) {
	p := &g.parts[partition]
	if p.owner != nil {
		panic("core: partition given away while it has an owner")
	}
	if p.target == nil {
		return
	}
	p.owner, p.generation = p.target, g.generation
	out.add(GroupEffect{Kind: GroupAssign, Member: p.owner.id, Partition: partition,
		Offset: p.committed, Generation: p.generation})
}

// checkBalance asserts that the quotas were used up: they sum to the number of partitions.
func (g *Group) checkBalance() {
	for _, m := range g.members {
		if m.quota != 0 {
			panic("core: assignment left a share unused")
		}
	}
}
