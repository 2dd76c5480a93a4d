package core

import (
	"cmp"
	"math/rand"
	"slices"
	"testing"
)

// groupModel is the oracle: who may read what, from the inputs and effects alone.
type groupModel struct {
	t          *testing.T
	g          *Group
	random     *rand.Rand
	now        int64
	out        GroupEffects
	log        []string // every effect, to compare two runs
	generation int32
	persists   int // effects of the last reset
	committed  []int64
	owner      []modelAssignment
	past       []modelAssignment // assignments that ended: what zombies hold
	members    map[string]*modelMember
}

type modelAssignment struct {
	member     string // empty for none
	partition  int32
	generation int32
	askedAt    int64 // when it was asked back, −1 for never
}

type modelMember struct {
	joined  int32
	heardAt int64
}

func newGroupModel(t *testing.T, seed int64) *groupModel {
	m := &groupModel{t: t, random: rand.New(rand.NewSource(seed)), now: 1, members: map[string]*modelMember{}}
	n := int32(1 + m.random.Intn(12))
	m.g = NewGroup(n)
	m.grow(n)
	for p := range n {
		if m.random.Intn(4) == 0 {
			m.committed[p] = m.random.Int63n(100)
			m.g.Restore(p, m.committed[p])
		}
	}
	return m
}

func (m *groupModel) grow(n int32) {
	for int32(len(m.owner)) < n {
		m.owner = append(m.owner, modelAssignment{partition: int32(len(m.owner)), askedAt: -1})
		m.committed = append(m.committed, -1)
	}
}

// TestGroupModel: 2,500 seeds of random joins, leaves, crashes, stalls, late, repeated and forged
// messages. Checked after every step: one owner at most; given away only after release, leave,
// replacement or expiry; all partitions owned while there is a member; nobody expired early or
// late; commits only from owners and never back; as few moves as possible; balanced at rest.
func TestGroupModel(t *testing.T) {
	for seed := range int64(2_500) {
		m := newGroupModel(t, seed)
		m.run()
		if t.Failed() {
			t.Fatalf("LEAT_SEED=%d", seed)
		}
		if seed%10 == 0 {
			again := newGroupModel(t, seed)
			again.run()
			if !slices.Equal(m.log, again.log) {
				t.Fatalf("LEAT_SEED=%d: two runs differ", seed)
			}
		}
	}
}

func (m *groupModel) run() {
	for range 60 {
		m.now += m.random.Int63n(SessionTimeoutNanos / 8)
		m.step(m.randomInput())
		if m.t.Failed() {
			return
		}
	}
	m.settle()
}

func (m *groupModel) randomInput() GroupInput {
	in := GroupInput{Member: string(rune('a' + m.random.Intn(6)))}
	switch n := m.random.Intn(20); {
	case n < 3:
		in.Kind = GroupJoin
	case n < 4:
		in.Kind = GroupLeave
	case n < 9:
		in.Kind = GroupHeartbeat
	case n < 12:
		in.Kind = GroupTick
	case n < 13 && len(m.members) == 0 || n == 0:
		in = m.randomAdministration()
	case n < 13 && m.random.Intn(4) == 0:
		in.Kind, in.Partitions = GroupPartitions, int32(len(m.owner)+m.random.Intn(4)-1)
	case n < 16:
		in = m.randomHolding(GroupRevoked)
	default:
		in = m.randomHolding(GroupCommit)
	}
	if in.Kind == GroupLeave || in.Kind == GroupHeartbeat {
		in.Generation = int32(m.random.Intn(2)) * m.random.Int31n(m.generation+2)
	}
	return in
}

// randomAdministration is a reset, now and then with what cannot be, or the end of all commits.
func (m *groupModel) randomAdministration() GroupInput {
	if m.random.Intn(3) == 0 {
		return GroupInput{Kind: GroupForget}
	}
	in := GroupInput{Kind: GroupReset, Offsets: map[int32]int64{}}
	for range m.random.Intn(4) {
		in.Offsets[int32(m.random.Intn(len(m.owner)))] = m.random.Int63n(1_000)
	}
	switch m.random.Intn(6) {
	case 0:
		in.Offsets[int32(len(m.owner))] = 1
	case 1:
		in.Offsets[0] = -1
	}
	return in
}

