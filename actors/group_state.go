package actors

import "slices"

// GroupState describes one group on one topic.
type GroupState struct {
	Group      string
	Topic      uint64   // the topic's id
	Generation int32    // bumped at each rebalance; 0 before the first member of this run
	Members    []string // ids, sorted
	Partitions []GroupPartitionState
	CommitErr  error // why the last append of commits failed; nil once one succeeded
}

// GroupPartitionState is what a group knows of one partition.
type GroupPartitionState struct {
	Partition  int32
	Member     string // id of the one that owns it, empty for none
	Generation int32  // of its assignment
	Committed  int64  // first offset not acked, -1 for none; it may still be on its way to the log
}

// describe gives the state of a group that has had a member.
func (g *groupActor) describe() GroupState {
	if g.state == nil {
		return describeStored(g.commits.key, g.commits.newest)
	}
	s := GroupState{Group: g.group, Topic: g.topicID, CommitErr: g.commits.lastErr,
		Generation: g.state.Generation(), Members: g.state.Members()}
	for partition := range g.state.Partitions() {
		member, generation := g.state.Owner(partition)
		s.Partitions = append(s.Partitions, GroupPartitionState{Partition: partition, Member: member,
			Generation: generation, Committed: g.state.Committed(partition)})
	}
	return s
}

// nothing reports whether the group is not there for users: no members and no commits.
func (s *GroupState) nothing() bool {
	return len(s.Members) == 0 && !slices.ContainsFunc(s.Partitions,
		func(p GroupPartitionState) bool { return p.Committed >= 0 })
}

// describeStored gives the state of a group that has nothing but commits.
func describeStored(key groupKey, stored commits) GroupState {
	s := GroupState{Group: key.group, Topic: key.topicID}
	for _, c := range stored.sorted() {
		if c.Removed {
			continue
		}
		s.Partitions = append(s.Partitions, GroupPartitionState{Partition: c.Partition, Committed: c.Offset})
	}
	return s
}
