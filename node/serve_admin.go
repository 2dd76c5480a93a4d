package node

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// answer carries out one request and gives its answer. What is not named here is for administrators.
func (c *session) answer(op wire.Op, payload []byte) (any, error) {
	n := c.node
	switch op {
	case wire.OpTopics:
		return handle(c.ctx, payload, c.answerTopics)
	case wire.OpCluster:
		return n.answerCluster(), nil
	case wire.OpOffsets:
		topic := func(q *wire.OffsetsBody) string { return q.Topic }
		return allowed(c, payload, core.ActionRead, topic, n.answerOffsets)
	case wire.OpPeek:
		topic := func(q *wire.PeekBody) string { return q.Topic }
		return allowed(c, payload, core.ActionRead, topic, n.answerPeek)
	case wire.OpCheckFilter:
		topic := func(q *wire.FilterBody) string { return q.Topic }
		return allowed(c, payload, core.ActionRead, topic, n.answerCheckFilter)
	case wire.OpPull:
		topic := func(q *wire.PullBody) string { return q.Topic }
		return allowed(c, payload, core.ActionRead, topic, n.answerPull)
	case wire.OpAnswerLoans:
		topic := func(q *wire.LoansBody) string { return q.Topic }
		return allowed(c, payload, core.ActionRead, topic, n.answerLoans)
	case wire.OpDelayed, wire.OpCancelDelayed, wire.OpReschedule:
		return c.answerDelays(op, payload)
	case wire.OpPutSchedule, wire.OpDeleteSchedule, wire.OpSchedules:
		return c.answerSchedule(op, payload)
	}
	if err := c.may(core.ActionAdmin, ""); err != nil {
		return nil, err
	}
	return c.administer(op, payload)
}

// administer is answer for those who may do everything.
func (c *session) administer(op wire.Op, payload []byte) (any, error) {
	n := c.node
	switch op {
	case wire.OpCreateTopic:
		return handle(c.ctx, payload, n.answerCreate)
	case wire.OpDeleteTopic:
		return handle(c.ctx, payload, n.answerDelete)
	case wire.OpAlterTopic:
		return handle(c.ctx, payload, n.answerAlter)
	case wire.OpGroups:
		return n.answerGroups(c.ctx)
	case wire.OpResetGroup:
		return handle(c.ctx, payload, n.answerResetGroup)
	case wire.OpDeleteGroup:
		return handle(c.ctx, payload, n.answerDeleteGroup)
	case wire.OpAges:
		return handle(c.ctx, payload, n.answerAges)
	}
	return c.answerMore(op, payload)
}

// handle reads the body of a request for f.
func handle[Q, A any](
	ctx context.Context, payload []byte, f func(context.Context, *Q) (A, error),
) (any, error) {
	var q Q
	if err := wire.Unmarshal(wire.Request, payload, &q); err != nil {
		return nil, err
	}
	return f(ctx, &q)
}

func (n *Node) answerTopics(ctx context.Context, q *wire.TopicsRequest) (wire.TopicsAnswer, error) {
	var answer wire.TopicsAnswer
	if q.Name != "" {
		if _, err := n.topicFor("describe", q.Name); err != nil {
			return answer, err
		}
	}
	if q.Detail {
		infos, err := n.Topics(ctx)
		if err != nil {
			return answer, err
		}
		for i := range infos {
			if info := &infos[i]; q.Name == "" || info.Name == q.Name {
				answer.Topics = append(answer.Topics, detailedTopic(info, n.id()))
			}
		}
		return answer, nil
	}
	for _, t := range n.userTopics() {
		if q.Name == "" || t.name == q.Name {
			body := topicBody(t.name, t.id, t.config())
			body.Placement = t.placement.Nodes()
			answer.Topics = append(answer.Topics, body)
		}
	}
	return answer, nil
}

// userTopics gives the users' topics by name.
func (n *Node) userTopics() []*topic {
	n.mu.Lock()
	list := make([]*topic, 0, len(n.topics))
	for _, t := range n.topics {
		if t.id >= core.FirstTopicID && t.opening.Load() == 0 {
			list = append(list, t)
		}
	}
	n.mu.Unlock()
	slices.SortFunc(list, func(a, b *topic) int { return cmp.Compare(a.name, b.name) })
	return list
}

func topicBody(name string, id uint64, cfg core.TopicConfig) wire.TopicBody {
	return wire.TopicBody{
		Name: name, ID: id, Partitions: cfg.Partitions, Ack: uint8(cfg.Ack),
		Retention: int64(cfg.Retention), RetentionBytes: cfg.RetentionBytes, RetentionRecords: cfg.RetentionRecords,
		SegmentBytes: cfg.SegmentBytes, MaxRecordBytes: cfg.MaxRecordBytes, Cleanup: uint8(cfg.Cleanup),
		TTL: int64(cfg.TTL), DedupWindow: int64(cfg.DedupWindow),
	}
}

// detailedTopic describes a topic with the partitions that node has.
func detailedTopic(info *leat.TopicInfo, node uint16) wire.TopicBody {
	body := topicBody(info.Name, info.ID, info.Config)
	for i := range info.Partitions {
		p := &info.Partitions[i]
		if node != 0 {
			body.Placement = append(body.Placement, p.Node)
		}
		if p.Node != node {
			continue
		}
		local := wire.PartitionBody{
			Partition: p.Partition, Start: p.Start, End: p.End, HighWater: p.HighWater,
			DurableEnd: p.DurableEnd, Bytes: p.Bytes,
		}
		if p.Err != nil {
			code, text := wire.ErrorOf(outward(p.Err))
			local.Code, local.Error = uint16(code), &text
		}
		body.Local = append(body.Local, local)
	}
	return body
}

