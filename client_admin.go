package leat

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// ask sends a request to a node, and to another one where that says who is right. A request that is not
// safe to repeat is repeated only when it was certainly not done.
func (c *client) ask(ctx context.Context, n *clientNode, safe bool, op wire.Op, body, answer any) error {
	return c.askWith(ctx, n, safe, 0, op, body, answer)
}

// featuresOf are the features that a node must have for a topic with a time to live, or a window for ids.
func featuresOf(ttl, window bool) (needs uint64) {
	if ttl {
		needs |= wire.FeatureTTL
	}
	if window {
		needs |= wire.FeatureIDs
	}
	return needs
}

// askWith is ask of a node that must have all of some features; one that lacks any would ignore what it does
// not know.
func (c *client) askWith(ctx context.Context, n *clientNode, safe bool, needs uint64, op wire.Op,
	body, answer any) error {
	return c.retry(ctx, safe, func(patient context.Context) error {
		for redirected := false; ; redirected = true {
			conn, err := n.connection(patient)
			if err != nil {
				return err
			}
			if lacks := needs &^ conn.welcome.Features; lacks != 0 {
				return core.Errorf(core.CodeUnsupported, "ask a node of version "+conn.welcome.Server,
					"it has not got features %#x", lacks)
			}
			err = conn.request(ctx, op, body, answer)
			var e *core.Error
			if redirected || !errors.As(err, &e) || e.Code != core.CodeNotLeader || e.Node == 0 {
				return err
			}
			n = c.node(e.Node)
		}
	})
}

// CreateTopic implements Backend.
func (c *client) CreateTopic(ctx context.Context, name string, cfg TopicConfig) error {
	if err := core.ValidateName("topic", name); err != nil {
		return err
	}
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(name); err != nil {
		return err
	}
	body := wire.TopicBody{Name: name, Partitions: cfg.Partitions, Ack: uint8(cfg.Ack),
		Retention: int64(cfg.Retention), RetentionBytes: cfg.RetentionBytes, RetentionRecords: cfg.RetentionRecords,
		SegmentBytes: cfg.SegmentBytes, MaxRecordBytes: cfg.MaxRecordBytes, Cleanup: uint8(cfg.Cleanup),
		TTL: int64(cfg.TTL), DedupWindow: int64(cfg.DedupWindow)}
	needs := featuresOf(cfg.TTL != 0, cfg.DedupWindow != 0)
	return c.askWith(ctx, c.metaNode(), false, needs, wire.OpCreateTopic, body, &wire.Empty{})
}

// DeleteTopic implements Backend.
func (c *client) DeleteTopic(ctx context.Context, name string) error {
	if err := core.ValidateName("topic", name); err != nil {
		return err
	}
	return c.ask(ctx, c.metaNode(), false, wire.OpDeleteTopic, wire.NameBody{Name: name}, &wire.Empty{})
}

// AlterTopic implements Backend.
func (c *client) AlterTopic(ctx context.Context, name string, change TopicChange) error {
	if err := core.ValidateName("topic", name); err != nil {
		return err
	}
	body := wire.AlterBody{Name: name, Retention: (*int64)(change.Retention),
		RetentionBytes: change.RetentionBytes, RetentionRecords: change.RetentionRecords,
		MaxRecordBytes: change.MaxRecordBytes, TTL: (*int64)(change.TTL),
		DedupWindow: (*int64)(change.DedupWindow)}
	needs := featuresOf(change.TTL != nil, change.DedupWindow != nil)
	return c.askWith(ctx, c.metaNode(), true, needs, wire.OpAlterTopic, body,
		&wire.Empty{})
}

// nodeAnswer is what one node said to a question to all.
type nodeAnswer[T any] struct {
	node   uint16
	answer T
	err    error
}

// askAll asks every node at once and gives the answers by node. It is an error only where none answered.
func askAll[T any](ctx context.Context, c *client, op wire.Op, body any) ([]nodeAnswer[T], error) {
	nodes := c.allNodes()
	answers := make([]nodeAnswer[T], len(nodes))
	var asking sync.WaitGroup
	for i, n := range nodes {
		asking.Go(func() {
			answers[i].node = n.id
			answers[i].err = c.ask(ctx, n, true, op, body, &answers[i].answer)
		})
	}
	asking.Wait()
	for i := range answers {
		if answers[i].err == nil {
			return answers, nil
		}
	}
	return nil, answers[0].err
}

// Topics implements Backend. Partitions of nodes that cannot be asked have the reason in Err.
func (c *client) Topics(ctx context.Context) ([]TopicInfo, error) { return c.topics(ctx, "") }

// topics lists all topics, or the one of a name.
func (c *client) topics(ctx context.Context, name string) ([]TopicInfo, error) {
	request := wire.TopicsRequest{Name: name, Detail: true}
	answers, err := askAll[wire.TopicsAnswer](ctx, c, wire.OpTopics, request)
	if err != nil {
		return nil, err
	}
	found := map[string]*TopicInfo{}
	for i := range answers {
		for j := range answers[i].answer.Topics {
			body := &answers[i].answer.Topics[j]
			if found[body.Name] == nil {
				info, err := topicInfo(body, answers[i].node, answers)
				if err != nil {
					return nil, err
				}
				found[body.Name] = info
			}
			addPartitions(found[body.Name], body, answers[i].node)
		}
	}
	infos := make([]TopicInfo, 0, len(found))
	for _, info := range found {
		infos = append(infos, *info)
	}
	slices.SortFunc(infos, func(a, b TopicInfo) int { return cmp.Compare(a.Name, b.Name) })
	return infos, nil
}

