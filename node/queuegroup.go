package node

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
)

// queueGroup is a queue group, or key-shared group, on one topic: the shell of a core.Queue for each
// partition that this node has. What happens, happens under its lock, in batches: a member that has nothing
// left asks for more, and takes its acks along. What waits for the disk or for time is done by the owner, a
// goroutine (queueowner.go).
//
//	member ──asks, with its acks──▶ core.Queue ──grants──▶ that member, and others that wait
//	owner  ──time, keys, dead letters, marks──▶    │
//	       ◀──────────── records for __groups ─────┘
//
// Members have room in a core.Queue only while it is stepped to feed them, so that what a member may have is
// shared by all partitions.
type queueGroup struct {
	node    *Node
	topic   *topic
	name    string
	part    *partition // of __groups, where it is stored
	startAt int64      // wall clock less Mono: times of a group do not go back
	sleeper *sleeper   // the owner's
	folding atomic.Bool
	idle    atomic.Int32  // members that wait
	turn    chan struct{} // capacity 1: held while records of it are made and written, for their order
	stop    chan struct{}
	ctx     context.Context // ends with the group
	cancel  context.CancelFunc
	ended   sync.WaitGroup // of the owner, and of burials

	mu sync.Mutex
	// mu guards the following.
	mode    core.GroupMode
	cfg     core.QueueConfig
	filter  *filter.Filter // of the members; nil for none
	parts   []*queuePart
	first   int // of parts: who is looked at first by the next feeding
	members map[int64]*queueMember
	waiting []*queueMember
	lender  *queueLender   // of those who pull, or nil
	spent   []*queueLender // whose readers are to be closed when the lock is given
	ids     int64
	rouse   []*queueMember // to be woken when the lock is given
	nudge   bool           // so is the owner
	running bool           // the owner is there
	over    error          // why the group ended
	acks    int            // since progress was written
	effects core.QueueEffects
	lapsed  []lapsedGrant // scratch of revoke
	log     queueLog
	dying   []dyingRecord
	buried  []buriedRecord
	reasons map[recordRef]string // of records that become dead letters
}

// queuePart is what a group has of one partition. But for seen it is guarded by the group's lock.
type queuePart struct {
	part     *partition
	q        *core.Queue
	seen     atomic.Int64  // the mark as q knows it
	start    int64         // of the log, as q knows it
	last     int64         // when q was stepped last
	deadline int64         // of q
	grants   []*queueGrant // by slot
	want     core.QueueEffect
	keys     keyReader // the owner's
	finding  bool      // keys are asked for
	written  bool      // progress was stored, or is on its way
}

type recordRef struct {
	part   *queuePart
	offset int64
}

// lapsedGrant is one whose lease is over, and what of it was acked before.
type lapsedGrant struct {
	grant *queueGrant
	acked uint64
}

func (g *queueGroup) op(verb string) string {
	return verb + " queue group " + core.Quote(g.name) + " on topic " + core.Quote(g.topic.name)
}

func (g *queueGroup) now() int64 { return g.startAt + g.node.clock.Mono() }

// unlock gives the lock and wakes whom the holder found something for.
func (g *queueGroup) unlock() {
	if g.lender != nil {
		g.lender.serve()
	}
	rouse, nudge, spent := g.rouse, g.nudge, g.spent
	g.rouse, g.nudge, g.spent = nil, false, nil
	g.mu.Unlock()
	for _, l := range spent {
		l.closeReaders()
	}
	for _, m := range rouse {
		m.sleeper.rouse()
	}
	if nudge {
		g.sleeper.force()
	}
}

// foldSoon has the owner look at acks, and store what they come to, within foldEvery.
func (g *queueGroup) foldSoon() {
	if !g.folding.Load() && g.folding.CompareAndSwap(false, true) {
		g.sleeper.force()
	}
}

// pending reports whether a partition has records that no core.Queue knows of.
func (g *queueGroup) pending() bool {
	for _, p := range g.parts { // set once the group has members
		if p.part.log != nil && p.part.highWater.Load() > p.seen.Load() {
			return true
		}
	}
	return false
}

// ask lets a member that has nothing left be handed what there is. The lock must be held.
func (g *queueGroup) ask(m *queueMember) {
	if !m.waiting {
		m.waiting = true
		g.waiting = append(g.waiting, m)
		g.idle.Add(1)
	}
	g.harvest(m)
	m.moved = true
	g.feedAll(g.now())
	m.full.Store(m.waiting && m.room() <= 0)
	if m.waiting && !g.sleeper.parked.Load() {
		g.nudge = true // the owner has to watch the marks
	}
	if !g.folding.Load() {
		g.foldSoon()
	}
}

// unwait notes that a member was handed something, or is gone.
func (g *queueGroup) unwait(m *queueMember) {
	if m.waiting {
		m.waiting = false
		m.full.Store(false)
		g.waiting = slices.DeleteFunc(g.waiting, func(other *queueMember) bool { return other == m })
		g.idle.Add(-1)
	}
}

