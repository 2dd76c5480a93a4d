package actors

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// Coordinator is the door to the stream groups of a node: one groupActor per group and topic, one
// memberActor per subscription. Its methods may be called from any goroutine.
type Coordinator struct {
	system *System
	clock  clock.Clock
	log    CommitLog

	rebalances rebalances

	mu sync.Mutex
	// mu guards the following.
	groups  map[groupKey]*PID
	stored  map[groupKey]commits // of groups that had no member yet: they need no actor
	members map[*Member]struct{} // neither closed nor killed
	lastID  uint64
	closed  bool
}

type groupKey struct {
	group   string
	topicID uint64
}

// NewCoordinator makes a coordinator without groups. The system runs its actors and has to outlive
// it; log stores its commits.
func NewCoordinator(s *System, c clock.Clock, log CommitLog) *Coordinator {
	return &Coordinator{system: s, clock: sinceStart{c, c.Mono()}, log: log,
		groups: map[groupKey]*PID{}, stored: map[groupKey]commits{}, members: map[*Member]struct{}{}}
}

// sinceStart is a clock whose Mono began with the coordinator: core.Group takes times above 0 only,
// while that of clock.System is below 0 in the virtual time of tests.
type sinceStart struct {
	clock.Clock
	start int64
}

// Mono is 1 at the start, so that 0 may mean never.
func (c sinceStart) Mono() int64 { return c.Clock.Mono() - c.start + 1 }

// Restore takes over a commit read from __groups, in the order of the log, before the first Join. Of a
// partition's commits one counts, see core.Commit.Supersedes; a removed commit forgets those before it.
func (c *Coordinator) Restore(commit core.Commit) {
	key := groupKey{commit.Group, commit.TopicID}
	c.mu.Lock()
	defer c.mu.Unlock()
	group := c.stored[key]
	switch old, known := group[commit.Partition]; {
	case c.closed || c.groups[key] != nil || known && !commit.Removed && old.Supersedes(&commit):
	case commit.Removed:
		if delete(group, commit.Partition); len(group) == 0 {
			delete(c.stored, key)
		}
	case group == nil:
		c.stored[key] = commits{commit.Partition: commit}
	default:
		group[commit.Partition] = commit
	}
}

// groupActor gives the actor of a group and starts it if there is none.
func (c *Coordinator) groupActor(key groupKey) (*PID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, core.NewError(core.CodeClosed, "group "+core.Quote(key.group), nil)
	}
	if pid := c.groups[key]; pid != nil {
		return pid, nil
	}
	if n := len(c.groups) + len(c.stored); n >= core.MaxGroups && c.stored[key] == nil {
		return nil, core.Errorf(core.CodeLimited, "group "+core.Quote(key.group), "%d groups, at most %d",
			n, core.MaxGroups)
	}
	name := "group/" + strconv.FormatUint(key.topicID, 10) + "/" + key.group
	pid, err := c.spawn(newGroupActor(c, key, c.stored[key]), name)
	if err != nil {
		return nil, err
	}
	c.groups[key] = pid
	delete(c.stored, key)
	return pid, nil
}

func (c *Coordinator) spawn(a Actor, name string) (*PID, error) {
	return c.system.Spawn(c.system.Props(func() Actor { return a }), name)
}

// Join makes sink a member of a group on a topic of so many partitions, from 1 to
// core.MaxPartitions; more than the last time means that the topic has grown. It does not wait for
// the assignment, which the sink is told.
func (c *Coordinator) Join(group string, topicID uint64, partitions int32, sink MemberSink) (*Member, error) {
	op := "join group " + core.Quote(group)
	if partitions < 1 || partitions > core.MaxPartitions {
		return nil, core.Errorf(core.CodeInvalidConfig, op, "a topic of %d partitions, want 1 to %d",
			partitions, core.MaxPartitions)
	}
	key := groupKey{group, topicID}
	pid, err := c.groupActor(key)
	if err != nil {
		return nil, err
	}
	m, err := c.newMember(pid, sink)
	if err != nil {
		return nil, err
	}
	c.system.Send(pid, groupJoin{member: m.id, link: m.link, partitions: partitions})
	// An actor that is still the group's has the join before whatever ends it. One that is not may
	// never have seen it.
	if err := c.lost(key, pid); err != nil {
		m.link.tell(memberFenced{err})
	}
	return m, nil
}

func (c *Coordinator) newMember(group *PID, sink MemberSink) (*Member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, core.NewError(core.CodeClosed, "join group", nil)
	}
	c.lastID++
	m := &Member{coordinator: c, id: "m" + strconv.FormatUint(c.lastID, 10), link: &memberLink{system: c.system},
		commits: make(chan struct{}, maxCommits), closed: make(chan struct{})}
	pid, err := c.spawn(newMemberActor(m, group, sink), "member/"+m.id)
	if err != nil {
		return nil, err
	}
	m.link.pid = pid
	c.members[m] = struct{}{}
	return m, nil
}

