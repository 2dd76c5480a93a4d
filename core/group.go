package core

import (
	"iter"
	"slices"
	"strings"
)

// GroupInputKind says what happened to a group.
type GroupInputKind uint8

// The inputs of Group.Step.
const (
	// GroupJoin: Member is there, or there again as a new incarnation.
	GroupJoin GroupInputKind = iota + 1
	// GroupLeave: Member goes, its work is committed. Uses Generation.
	GroupLeave
	// GroupHeartbeat: Member is alive. Uses Generation.
	GroupHeartbeat
	// GroupRevoked: Member released Partition, its work there is committed. Uses Generation.
	GroupRevoked
	// GroupCommit: Member is done with Partition below Offset. Uses Generation.
	GroupCommit
	// GroupTick: time passed.
	GroupTick
	// GroupPartitions: the topic now has Partitions partitions.
	GroupPartitions
	// GroupReset: a group without members goes on at Offsets. All or nothing.
	GroupReset
	// GroupForget: a group without members forgets its commits.
	GroupForget
)

// GroupInput is one step's input.
//
// Generation is that of the assignment for GroupCommit, where it must match exactly, and for
// GroupRevoked. For the other kinds it tells the incarnations of a member apart: any generation the
// member saw since it joined is right (Group.Generation after its join, or that of an assignment).
// An older one is fenced; but for GroupCommit, 0 skips the check.
type GroupInput struct {
	Kind       GroupInputKind
	Member     string
	Partition  int32
	Offset     int64
	Generation int32
	Partitions int32
	Offsets    map[int32]int64 // by partition; of GroupReset
}

// GroupEffectKind says what the shell has to do for a group.
type GroupEffectKind uint8

// The effects of Group.Step.
const (
	// GroupAssign: Member owns Partition from Generation on and starts at Offset, −1 for no commit.
	GroupAssign GroupEffectKind = iota + 1
	// GroupRevoke: ask Member to commit and release Partition, which it has under Generation.
	GroupRevoke
	// GroupFence: Member, as it was before this step, is out; Generation is the first without it.
	GroupFence
	// GroupPersist: store Offset and Generation as the commit of Partition, then answer Member.
	GroupPersist
	// GroupRemove: remove the stored commit of Partition.
	GroupRemove
	// GroupReject: answer Code; Member, Partition, Offset and Generation are the input's.
	GroupReject
)

// GroupEffect is one thing the shell has to do after a step.
type GroupEffect struct {
	Kind       GroupEffectKind
	Code       Code
	Member     string
	Partition  int32
	Offset     int64
	Generation int32
}

// GroupEffects is where steps leave their effects, in the order in which they happen. It is owned
// by the caller and reused.
type GroupEffects struct {
	List []GroupEffect
}

// Reset forgets the effects and keeps the memory.
func (e *GroupEffects) Reset() {
	clear(e.List) // lets the member names go
	e.List = e.List[:0]
}

func (e *GroupEffects) add(effect GroupEffect) { e.List = append(e.List, effect) }

// groupMember is one incarnation of a member.
type groupMember struct {
	id       string
	joined   int32 // generation that began with it
	deadline int64 // end of its session unless it is heard of
	owned    int32 // scratch of rebalance: partitions it may keep
	quota    int32 // scratch of rebalance: partitions it gets
}

// groupPartition is the state of one partition in the group.
type groupPartition struct {
	owner      *groupMember // nil where nobody may read
	target     *groupMember // who owns it once the owner let go; nil only without members
	revokeBy   int64        // when the owner has to have released it; 0 where it was not asked
	committed  int64        // −1 where nothing was committed
	generation int32        // of the owner's assignment
}

// Group is the policy of one stream group on one topic: members, generations, sticky cooperative
// assignment, commits and fencing. It is a state machine without I/O or clock, owned by the
// group's actor. Equal inputs give equal effects: it iterates in sorted order only.
//
// Invariant: a partition has at most one owner; it changes hands only after the owner released it,
// left, was replaced or expired, and each time under a higher generation. A committed offset goes
// back by GroupReset only, which begins a generation.
type Group struct {
	generation int32
	revoking   int32 // partitions whose owner was asked to release them
	now        int64
	members    []*groupMember // sorted by id
	parts      []groupPartition
	byOwned    []*groupMember // scratch of rebalance
}