// topicInfo describes a topic of whose partitions nothing is known but the node.
func topicInfo(b *wire.TopicBody, from uint16, answers []nodeAnswer[wire.TopicsAnswer]) (*TopicInfo, error) {
	if b.Partitions < 1 || b.Partitions > core.MaxPartitions {
		return nil, wire.Errorf("topic %s with %d partitions", core.Quote(b.Name), b.Partitions)
	}
	placement, err := placementOf(b, from)
	if err != nil {
		return nil, err
	}
	info := &TopicInfo{Name: b.Name, ID: b.ID, Config: topicConfig(b)}
	for number, node := range placement {
		err := core.Errorf(core.CodeUnavailable, "describe topic "+core.Quote(b.Name), "node %d did not say", node)
		for i := range answers {
			if answers[i].node == node && answers[i].err != nil {
				err.Err = answers[i].err
			}
		}
		info.Partitions = append(info.Partitions, PartitionInfo{Partition: int32(number), Node: node, Err: err})
	}
	return info, nil
}

func addPartitions(info *TopicInfo, b *wire.TopicBody, from uint16) {
	for _, p := range b.Local {
		if b.ID != info.ID || p.Partition < 0 || int(p.Partition) >= len(info.Partitions) {
			continue // of a topic that was deleted and created again meanwhile
		}
		at := &info.Partitions[p.Partition]
		*at = PartitionInfo{Partition: p.Partition, Node: from, Start: p.Start, End: p.End, HighWater: p.HighWater,
			DurableEnd: p.DurableEnd, Bytes: p.Bytes}
		if p.Code != 0 {
			at.Err = bodyError(core.Code(p.Code), p.Error)
		}
	}
}

// bodyError makes an error of a code and a body that may be missing.
func bodyError(code core.Code, body *wire.ErrorBody) error {
	if body == nil {
		body = &wire.ErrorBody{}
	}
	return body.Error(code)
}

// ResetGroup implements Backend. The leaders say where the position is; the coordinator sets it.
func (c *client) ResetGroup(ctx context.Context, group, topic string, to Position) error {
	if err := core.ValidateName("group", group); err != nil {
		return err
	}
	t, err := c.topic(ctx, "reset a group on", topic)
	if err != nil {
		return err
	}
	body := wire.ResetBody{Group: group, Topic: topic}
	for _, node := range t.nodesOf() {
		offsets, err := c.offsets(ctx, t, node, to)
		if err != nil {
			return err
		}
		body.Offsets = append(body.Offsets, offsets...)
	}
	slices.SortFunc(body.Offsets, func(a, b wire.ResetPartition) int { return int(a.Partition - b.Partition) })
	return c.changeGroup(ctx, group, topic, "reset", func(n *clientNode) error {
		return c.ask(ctx, n, true, wire.OpResetGroup, body, &wire.Empty{})
	})
}

// offsets asks one node where a position is in its partitions of a topic.
func (c *client) offsets(ctx context.Context, t *clientTopic, node uint16,
	at Position) ([]wire.ResetPartition, error) {
	if at.Kind == core.PositionDefault {
		at = core.Earliest
	}
	body := wire.OffsetsBody{Topic: t.name}
	for number, on := range *t.placement.Load() {
		if on == node {
			body.Partitions = append(body.Partitions,
				wire.SubscribePartition{Partition: int32(number), Kind: uint8(at.Kind), Value: at.Value})
		}
	}
	var answer wire.OffsetsAnswer
	if err := c.ask(ctx, c.node(node), true, wire.OpOffsets, body, &answer); err != nil {
		return nil, err
	}
	if len(answer.Partitions) != len(body.Partitions) {
		return nil, wire.Errorf("%d offsets, asked for %d", len(answer.Partitions), len(body.Partitions))
	}
	var list []wire.ResetPartition
	for _, p := range answer.Partitions {
		if p.Code != 0 {
			return nil, bodyError(p.Code, p.Error)
		}
		list = append(list, wire.ResetPartition{Partition: p.Partition, Offset: p.Offset})
	}
	return list, nil
}

// Cluster implements Backend.
func (c *client) Cluster(ctx context.Context) (ClusterInfo, error) {
	var answer wire.ClusterAnswer
	err := c.retry(ctx, true, func(patient context.Context) error {
		conn, err := c.anyConnection(patient)
		if err != nil {
			return err
		}
		return conn.request(ctx, wire.OpCluster, wire.Empty{}, &answer)
	})
	if err != nil {
		return ClusterInfo{}, err
	}
	info := ClusterInfo{Name: answer.Map.Cluster, Answer: answer.Node, Meta: answer.Map.Meta}
	for _, n := range answer.Map.Nodes {
		one := NodeInfo{ID: n.ID, Address: n.Address, Up: n.Up || n.ID == answer.Node}
		for _, p := range answer.Peers {
			if p.ID != n.ID {
				continue
			}
			one.Up, one.RTT = p.Up, time.Duration(p.RTT)
			if p.Since != 0 {
				one.Since = time.Unix(0, p.Since)
			}
			if p.Error != "" {
				one.Err = core.NewError(core.CodeUnavailable, "reach node", errors.New(p.Error))
			}
		}
		info.Nodes = append(info.Nodes, one)
	}
	if len(info.Nodes) == 0 {
		info.Nodes = []NodeInfo{{ID: answer.Node, Up: true}}
	}
	return info, nil
}
