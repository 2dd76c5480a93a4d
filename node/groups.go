package node

import (
	"cmp"
	"context"
	"slices"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

// Groups implements leat.Backend.
func (n *Node) Groups(ctx context.Context) ([]leat.GroupInfo, error) {
	infos, err := n.coordinated(ctx)
	n.oldest.fill(n, infos)
	return infos, err
}

// coordinated lists the groups that this node coordinates, without the ages of what they have not acked.
func (n *Node) coordinated(ctx context.Context) ([]leat.GroupInfo, error) {
	var infos []leat.GroupInfo
	for _, g := range n.groups.Describe() {
		if t := n.topicWithID(g.Topic); t != nil {
			infos = append(infos, groupInfo(t, &g))
		}
	}
	infos = append(infos, n.queues.describe()...)
	slices.SortFunc(infos, func(a, b leat.GroupInfo) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic))
	})
	return infos, ctx.Err()
}

// ResetGroup implements leat.Backend.
func (n *Node) ResetGroup(ctx context.Context, group, topic string, to leat.Position) error {
	t, err := n.groupTopic("reset", group, topic)
	if err != nil {
		return err
	}
	if to.Kind == core.PositionDefault {
		return core.Errorf(core.CodeInvalidConfig, "reset group "+core.Quote(group), "no position: want "+
			"leat.Earliest, leat.Latest, leat.AtOffset or leat.AtTime")
	}
	offsets := make(map[int32]int64, len(t.partitions))
	for _, p := range t.partitions {
		if p.log == nil {
			return p.refusal()
		}
		if offsets[p.number], err = p.resolve(to); err != nil {
			return err
		}
	}
	if g := n.queueGroup(t, group); g != nil {
		return g.reset(ctx, offsets)
	}
	return n.groups.Reset(ctx, group, t.id, int32(len(t.partitions)), offsets)
}

// resetOffsets is ResetGroup to an offset of its own for each partition named; the others stay.
func (n *Node) resetOffsets(ctx context.Context, group, topic string, offsets map[int32]int64) error {
	t, err := n.groupTopic("reset", group, topic)
	if err != nil {
		return err
	}
	for number, offset := range offsets {
		if number < 0 || int(number) >= len(t.partitions) {
			return core.Errorf(core.CodePartitionUnknown, "reset group "+core.Quote(group),
				"partition %d of %d", number, len(t.partitions))
		}
		p := t.partitions[number]
		if !p.here {
			continue // its node said where that is (OpOffsets)
		}
		if p.log == nil {
			return p.refusal()
		}
		if _, err := p.resolve(core.AtOffset(offset)); err != nil {
			return err
		}
	}
	if g := n.queueGroup(t, group); g != nil {
		return g.reset(ctx, offsets)
	}
	return n.groups.Reset(ctx, group, t.id, int32(len(t.partitions)), offsets)
}

// DeleteGroup implements leat.Backend. A queue group on partitions of other nodes is for clients.
func (n *Node) DeleteGroup(ctx context.Context, group, topic string) error {
	if t := n.topicNamed(topic); t != nil && n.queueGroup(t, group) != nil {
		for _, p := range t.partitions {
			if !p.here {
				return p.refusal()
			}
		}
	}
	return n.deleteGroup(ctx, group, topic)
}

// deleteGroup is DeleteGroup as far as this node is concerned.
func (n *Node) deleteGroup(ctx context.Context, group, topic string) error {
	t, err := n.groupTopic("delete", group, topic)
	if err != nil {
		return err
	}
	if g := n.queueGroup(t, group); g != nil {
		return g.erase(ctx)
	}
	return n.commits.whileNoCut(ctx, core.GroupsPartition(group), func() error {
		return n.groups.Delete(ctx, group, t.id, int32(len(t.partitions)))
	})
}

// groupTopic finds the topic of a call about a group that this node coordinates, or hands records out to.
func (n *Node) groupTopic(verb, group, topic string) (*topic, error) {
	if err := core.ValidateName("group", group); err != nil {
		return nil, err
	}
	t, err := n.topicFor(verb+" group "+core.Quote(group)+" on", topic)
	if err == nil && n.queueGroup(t, group) != nil {
		return t, nil
	}
	if err := n.coordinates(verb, group); err != nil {
		return nil, err
	}
	return t, err
}

func groupInfo(t *topic, g *actors.GroupState) leat.GroupInfo {
	info := leat.GroupInfo{Group: g.Group, Topic: t.name, Generation: g.Generation, Members: g.Members}
	for _, owned := range g.Partitions {
		if int(owned.Partition) >= len(t.partitions) {
			continue
		}
		p := t.partitions[owned.Partition]
		gp := leat.GroupPartition{Partition: owned.Partition, Member: owned.Member, Committed: owned.Committed,
			Oldest: owned.Committed, LagRecords: -1, LagTime: -1, AckRate: -1, TimeToZero: -1}
		if p.log != nil {
			gp.LagRecords = max(0, p.highWater.Load()-max(owned.Committed, p.log.Start()))
		}
		info.Partitions = append(info.Partitions, gp)
	}
	return info
}