// refusesAdministration reports whether a reset or the end of all commits has to be refused.
func (m *groupModel) refusesAdministration(in *GroupInput) bool {
	refused := len(m.members) > 0 || slices.Max(m.committed) < 0
	for partition, offset := range in.Offsets {
		refused = refused || offset < 0 || int(partition) >= len(m.owner)
	}
	return refused
}

// administered counts the effects of an input that reset or ended commits.
func (m *groupModel) administered(in *GroupInput, e GroupEffect) {
	want := GroupEffect{Kind: GroupRemove, Partition: e.Partition, Offset: -1}
	if in.Kind == GroupReset {
		want = GroupEffect{Kind: GroupPersist, Partition: e.Partition, Offset: in.Offsets[e.Partition],
			Generation: m.generation}
	}
	if e != want || m.committed[e.Partition] != e.Offset {
		m.t.Errorf("%+v: %+v, want %+v", *in, e, want)
	}
	m.persists++
}

// randomHolding is a release or commit of an assignment, mostly a current one, else one that ended,
// and sometimes with a wrong member or generation.
func (m *groupModel) randomHolding(kind GroupInputKind) GroupInput {
	a := m.owner[m.random.Intn(len(m.owner))]
	if kind == GroupRevoked {
		for _, other := range m.owner { // prefer one that was asked for
			if other.askedAt >= 0 && m.random.Intn(2) == 0 {
				a = other
			}
		}
	}
	if len(m.past) > 0 && m.random.Intn(4) == 0 {
		a = m.past[m.random.Intn(len(m.past))]
	}
	in := GroupInput{Kind: kind, Member: a.member, Partition: a.partition, Generation: a.generation}
	in.Offset = m.random.Int63n(1_000) - 1
	switch m.random.Intn(10) {
	case 0:
		in.Member = string(rune('a' + m.random.Intn(7)))
	case 1:
		in.Generation = m.random.Int31n(m.generation + 2)
	case 2:
		in.Partition += int32(m.random.Intn(3) - 1)
	}
	return in
}

// step predicts who leaves, runs the step and checks its effects against the prediction.
func (m *groupModel) step(in GroupInput) {
	m.t.Helper()
	before := m.g.Generation()
	gone, changed, code := m.predict(&in)
	moves := m.leastMoves(gone, &in)
	m.out.Reset()
	m.g.Step(&in, m.now, &m.out)
	for _, id := range gone {
		m.end(id)
	}
	m.accept(&in, code)
	if changed {
		m.generation++
	}
	if got := m.g.Generation(); got != before && !changed || got != m.generation {
		m.t.Errorf("%+v: generation %d after %d, want %d", in, got, before, m.generation)
	}
	var fenced []string
	revokes := 0
	m.persists = 0
	for _, e := range m.out.List {
		m.log = append(m.log, e.String())
		switch e.Kind {
		case GroupFence:
			fenced = append(fenced, e.Member)
		case GroupRevoke:
			revokes++
			m.asked(e)
		case GroupAssign:
			m.assigned(e)
		case GroupPersist, GroupRemove:
			if in.Kind == GroupReset || in.Kind == GroupForget {
				m.administered(&in, e)
				continue
			}
			m.persisted(&in, e, code)
		case GroupReject:
			if code == 0 || len(m.out.List) != 1 || e.Member != in.Member {
				m.t.Errorf("%+v: %v", in, e)
			}
		}
	}
	if in.Kind != GroupLeave && !slices.Equal(fenced, gone) {
		m.t.Errorf("%+v: fenced %v, want %v", in, fenced, gone)
	}
	if code != 0 && len(m.out.List) != 1 {
		m.t.Errorf("%+v: effects %v, want a rejection", in, m.out.List)
	}
	if in.Kind == GroupReset && code == 0 && m.persists != len(in.Offsets) {
		m.t.Errorf("%+v: effects %v", in, m.out.List)
	}
	if changed && revokes != moves {
		m.t.Errorf("%+v: %d partitions asked back, want %d", in, revokes, moves)
	}
	m.check()
}