// harvest takes over what a member acked. The lock must be held.
func (g *queueGroup) harvest(m *queueMember) {
	if !m.dirty.Swap(false) && !m.sweep {
		return
	}
	m.sweep = false
	was := m.held
	kept := m.out[:0]
	for _, grant := range m.out {
		if acked := grant.known &^ grant.left.Load(); acked != 0 {
			g.settle(grant, acked)
		}
		if grant.known != 0 {
			kept = append(kept, grant)
		}
	}
	clear(m.out[len(kept):])
	m.out = kept
	m.moved = m.moved || m.held < was
	if g.acks >= foldAcks {
		g.nudge = true
	}
}

// settle tells core.Queue of acks, at the time of its last step: no lease ends by that.
func (g *queueGroup) settle(grant *queueGrant, acked uint64) {
	n := grant.records()
	grant.known &^= acked
	n -= grant.records()
	grant.member.held -= n
	g.acks += int(n)
	in := core.QueueInput{Kind: core.QueueAck, Member: grant.member.id, Grant: grant.core(acked)}
	g.step(grant.part, &in, grant.part.last)
}

// revoke takes back what is not answered of the grants whose lease is over. It comes before each step with a
// new time: what a step takes from a member, that member must not be able to ack any more.
func (g *queueGroup) revoke(p *queuePart, now int64) {
	if p.deadline == 0 || p.deadline > now {
		return
	}
	g.lapsed = g.lapsed[:0]
	p.q.Ending(now, func(slot int32) {
		grant := p.grants[slot]
		left := grant.left.Swap(0)
		g.lapsed = append(g.lapsed, lapsedGrant{grant, grant.known &^ left})
	})
	for _, l := range g.lapsed {
		if l.acked != 0 {
			g.settle(l.grant, l.acked)
		}
		g.forget(l.grant)
	}
}

// forget ends a grant that core.Queue ends with the next step.
func (g *queueGroup) forget(grant *queueGrant) {
	grant.member.held -= grant.records()
	grant.known = 0
	grant.member.sweep = true
}

// step steps one queue and carries out what it says.
func (g *queueGroup) step(p *queuePart, in *core.QueueInput, now int64) {
	g.effects.Reset()
	p.last = max(p.last, now)
	p.q.Step(in, p.last, &g.effects)
	for i := range g.effects.List {
		g.apply(p, &g.effects.List[i])
	}
}

func (g *queueGroup) apply(p *queuePart, e *core.QueueEffect) {
	switch e.Kind {
	case core.QueueDeliver:
		g.hand(p, e)
	case core.QueueRead:
		p.want, p.finding, g.nudge = *e, true, true
	case core.QueueBury:
		g.dying = append(g.dying, dyingRecord{p, p.q, *e, g.log.storing})
		g.nudge = true
	case core.QueueStore, core.QueueErase:
		g.log.change(p, e, g.reasonOf(p, e.Offset, e.Code))
		g.nudge = true
		if e.Kind == core.QueueErase {
			delete(g.reasons, recordRef{p, e.Offset})
			g.foldSoon()
		}
	case core.QueueStale:
		panic("node: an answer that the grant had let pass was stale")
	}
}

// hand hands records to a member: at once, or when the attempts that were counted before are stored.
func (g *queueGroup) hand(p *queuePart, e *core.QueueEffect) {
	m := g.members[e.Member]
	grant := m.newGrant()
	grant.lo, grant.epoch, grant.slot, grant.attempt = e.Grant.Lo, e.Grant.Epoch, e.Grant.Slot, e.Attempt
	grant.member, grant.part, grant.known = m, p, e.Grant.Left
	grant.left.Store(e.Grant.Left)
	for int(e.Grant.Slot) >= len(p.grants) {
		p.grants = append(p.grants, nil)
	}
	p.grants[e.Grant.Slot] = grant
	m.out = append(m.out, grant)
	m.held += grant.records()
	if e.Attempt > 1 && g.log.holdsBack(grant) {
		if m.lender != nil {
			m.lender.comes(grant)
		}
		return
	}
	g.give(grant)
}

// give lets a member's loop have a grant.
func (g *queueGroup) give(grant *queueGrant) {
	m := grant.member
	if m.closed.Load() {
		return
	}
	if m.loops {
		grant.waits.Store(true)
	}
	m.granted = append(m.granted, grant)
	if m.lender != nil { // it is served, and stops to wait, when the lock is given
		m.lender.gave(grant)
		return
	}
	if !m.fed.Swap(true) {
		g.rouse = append(g.rouse, m)
	}
	g.unwait(m)
}

// feedAll hands what there is to members that wait, beginning with another partition each time.
func (g *queueGroup) feedAll(now int64) {
	if len(g.parts) == 0 {
		return
	}
	g.first = (g.first + 1) % len(g.parts)
	for i := range g.parts {
		p := g.parts[(g.first+i)%len(g.parts)]
		if p.part.log == nil {
			continue
		}
		if p.part.highWater.Load() > p.seen.Load() || p.deadline != 0 && p.deadline <= now ||
			len(g.waiting) > 0 && p.q.Ready() > 0 {
			g.feed(p, nil, now)
		}
	}
}

