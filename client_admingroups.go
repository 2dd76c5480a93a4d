package leat

import (
	"cmp"
	"context"
	"slices"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// Groups implements Backend: each node tells the groups it coordinates, and of the queue groups what it hands
// out; the leaders tell the marks.
func (c *client) Groups(ctx context.Context) ([]GroupInfo, error) {
	answers, err := askAll[wire.GroupsAnswer](ctx, c, wire.OpGroups, wire.Empty{})
	if err != nil {
		return nil, err
	}
	topics, err := c.Topics(ctx)
	if err != nil {
		return nil, err
	}
	var infos []GroupInfo
	var missing error
	for i := range answers {
		missing = cmp.Or(missing, answers[i].err)
		for j := range answers[i].answer.Groups {
			g := &answers[i].answer.Groups[j]
			at := slices.IndexFunc(topics, func(t TopicInfo) bool { return t.Name == g.Topic })
			if at < 0 {
				continue // deleted meanwhile
			}
			infos = addGroup(infos, g, topics[at].Partitions)
		}
	}
	slices.SortFunc(infos, func(a, b GroupInfo) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic))
	})
	c.fillAges(ctx, infos, topics)
	return infos, missing
}

// addGroup adds what a node tells of a group: of a queue group each tells its part.
func addGroup(infos []GroupInfo, g *wire.GroupInfoBody, marks []PartitionInfo) []GroupInfo {
	mode := GroupMode(g.Mode)
	at := -1
	if mode != GroupStream {
		at = slices.IndexFunc(infos, func(i GroupInfo) bool {
			return i.Group == g.Group && i.Topic == g.Topic && i.Mode != GroupStream
		})
	}
	if at < 0 {
		at = len(infos)
		infos = append(infos, GroupInfo{Group: g.Group, Topic: g.Topic, Mode: mode, Generation: g.Generation})
		if mode != GroupStream {
			infos[at].Partitions = unknownPartitions(len(marks))
		}
	}
	info := &infos[at]
	if len(g.Members) > len(info.Members) { // each node numbers the members for itself
		info.Members = g.Members
	}
	for _, p := range g.Partitions {
		gp := GroupPartition{Partition: p.Partition, Member: p.Member, Committed: p.Committed,
			Oldest: p.Committed, LagTime: -1, AckRate: -1, TimeToZero: -1}
		if mode == GroupStream {
			gp.LagRecords = lagOf(&gp, marks)
			info.Partitions = append(info.Partitions, gp)
		} else if p.Partition >= 0 && int(p.Partition) < len(marks) {
			gp.LagRecords, gp.Queue = max(p.Lag, 0), queueCounts(&p)
			if p.Oldest != nil {
				gp.Oldest = *p.Oldest
			}
			info.Partitions[p.Partition] = gp
		}
	}
	return infos
}

// queueCounts is what a node tells of a partition, if it does.
func queueCounts(p *wire.GroupPartitionBody) QueueCounts {
	if p.Leased == nil || p.Delayed == nil {
		return unknownCounts
	}
	c := QueueCounts{Leased: max(*p.Leased, 0), Delayed: max(*p.Delayed, 0)}
	c.Ready = max(p.Lag-c.Leased-c.Delayed, 0)
	return c
}

var unknownCounts = QueueCounts{Ready: -1, Leased: -1, Delayed: -1}

// unknownPartitions is what is known of a queue group before the nodes have told.
func unknownPartitions(n int) []GroupPartition {
	list := make([]GroupPartition, n)
	for i := range list {
		list[i] = GroupPartition{Partition: int32(i), Committed: -1, Oldest: -1, LagRecords: -1,
			Queue: unknownCounts, LagTime: -1, AckRate: -1, TimeToZero: -1}
	}
	return list
}

// lagOf is the lag of a group in one partition, -1 where the marks are not known.
func lagOf(g *GroupPartition, marks []PartitionInfo) int64 {
	if g.Partition < 0 || int(g.Partition) >= len(marks) {
		return -1
	}
	m := &marks[g.Partition]
	if core.CodeOf(m.Err) == core.CodeUnavailable {
		return -1
	}
	return max(0, m.HighWater-max(g.Committed, m.Start))
}

// DeleteGroup implements Backend.
func (c *client) DeleteGroup(ctx context.Context, group, topic string) error {
	if err := core.ValidateName("group", group); err != nil {
		return err
	}
	body := wire.GroupBody{Group: group, Topic: topic}
	return c.changeGroup(ctx, group, topic, "delete", func(n *clientNode) error {
		return c.ask(ctx, n, false, wire.OpDeleteGroup, body, &wire.Empty{})
	})
}

// changeGroup calls change for the node that coordinates a group, or, where it is a queue group, one after
// the other for those that have something of it. That begins only when all nodes were asked for it and none
// has members; after an error the call may be made again.
func (c *client) changeGroup(ctx context.Context, group, topic, verb string,
	change func(n *clientNode) error) error {
	answers, err := askAll[wire.GroupsAnswer](ctx, c, wire.OpGroups, wire.Empty{})
	if err != nil {
		return err
	}
	op := verb + " group " + core.Quote(group) + " on topic " + core.Quote(topic)
	var nodes []uint16
	var missing error
	for i := range answers {
		missing = cmp.Or(missing, answers[i].err)
		for _, g := range answers[i].answer.Groups {
			if g.Group != group || g.Topic != topic || g.Mode == uint8(GroupStream) {
				continue
			}
			if len(g.Members) > 0 {
				return core.Errorf(core.CodeGroupActive, op, "it has %d members", len(g.Members))
			}
			nodes = append(nodes, answers[i].node)
		}
	}
	if len(nodes) == 0 {
		return change(c.groupNode(group))
	}
	if missing != nil {
		return core.NewError(core.CodeOf(missing), op, missing)
	}
	for _, node := range nodes {
		if err := change(c.node(node)); err != nil {
			return err
		}
	}
	return nil
}