// predict gives the members that a step ends, whether it begins a generation, and a code other than
// 0 if it has to be refused with whatever code.
func (m *groupModel) predict(in *GroupInput) (gone []string, changed bool, code Code) {
	member := m.members[in.Member]
	stale := member == nil || in.Generation != 0 && in.Generation < member.joined
	outside := in.Partition < 0 || int(in.Partition) >= len(m.owner)
	switch in.Kind {
	case GroupJoin:
		if member != nil {
			gone = append(gone, in.Member)
		}
		return gone, true, 0
	case GroupTick:
		gone = m.expired()
		return gone, len(gone) > 0, 0
	case GroupReset, GroupForget:
		if m.refusesAdministration(in) {
			return nil, false, CodeGroupActive
		}
		return nil, in.Kind == GroupReset, 0
	case GroupPartitions:
		return nil, int(in.Partitions) > len(m.owner), 0
	case GroupLeave:
		if stale {
			return nil, false, CodeFenced
		}
		return []string{in.Member}, true, 0
	case GroupHeartbeat:
		if stale {
			return nil, false, CodeFenced
		}
	case GroupRevoked:
		if stale || outside || m.owner[in.Partition].member != in.Member ||
			in.Generation != 0 && in.Generation < m.owner[in.Partition].generation {
			return nil, false, CodeFenced
		}
	case GroupCommit:
		if stale || outside || in.Offset < 0 || m.owner[in.Partition].member != in.Member ||
			m.owner[in.Partition].generation != in.Generation {
			return nil, false, CodeFenced
		}
	}
	return nil, false, 0
}