// lost says why pid is not the actor of its group any more, or nil.
func (c *Coordinator) lost(key groupKey, pid *PID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return core.NewError(core.CodeClosed, "group "+core.Quote(key.group), nil)
	case c.groups[key] != pid:
		return core.NewError(core.CodeTopicNotFound, "group "+core.Quote(key.group), nil)
	}
	return nil
}

func (c *Coordinator) left(m *Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
}

// Describe gives the state of all groups that have members or commits, sorted by name and topic. It waits
// for their actors.
func (c *Coordinator) Describe() []GroupState {
	var states []GroupState
	for _, g := range c.find(func(groupKey) bool { return true }) {
		if g.pid == nil {
			states = append(states, describeStored(g.key, g.stored))
			continue
		}
		state, err := Call(context.Background(), c.system, g.pid,
			func(r Reply[GroupState]) any { return groupDescribe{r} })
		if err == nil && !state.nothing() {
			states = append(states, state)
		}
	}
	return states
}

// Snapshot gives all live commits of the groups whose commits are kept in one partition of __groups,
// those on their way to the log among them. It is written at each roll of that partition. It waits
// for the actors of the groups. An error means that the snapshot is not complete, so that nothing
// may be cut behind it.
func (c *Coordinator) Snapshot(partitionOfGroups int32) ([]core.Commit, error) {
	var all []core.Commit
	here := func(k groupKey) bool { return core.GroupsPartition(k.group) == partitionOfGroups }
	for _, g := range c.find(here) {
		some, err := c.committed(g, func(r Reply[[]core.Commit]) any { return groupSnapshot{r} })
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// ForgetTopic drops all groups of a topic that was deleted, and gives what they had committed, to be
// removed from __groups. Members are fenced with core.ErrTopicNotFound. An append that runs may still
// store commits after it returned.
func (c *Coordinator) ForgetTopic(topicID uint64) []core.Commit {
	var all []core.Commit
	for _, g := range c.find(func(k groupKey) bool { return k.topicID == topicID }) {
		c.mu.Lock()
		delete(c.groups, g.key)
		delete(c.stored, g.key)
		c.mu.Unlock()
		// An error means that its actor has stopped: nobody writes its commits any more.
		some, _ := c.committed(g, func(r Reply[[]core.Commit]) any { return groupForget{r} })
		all = append(all, some...)
	}
	return all
}

func (c *Coordinator) committed(
	g foundGroup, request func(Reply[[]core.Commit]) any,
) ([]core.Commit, error) {
	if g.pid == nil {
		return g.stored.sorted(), nil
	}
	return Call(context.Background(), c.system, g.pid, request)
}

// foundGroup is a group with an actor, or one that has only commits.
type foundGroup struct {
	key    groupKey
	pid    *PID
	stored commits // a copy
}

// find gives the groups that match, sorted.
func (c *Coordinator) find(match func(groupKey) bool) []foundGroup {
	c.mu.Lock()
	var groups []foundGroup
	for key, pid := range c.groups {
		if match(key) {
			groups = append(groups, foundGroup{key: key, pid: pid})
		}
	}
	for key, stored := range c.stored {
		if match(key) {
			groups = append(groups, foundGroup{key: key, stored: maps.Clone(stored)})
		}
	}
	c.mu.Unlock()
	slices.SortFunc(groups, func(a, b foundGroup) int {
		return cmp.Or(cmp.Compare(a.key.group, b.key.group), cmp.Compare(a.key.topicID, b.key.topicID))
	})
	return groups
}

// Close closes all members, waits until their commits are stored, and stops all groups. When ctx
// ends first, they are stopped all the same, and what was not stored yet is delivered again after a
// restart.
func (c *Coordinator) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	members := make([]*Member, 0, len(c.members))
	for m := range c.members {
		members = append(members, m)
	}
	c.mu.Unlock()
	errs := make([]error, len(members))
	var wait sync.WaitGroup
	for i, m := range members {
		wait.Go(func() { errs[i] = m.Close(ctx) })
	}
	wait.Wait()
	for _, g := range c.find(func(groupKey) bool { return true }) {
		if g.pid == nil {
			continue
		}
		_, err := Call(ctx, c.system, g.pid, func(r Reply[struct{}]) any { return groupDrain{r} })
		errs = append(errs, err, c.system.Stop(ctx, g.pid))
	}
	c.mu.Lock()
	clear(c.groups)
	clear(c.stored)
	c.mu.Unlock()
	return errors.Join(errs...)
}