// NewGroup starts an empty group on a topic of so many partitions, from 1 to MaxPartitions.
func NewGroup(partitions int32) *Group {
	if partitions < 1 || partitions > MaxPartitions {
		panic("core: group on a topic of impossible size")
	}
	g := &Group{}
	g.grow(partitions)
	return g
}

func (g *Group) grow(partitions int32) {
	for int32(len(g.parts)) < partitions {
		g.parts = append(g.parts, groupPartition{committed: -1})
	}
}

// Restore sets the committed offset of a partition, −1 for none, from a stored commit; the last one
// counts. It is called before the first step. Partitions the topic does not have are ignored.
func (g *Group) Restore(partition int32, offset int64) {
	if g.has(partition) {
		g.parts[partition].committed = max(offset, -1)
	}
}

// RestoreGeneration makes generations go on after the highest stored one, so that a member from
// before a restart stays fenced. It is called before the first step.
func (g *Group) RestoreGeneration(generation int32) { g.generation = max(g.generation, generation) }

// Committed is the committed offset of a partition: the first one not done. −1 means none.
func (g *Group) Committed(partition int32) int64 {
	if !g.has(partition) {
		return -1
	}
	return g.parts[partition].committed
}

// Commits iterates over the partitions with a commit, ascending, and their committed offsets.
func (g *Group) Commits() iter.Seq2[int32, int64] {
	return func(yield func(int32, int64) bool) {
		for i := range g.parts {
			if at := g.parts[i].committed; at >= 0 && !yield(int32(i), at) {
				return
			}
		}
	}
}

// Members gives the ids of the members, sorted, in a new slice.
func (g *Group) Members() []string {
	ids := make([]string, len(g.members))
	for i, m := range g.members {
		ids[i] = m.id
	}
	return ids
}

// Owner gives the member that owns a partition and the generation of its assignment; the member is
// empty where nobody owns it.
func (g *Group) Owner(partition int32) (member string, generation int32) {
	if !g.has(partition) || g.parts[partition].owner == nil {
		return "", 0
	}
	return g.parts[partition].owner.id, g.parts[partition].generation
}

// Partitions is the number of partitions of the topic.
func (g *Group) Partitions() int32 { return int32(len(g.parts)) }

// Generation is bumped by every change of the members or partitions.
func (g *Group) Generation() int32 { return g.generation }

// NextDeadline is when the next GroupTick is due, in nanoseconds; false means never.
func (g *Group) NextDeadline() (int64, bool) {
	due, found := int64(0), false
	for _, m := range g.members {
		if !found || m.deadline < due {
			due, found = m.deadline, true
		}
	}
	if g.revoking == 0 {
		return due, found
	}
	for i := range g.parts {
		if by := g.parts[i].revokeBy; by != 0 && by < due {
			due = by
		}
	}
	return due, found
}

// Step takes one input at time now, in nanoseconds, and appends the effects to out, which it does
// not reset. A clock that goes back is taken to stand still. Heartbeats, ticks without news and
// commits do not allocate. Input from members never panics: what is wrong is rejected.
func (g *Group) Step(in *GroupInput, now int64, out *GroupEffects) {
	g.now = max(g.now, now)
	switch in.Kind {
	case GroupJoin:
		g.join(in, out)
	case GroupTick:
		g.tick(out)
	case GroupPartitions:
		g.resize(in, out)
	case GroupCommit:
		g.commit(in, out)
	case GroupReset:
		g.reset(in, out)
	case GroupForget:
		g.forget(in, out)
	case GroupLeave, GroupHeartbeat, GroupRevoked:
		g.stepMember(in, out)
	default:
		panic("core: unknown group input")
	}
}

func (g *Group) stepMember(in *GroupInput, out *GroupEffects) {
	m, code := g.incarnation(in)
	if code != 0 {
		reject(in, code, out)
		return
	}
	switch in.Kind {
	case GroupLeave:
		g.remove(m)
		g.rebalance(out)
	case GroupHeartbeat:
		m.deadline = g.now + SessionTimeoutNanos
	case GroupRevoked:
		g.revoked(m, in, out)
	}
}

func (g *Group) join(in *GroupInput, out *GroupEffects) {
	if in.Member == "" {
		reject(in, CodeInvalidName, out)
		return
	}
	at, found := g.search(in.Member)
	if found {
		g.fence(g.members[at], out)
	}
	m := &groupMember{id: in.Member, joined: g.generation + 1, deadline: g.now + SessionTimeoutNanos}
	g.members = slices.Insert(g.members, at, m)
	g.rebalance(out)
}