// expired gives, sorted, the members that were silent or kept a partition for a session.
func (m *groupModel) expired() []string {
	var ids []string
	for id, member := range m.members {
		over := m.now-member.heardAt >= SessionTimeoutNanos
		for _, a := range m.owner {
			over = over || a.member == id && a.askedAt >= 0 && m.now-a.askedAt >= SessionTimeoutNanos
		}
		if over {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// leastMoves is how many partitions a balanced assignment has to take from members that stay.
func (m *groupModel) leastMoves(gone []string, in *GroupInput) int {
	counts := map[string]int{}
	for id := range m.members {
		if !slices.Contains(gone, id) {
			counts[id] = 0
		}
	}
	if in.Kind == GroupJoin {
		counts[in.Member] = 0
	}
	for _, a := range m.owner {
		if a.member != "" && a.askedAt < 0 && !slices.Contains(gone, a.member) {
			counts[a.member]++
		}
	}
	var owned []int
	for _, n := range counts {
		owned = append(owned, n)
	}
	if len(owned) == 0 {
		return 0
	}
	slices.SortFunc(owned, func(a, b int) int { return cmp.Compare(b, a) })
	total := max(len(m.owner), int(in.Partitions))
	moves := 0
	for i, n := range owned {
		quota := total / len(owned)
		if i < total%len(owned) {
			quota++
		}
		moves += max(0, n-quota)
	}
	return moves
}

// end takes a member out of the oracle; its assignments become a zombie's.
func (m *groupModel) end(id string) {
	delete(m.members, id)
	for p := range m.owner {
		if m.owner[p].member == id {
			m.free(int32(p))
		}
	}
}

func (m *groupModel) free(p int32) {
	m.past = append(m.past, m.owner[p])
	m.owner[p].member, m.owner[p].askedAt = "", -1
}

// accept applies an input that was not to be refused.
func (m *groupModel) accept(in *GroupInput, code Code) {
	switch {
	case code != 0:
	case in.Kind == GroupJoin:
		m.members[in.Member] = &modelMember{joined: m.generation + 1, heardAt: m.now}
	case in.Kind == GroupReset:
		for partition, offset := range in.Offsets {
			m.committed[partition] = offset
		}
	case in.Kind == GroupForget:
		for partition := range m.committed {
			m.committed[partition] = -1
		}
	case in.Kind == GroupHeartbeat:
		m.members[in.Member].heardAt = m.now
	case in.Kind == GroupPartitions:
		m.grow(in.Partitions)
	case in.Kind == GroupRevoked && m.owner[in.Partition].askedAt >= 0:
		m.free(in.Partition)
	case in.Kind == GroupCommit:
		m.committed[in.Partition] = max(m.committed[in.Partition], in.Offset)
	}
}

func (m *groupModel) asked(e GroupEffect) {
	a := &m.owner[e.Partition]
	if a.member != e.Member || a.generation != e.Generation || a.askedAt >= 0 {
		m.t.Errorf("%v: owned %+v", e, *a)
	}
	a.askedAt = m.now
}

func (m *groupModel) assigned(e GroupEffect) {
	a := &m.owner[e.Partition]
	switch {
	case a.member != "":
		m.t.Errorf("%v: owned by %s", e, a.member)
	case m.members[e.Member] == nil:
		m.t.Errorf("%v: no such member", e)
	case e.Generation <= a.generation || e.Generation != m.generation:
		m.t.Errorf("%v: last assigned under %d, generation is %d", e, a.generation, m.generation)
	case e.Offset != m.committed[e.Partition]:
		m.t.Errorf("%v: committed is %d", e, m.committed[e.Partition])
	}
	a.member, a.generation = e.Member, e.Generation
}

func (m *groupModel) persisted(in *GroupInput, e GroupEffect, code Code) {
	if in.Kind != GroupCommit || code != 0 || e.Partition != in.Partition ||
		e.Offset != m.committed[in.Partition] || e.Generation != in.Generation || e.Member != in.Member {
		m.t.Errorf("%+v: %v", *in, e)
	}
}

// check compares the group's view with the oracle's.
func (m *groupModel) check() {
	m.t.Helper()
	if got := m.g.Members(); len(got) != len(m.members) || !slices.IsSorted(got) {
		m.t.Errorf("members %v, want %d", got, len(m.members))
	}
	outstanding := false
	counts := map[string]int{}
	for p, a := range m.owner {
		member, generation := m.g.Owner(int32(p))
		if member != a.member || member != "" && generation != a.generation {
			m.t.Errorf("partition %d: owner %q under %d, want %+v", p, member, generation, a)
		}
		if member == "" && len(m.members) > 0 {
			m.t.Errorf("partition %d has no owner, the group has members", p)
		}
		if got := m.g.Committed(int32(p)); got != m.committed[p] {
			m.t.Errorf("partition %d: committed %d, want %d", p, got, m.committed[p])
		}
		counts[member]++
		outstanding = outstanding || a.askedAt >= 0
	}
	m.checkDeadline()
	for id := range m.members {
		share := len(m.owner) / len(m.members)
		if n := counts[id]; !outstanding && (n < share || n > share+1) {
			m.t.Errorf("at rest %s owns %d of %d, with %d members", id, n, len(m.owner), len(m.members))
		}
	}
}

func (m *groupModel) checkDeadline() {
	m.t.Helper()
	want, found := int64(0), false
	at := func(t int64) {
		if !found || t < want {
			want, found = t, true
		}
	}
	for _, member := range m.members {
		at(member.heardAt + SessionTimeoutNanos)
	}
	for _, a := range m.owner {
		if a.askedAt >= 0 {
			at(a.askedAt + SessionTimeoutNanos)
		}
	}
	if got, ok := m.g.NextDeadline(); ok != found || got != want {
		m.t.Errorf("next deadline %d, %v; want %d, %v", got, ok, want, found)
	}
}

// settle releases what was asked for, and finds the group balanced, which check then demands.
func (m *groupModel) settle() {
	for p := range m.owner {
		for m.owner[p].askedAt >= 0 && !m.t.Failed() {
			a := m.owner[p]
			m.step(GroupInput{Kind: GroupRevoked, Member: a.member, Partition: a.partition, Generation: a.generation})
		}
	}
}