func (n *Node) answerCreate(ctx context.Context, q *wire.TopicBody) (wire.Empty, error) {
	return wire.Empty{}, n.CreateTopic(ctx, q.Name, core.TopicConfig{
		Partitions: q.Partitions, Ack: core.Ack(q.Ack), Retention: time.Duration(q.Retention),
		RetentionBytes: q.RetentionBytes, RetentionRecords: q.RetentionRecords,
		SegmentBytes: q.SegmentBytes, MaxRecordBytes: q.MaxRecordBytes, Cleanup: core.Cleanup(q.Cleanup),
		TTL: time.Duration(q.TTL), DedupWindow: time.Duration(q.DedupWindow),
	})
}

func (n *Node) answerDelete(ctx context.Context, q *wire.NameBody) (wire.Empty, error) {
	return wire.Empty{}, n.DeleteTopic(ctx, q.Name)
}

func (n *Node) answerAlter(ctx context.Context, q *wire.AlterBody) (wire.Empty, error) {
	return wire.Empty{}, n.AlterTopic(ctx, q.Name, leat.TopicChange{
		Retention: (*time.Duration)(q.Retention), RetentionBytes: q.RetentionBytes,
		RetentionRecords: q.RetentionRecords, MaxRecordBytes: q.MaxRecordBytes, TTL: (*time.Duration)(q.TTL),
		DedupWindow: (*time.Duration)(q.DedupWindow),
	})
}

func (n *Node) answerGroups(ctx context.Context) (wire.GroupsAnswer, error) {
	var answer wire.GroupsAnswer
	groups, err := n.coordinated(ctx)
	for i := range groups {
		g := &groups[i]
		body := wire.GroupInfoBody{Group: g.Group, Topic: g.Topic, Mode: uint8(g.Mode), Generation: g.Generation,
			Members: g.Members}
		for _, p := range g.Partitions {
			one := wire.GroupPartitionBody{Partition: p.Partition, Member: p.Member, Committed: p.Committed}
			if g.Mode != core.GroupStream {
				one.Lag, one.Leased, one.Delayed = p.LagRecords, new(p.Queue.Leased), new(p.Queue.Delayed)
				one.Oldest = new(p.Oldest)
			}
			body.Partitions = append(body.Partitions, one)
		}
		answer.Groups = append(answer.Groups, body)
	}
	return answer, err
}

func (n *Node) answerResetGroup(ctx context.Context, q *wire.ResetBody) (wire.Empty, error) {
	offsets := make(map[int32]int64, len(q.Offsets))
	for _, at := range q.Offsets {
		offsets[at.Partition] = at.Offset
	}
	return wire.Empty{}, n.resetOffsets(ctx, q.Group, q.Topic, offsets)
}

func (n *Node) answerDeleteGroup(ctx context.Context, q *wire.GroupBody) (wire.Empty, error) {
	return wire.Empty{}, n.deleteGroup(ctx, q.Group, q.Topic)
}

// answerCluster describes the nodes.
func (n *Node) answerCluster() wire.ClusterAnswer {
	if n.cluster != nil {
		if peers := n.cluster.peers.Load(); peers != nil {
			return peers.Answer()
		}
	}
	return wire.ClusterAnswer{Map: n.mapNow(), Node: n.id()}
}

func (n *Node) answerOffsets(_ context.Context, q *wire.OffsetsBody) (wire.OffsetsAnswer, error) {
	var answer wire.OffsetsAnswer
	t, err := n.topicFor("find offsets in", q.Topic)
	if err != nil {
		return answer, err
	}
	if len(q.Partitions) > len(t.partitions) {
		return answer, core.Errorf(core.CodePartitionUnknown, t.op("find offsets in"),
			"%d partitions of %d", len(q.Partitions), len(t.partitions))
	}
	for _, at := range q.Partitions {
		_, offset, err := t.locate(&at)
		answer.Partitions = append(answer.Partitions, subscribed(at.Partition, offset, err))
	}
	return answer, nil
}

// locate finds a partition and the offset of a position in it.
func (t *topic) locate(at *wire.SubscribePartition) (*partition, int64, error) {
	p, err := t.readable(at.Partition)
	if err != nil {
		return nil, 0, err
	}
	where := core.Position{Kind: core.PositionKind(at.Kind), Value: at.Value}
	switch {
	case where.Kind == core.PositionDefault:
		where = core.Latest
	case where.Kind > core.PositionTime:
		return nil, 0, core.Errorf(core.CodeUnsupported, p.op("read"), "position of kind %d", at.Kind)
	}
	offset, err := p.resolve(where)
	return p, offset, err
}

// readable finds a partition that has a log.
func (t *topic) readable(number int32) (*partition, error) {
	if number < 0 || int(number) >= len(t.partitions) {
		return nil, core.Errorf(core.CodePartitionUnknown, t.op("read"), "partition %d of %d",
			number, len(t.partitions))
	}
	p := t.partitions[number]
	if p.log == nil {
		if err := p.refusal(); err != nil {
			return nil, err
		}
		return nil, core.NewError(core.CodeUnavailable, p.op("read"), nil)
	}
	return p, nil
}

func subscribed(partition int32, offset int64, err error) wire.SubscribedPartition {
	answer := wire.SubscribedPartition{Partition: partition, Offset: offset}
	if err != nil {
		code, body := wire.ErrorOf(outward(err))
		answer.Code, answer.Error, answer.Offset = code, &body, -1
	}
	return answer
}
