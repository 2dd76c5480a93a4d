package actors

import (
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// groupActor runs one stream group on one topic: it feeds core.Group, which decides, and carries
// out what comes back. Members are told by control messages, commits go to the CommitLog.
//
//	member actors ──join, heartbeat, commit, revoked──▶ groupActor ──▶ core.Group
//	      ▲                                                │ │
//	      └──────────── orders, fenced, committed ─────────┘ └──▶ commitPipe ──▶ CommitLog
//
// It sleeps until a member talks or core.Group.NextDeadline comes. All fields are owned by the actor.
type groupActor struct {
	system  *System
	clock   clock.Clock
	self    *PID
	group   string
	topicID uint64

	state      *core.Group // nil until the first join tells how many partitions there are
	effects    core.GroupEffects
	generation int32 // to go on from after a reset
	members    map[string]*memberLink
	commits    *commitPipe
	rebalances *rebalances // of all groups

	tick   TimerID
	tickAt int64 // on the clock's Mono; 0 when no tick is set
}

// What a groupActor takes, beside the messages of its commitPipe.
type (
	groupJoin struct {
		member     string
		link       *memberLink
		partitions int32
	}
	groupLeave     struct{ member string }
	groupHeartbeat struct {
		member string
		link   *memberLink
	}
	// groupRevoked says that a member released partitions and that its acks there are stored.
	groupRevoked struct {
		member     string
		link       *memberLink
		partitions []releasedPartition
	}
	// groupCommit carries the newest acks of a member; it counts as a heartbeat. A memberCommitted
	// with the same seq answers it when all of them are stored, also where acks is empty.
	groupCommit struct {
		member string
		link   *memberLink
		seq    uint64
		acks   []PartitionAck
	}
	// groupReset moves the commits of a group without members; it is answered when they are stored.
	groupReset struct {
		partitions int32
		offsets    map[int32]int64
		Reply[struct{}]
	}
	// groupErase removes the commits of a group without members; it is answered when that is stored.
	groupErase struct {
		partitions int32
		Reply[struct{}]
	}
	groupDescribe struct{ Reply[GroupState] }
	groupSnapshot struct{ Reply[[]core.Commit] }
	// groupForget ends the group; the answer is what it has committed.
	groupForget struct{ Reply[[]core.Commit] }
	// groupDrain is answered when no commit waits for the log.
	groupDrain struct{ Reply[struct{}] }
	// groupNudge says that a time has come, or that an append has ended: every message looks at both.
	groupNudge struct{}
)

// Abandoned tells the member that it is not in the group.
func (m groupJoin) Abandoned(err error) { m.link.tell(memberFenced{err}) }

// Abandoned lets the member try again.
func (m groupRevoked) Abandoned(err error) { m.link.tell(memberUndelivered{m, err}) }

// Abandoned lets the member try again.
func (m groupCommit) Abandoned(err error) { m.link.tell(memberUndelivered{m, err}) }

func newGroupActor(c *Coordinator, key groupKey, stored commits) *groupActor {
	return &groupActor{
		system: c.system, clock: c.clock, group: key.group, topicID: key.topicID,
		members: map[string]*memberLink{}, rebalances: &c.rebalances,
		commits: newCommitPipe(c.system, c.clock, c.log, key, stored),
	}
}

// Receive handles one message. It never waits.
func (g *groupActor) Receive(ctx Context) {
	g.self, g.commits.self = ctx.Self(), ctx.Self()
	switch msg := ctx.Message().(type) {
	case groupJoin:
		g.join(msg)
	case groupLeave:
		g.step(&core.GroupInput{Kind: core.GroupLeave, Member: msg.member})
		delete(g.members, msg.member)
		g.setTick()
	case groupHeartbeat:
		g.heard(msg.member, msg.link)
	case groupRevoked:
		g.revoked(msg)
		g.setTick()
	case groupCommit:
		g.commit(msg)
	case groupReset:
		g.administer(msg.partitions, &core.GroupInput{Kind: core.GroupReset, Offsets: msg.offsets}, msg.Reply)
	case groupErase:
		g.administer(msg.partitions, &core.GroupInput{Kind: core.GroupForget}, msg.Reply)
	case groupDescribe:
		msg.Answer(g.describe(), nil)
	case groupSnapshot:
		msg.Answer(g.commits.snapshot(), nil)
	case groupDrain:
		g.commits.await(func(err error) { msg.Answer(struct{}{}, err) })
	case groupForget:
		msg.Answer(g.commits.snapshot(), nil)
		g.end(core.NewError(core.CodeTopicNotFound, "group "+core.Quote(g.group), nil))
		ctx.Stop(g.self)
	case *Restarting:
		g.reset()
	case *Stopping:
		g.end(core.NewError(core.CodeClosed, "group "+core.Quote(g.group), nil))
	}
	g.commits.collect()
	g.endSessions()
}

// begin makes a state that goes on from what was committed.
func (g *groupActor) begin(partitions int32) {
	g.state = core.NewGroup(partitions)
	g.state.RestoreGeneration(g.generation)
	for partition, commit := range g.commits.newest {
		if !commit.Removed {
			g.state.Restore(partition, commit.Offset)
			g.state.RestoreGeneration(commit.Generation)
		}
	}
}

// grow makes sure that the state has the partitions of the topic.
func (g *groupActor) grow(partitions int32) {
	if g.state == nil {
		g.begin(partitions)
	}
	if partitions > g.state.Partitions() {
		g.step(&core.GroupInput{Kind: core.GroupPartitions, Partitions: partitions})
	}
}

func (g *groupActor) join(msg groupJoin) {
	g.members[msg.member] = msg.link
	g.grow(msg.partitions)
	if code := g.step(&core.GroupInput{Kind: core.GroupJoin, Member: msg.member}); code != 0 {
		delete(g.members, msg.member)
		msg.link.tell(memberFenced{g.fault(code, msg.member)})
	}
	g.setTick()
}

// heard renews a member's session. A member that is not in the group any more is told so.
func (g *groupActor) heard(member string, link *memberLink) bool {
	code := core.CodeUnknownMember
	if g.state != nil {
		code = g.step(&core.GroupInput{Kind: core.GroupHeartbeat, Member: member})
	}
	if code != 0 {
		link.tell(memberFenced{g.fault(core.CodeFenced, member)})
		return false
	}
	return true
}

func (g *groupActor) revoked(msg groupRevoked) {
	if !g.heard(msg.member, msg.link) {
		return
	}
	for _, p := range msg.partitions {
		g.step(&core.GroupInput{Kind: core.GroupRevoked, Member: msg.member,
			Partition: p.partition, Generation: p.generation})
	}
}

func (g *groupActor) commit(msg groupCommit) {
	if !g.heard(msg.member, msg.link) {
		msg.link.tell(memberCommitted{seq: msg.seq, err: g.fault(core.CodeFenced, msg.member)})
		return
	}
	var rejected error
	for _, ack := range msg.acks {
		if code := g.step(&core.GroupInput{Kind: core.GroupCommit, Member: msg.member,
			Partition: ack.Partition, Offset: ack.Offset, Generation: ack.Generation}); code != 0 {
			rejected = g.fault(code, msg.member)
		}
	}
	g.commits.await(func(err error) {
		if rejected != nil {
			err = rejected
		}
		msg.link.tell(memberCommitted{seq: msg.seq, err: err})
	})
	g.commits.write()
}

// administer changes the commits of a group without members, and answers when that is stored.
func (g *groupActor) administer(partitions int32, in *core.GroupInput, reply Reply[struct{}]) {
	g.grow(partitions)
	if code := g.step(in); code != 0 {
		reply.Answer(struct{}{}, core.NewError(code, "change group "+core.Quote(g.group), nil))
		return
	}
	g.commits.await(func(err error) { reply.Answer(struct{}{}, err) })
	g.commits.write()
}

// endSessions ticks when a deadline has come.
func (g *groupActor) endSessions() {
	if g.tickAt == 0 || g.clock.Mono() < g.tickAt {
		return
	}
	g.stopTick()
	g.step(&core.GroupInput{Kind: core.GroupTick})
	g.setTick()
}

// setTick makes sure that a tick comes no later than the next deadline. One that comes earlier
// stays: it finds nothing to do and sets the next, which costs less than moving it at every
// heartbeat.
func (g *groupActor) setTick() {
	if g.state == nil {
		return
	}
	due, ok := g.state.NextDeadline()
	if !ok || g.tickAt != 0 && g.tickAt <= due {
		return
	}
	g.stopTick()
	g.tickAt = due
	g.tick = g.system.After(time.Duration(max(due-g.clock.Mono(), 0)), g.self, groupNudge{})
}

func (g *groupActor) stopTick() {
	if g.tickAt != 0 {
		g.system.Cancel(g.tick)
		g.tickAt = 0
	}
}

// step runs the policy on one input, carries out the effects and returns the code of a rejection.
func (g *groupActor) step(in *core.GroupInput) (rejected core.Code) {
	if g.state == nil {
		return core.CodeUnknownMember
	}
	g.effects.Reset()
	g.state.Step(in, g.clock.Mono(), &g.effects)
	var orders memberOrders
	for _, effect := range g.effects.List {
		switch effect.Kind {
		case core.GroupAssign, core.GroupRevoke:
			orders.add(effect)
		case core.GroupFence:
			g.fence(effect.Member)
		case core.GroupPersist:
			g.commits.add(effect.Partition, effect.Offset, effect.Generation)
		case core.GroupRemove:
			g.commits.remove(effect.Partition)
		case core.GroupReject:
			rejected = effect.Code
		}
	}
	if len(orders.list) > 0 {
		g.rebalances.add(g.group, in.Kind)
	}
	for _, order := range orders.list {
		if link := g.members[order.member]; link != nil {
			link.tell(order.orders)
		}
	}
	return rejected
}

// fence tells a member that it is out, before anyone is told that its partitions are theirs.
func (g *groupActor) fence(member string) {
	if link := g.members[member]; link != nil {
		delete(g.members, member)
		link.tell(memberFenced{g.fault(core.CodeFenced, member)})
	}
}

// end lets nobody wait for an actor that is gone.
func (g *groupActor) end(err error) {
	g.fenceAll(err)
	g.commits.end(err)
}

func (g *groupActor) fenceAll(err error) {
	g.stopTick()
	for _, link := range g.members {
		link.tell(memberFenced{err})
	}
	clear(g.members)
}

// reset is what remains after a panic: the commits, and nobody in the group.
func (g *groupActor) reset() {
	g.commits.reset()
	g.fenceAll(core.NewError(core.CodeInternal, "group "+core.Quote(g.group), nil))
	if g.state != nil {
		g.generation, g.state = g.state.Generation(), nil
	}
}

func (g *groupActor) fault(code core.Code, member string) error {
	return core.NewError(code, "group "+core.Quote(g.group)+", member "+member, nil)
}

// memberOrders sorts the assignments and revocations of one step by member, so that each member
// gets one message however many partitions it has.
type memberOrders struct {
	list []memberOrder
	at   map[string]int
}

type memberOrder struct {
	member string
	orders memberAssignment
}

func (o *memberOrders) add(effect core.GroupEffect) {
	if o.at == nil {
		o.at = map[string]int{}
	}
	i, ok := o.at[effect.Member]
	if !ok {
		i = len(o.list)
		o.at[effect.Member] = i
		o.list = append(o.list, memberOrder{member: effect.Member})
	}
	o.list[i].orders = append(o.list[i].orders, effect)
}