// revoked ignores a release that was not asked for, and refuses one of an earlier assignment to the
// same member: both repeat one that was answered already.
func (g *Group) revoked(m *groupMember, in *GroupInput, out *GroupEffects) {
	if !g.has(in.Partition) {
		reject(in, CodePartitionUnknown, out)
		return
	}
	p := &g.parts[in.Partition]
	if p.owner != m || in.Generation != 0 && in.Generation < p.generation {
		reject(in, CodeFenced, out)
		return
	}
	if p.revokeBy == 0 {
		return
	}
	g.release(p)
	g.give(in.Partition, out)
}

// commit answers every accepted commit with one GroupPersist, also where the mark does not move,
// so that whoever waits for it waits for a stored record.
func (g *Group) commit(in *GroupInput, out *GroupEffects) {
	m, code := g.incarnation(in)
	switch {
	case !g.has(in.Partition):
		code = CodePartitionUnknown
	case in.Offset < 0:
		code = CodeOffsetOutOfRange
	case code == 0 && (g.parts[in.Partition].owner != m || g.parts[in.Partition].generation != in.Generation):
		code = CodeFenced
	}
	if code != 0 {
		reject(in, code, out)
		return
	}
	p := &g.parts[in.Partition]
	p.committed = max(p.committed, in.Offset)
	out.add(GroupEffect{Kind: GroupPersist, Member: m.id, Partition: in.Partition,
		Offset: p.committed, Generation: p.generation})
}

// tick ends sessions that ran out and removes zombies: members that were asked to release a
// partition and did not within a session, heartbeats or not.
func (g *Group) tick(out *GroupEffects) {
	if due, found := g.NextDeadline(); !found || due > g.now {
		return
	}
	for i := range g.parts {
		if p := &g.parts[i]; p.revokeBy != 0 && p.revokeBy <= g.now {
			p.owner.deadline = g.now
		}
	}
	for i := 0; i < len(g.members); {
		if g.members[i].deadline > g.now {
			i++
			continue
		}
		g.fence(g.members[i], out)
	}
	g.rebalance(out)
}

func (g *Group) resize(in *GroupInput, out *GroupEffects) {
	if in.Partitions > MaxPartitions {
		reject(in, CodeInvalidConfig, out)
		return
	}
	if in.Partitions <= int32(len(g.parts)) {
		return
	}
	g.grow(in.Partitions)
	g.rebalance(out)
}

// incarnation finds the member an input is from. A member that is not there, or not any more as the
// one that asks, but quotes a generation that was, is a zombie.
func (g *Group) incarnation(in *GroupInput) (*groupMember, Code) {
	at, found := g.search(in.Member)
	switch {
	case !found && in.Generation > 0 && in.Generation <= g.generation:
		return nil, CodeFenced
	case !found:
		return nil, CodeUnknownMember
	case in.Generation != 0 && in.Generation < g.members[at].joined:
		return nil, CodeFenced
	}
	return g.members[at], 0
}

func (g *Group) search(id string) (int, bool) {
	return slices.BinarySearchFunc(g.members, id,
		func(m *groupMember, id string) int { return strings.Compare(m.id, id) })
}

// fence removes a member that does not know of it.
func (g *Group) fence(m *groupMember, out *GroupEffects) {
	g.remove(m)
	out.add(GroupEffect{Kind: GroupFence, Member: m.id, Generation: g.generation + 1})
}

// remove takes a member out and frees all its partitions; the caller rebalances.
func (g *Group) remove(m *groupMember) {
	at, _ := g.search(m.id)
	g.members = slices.Delete(g.members, at, at+1)
	for i := range g.parts {
		if g.parts[i].owner == m {
			g.release(&g.parts[i])
		}
	}
}

func (g *Group) release(p *groupPartition) {
	if p.revokeBy != 0 {
		g.revoking--
	}
	p.owner, p.revokeBy = nil, 0
}

func (g *Group) has(partition int32) bool { return partition >= 0 && int(partition) < len(g.parts) }

func reject(in *GroupInput, code Code, out *GroupEffects) {
	out.add(GroupEffect{Kind: GroupReject, Code: code, Member: in.Member, Partition: in.Partition,
		Offset: in.Offset, Generation: in.Generation})
}