// feed steps a queue with what has happened, and then with members that wait having room in it. in is what
// the second step is for, or nil.
func (g *queueGroup) feed(p *queuePart, in *core.QueueInput, now int64) {
	g.revoke(p, now)
	if start := p.part.log.Start(); start > p.start {
		p.start = start
		g.step(p, &core.QueueInput{Kind: core.QueueTrimmed, Offset: start}, now)
	}
	end := p.part.highWater.Load()
	p.seen.Store(end)
	g.step(p, &core.QueueInput{Kind: core.QueueReadable, Offset: end}, now)
	if in == nil {
		in = &core.QueueInput{Kind: core.QueueTick}
	}
	if len(g.waiting) == 0 && in.Kind == core.QueueTick {
		p.deadline = p.q.NextDeadline()
		return
	}
	fed := g.offer(p, in)
	g.step(p, in, now)
	p.deadline = p.q.NextDeadline()
	for _, m := range fed {
		p.q.Offer(m.id, 0)
	}
}

// offer opens a queue to the members that wait. What is there is shared out among all members, so that the
// first to ask does not take what others will ask for in a moment.
func (g *queueGroup) offer(p *queuePart, in *core.QueueInput) []*queueMember {
	ready := p.q.Ready() + int64(len(in.Keys))
	share := int32(min(max(ready/int64(max(len(g.members), 1)), 1), math.MaxInt32))
	fed := slices.Clone(g.waiting)
	for _, m := range fed {
		p.q.Offer(m.id, min(max(m.room(), 0), share))
	}
	return fed
}

// absent notes that a partition has no records up to an offset, from one on that was handed out: a log at
// page leaves out as many offsets after a power cut as it had reserved, which are millions.
func (g *queueGroup) absent(of *partition, to int64) {
	g.mu.Lock()
	defer g.unlock()
	for _, p := range g.parts {
		if p.part != of {
			continue
		}
		now := g.now()
		g.revoke(p, now)
		g.step(p, &core.QueueInput{Kind: core.QueueAbsent, Offset: to}, now)
		g.feed(p, nil, now)
		g.nudge = true
	}
}

// answer takes a Nack or a Reject of one record.
func (g *queueGroup) answer(grant *queueGrant, offset int64, in *core.QueueInput, reason string) error {
	g.mu.Lock()
	defer g.unlock()
	p, bit, now := grant.part, grant.bit(offset), g.now()
	if !grant.member.closed.Load() {
		g.revoke(p, now)
	}
	if bit = grant.take(bit); bit == 0 {
		return grant.stale(answerNames[in.Kind], offset)
	}
	in.Member, in.Grant = grant.member.id, grant.core(bit)
	grant.known &^= bit
	grant.member.held--
	grant.member.sweep, grant.member.moved = true, true
	g.stepBecause(p, offset, in, now, reason)
	g.feed(p, nil, now)
	g.nudge = true
	return nil
}

// stepBecause steps a queue with a record that failed. Its reason is kept if it is to become a dead letter.
func (g *queueGroup) stepBecause(p *queuePart, offset int64, in *core.QueueInput, now int64, reason string) {
	if reason == "" {
		g.step(p, in, now)
		return
	}
	ref, before := recordRef{p, offset}, len(g.dying)
	g.reasons[ref] = core.CutReason(reason) // the step stores it
	g.step(p, in, now)
	dies := func(d dyingRecord) bool { return d.part == p && d.Offset == offset }
	if !slices.ContainsFunc(g.dying[before:], dies) {
		delete(g.reasons, ref)
	}
}

// reasonOf gives the reason of a record that is to become a dead letter because of code.
func (g *queueGroup) reasonOf(p *queuePart, offset int64, code core.Code) string {
	if code == 0 {
		return ""
	}
	return g.reasons[recordRef{p, offset}]
}

var answerNames = map[core.QueueInputKind]string{
	core.QueueNack: "nack", core.QueueReject: "reject",
}

// drop takes a member out of the group: what it acked is settled, the rest is delivered again.
func (g *queueGroup) drop(m *queueMember, how core.QueueInputKind) {
	m.closed.Store(true)
	for _, grant := range m.out {
		left := grant.left.Swap(0)
		if acked := grant.known &^ left; acked != 0 {
			g.settle(grant, acked)
		}
		grant.known = 0
	}
	m.out, m.granted, m.held = nil, nil, 0
	g.unwait(m)
	g.spend(m)
	delete(g.members, m.id)
	now := g.now()
	for _, p := range g.parts {
		if p.part.log == nil {
			continue
		}
		g.revoke(p, now)
		g.step(p, &core.QueueInput{Kind: how, Member: m.id}, now)
		g.feed(p, nil, now)
	}
	g.nudge = true
}
