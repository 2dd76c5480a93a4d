package leat

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
	"github.com/leatbus/leat/transport/wire"
)

// clientTopic is a topic as one producer or subscription knows it. Where its partitions are may change;
// what it is does not.
type clientTopic struct {
	name           string
	id             uint64
	cfg            core.TopicConfig
	table          routing.Table
	maxRecordBytes atomic.Int64
	asking         atomic.Bool              // whether the limit has changed
	placement      atomic.Pointer[[]uint16] // node of each partition
}

// op says what was tried on the topic, for errors.
func (t *clientTopic) op(verb string) string { return verb + " topic " + core.Quote(t.name) }

// nodeOf gives the node that is believed to have a partition.
func (t *clientTopic) nodeOf(partition int32) uint16 { return (*t.placement.Load())[partition] }

// moved notes where a partition is by the word of a node.
func (t *clientTopic) moved(partition int32, node uint16) {
	for {
		old := t.placement.Load()
		list := append([]uint16(nil), *old...)
		list[partition] = node
		if t.placement.CompareAndSwap(old, &list) {
			return
		}
	}
}

// nodesOf gives the nodes that have partitions of the topic.
func (t *clientTopic) nodesOf() []uint16 {
	var list []uint16
	seen := map[uint16]bool{}
	for _, node := range *t.placement.Load() {
		if !seen[node] {
			seen[node] = true
			list = append(list, node)
		}
	}
	return list
}

// describe asks for one topic: any node first, then the one that creates topics, where another does not
// have it yet.
func (c *client) describe(ctx context.Context, name string) (body *wire.TopicBody, from uint16, err error) {
	err = c.retry(ctx, true, func(patient context.Context) error {
		body, from, err = c.describeOnce(ctx, patient, name)
		return err
	})
	return body, from, err
}

func (c *client) describeOnce(ctx, patient context.Context, name string) (*wire.TopicBody, uint16, error) {
	conn, err := c.anyConnection(patient)
	if err != nil {
		return nil, 0, err
	}
	answer, err := conn.topics(ctx, name)
	if meta := c.metaNode(); core.CodeOf(err) == core.CodeTopicNotFound && meta != conn.node {
		// The node may not have heard of it yet. If the other cannot be asked, this one's word counts.
		if other, metaErr := meta.connection(patient); metaErr == nil {
			answer, err = other.topics(ctx, name)
			return answer, other.node.id, err
		}
	}
	return answer, conn.node.id, err
}

// errUnanswered marks the error of a request whose connection ended before the answer came: it may have
// been done or not.
var errUnanswered = errors.New("the connection ended before the answer came")

// retry calls try until it succeeds, fails for good, or a call has waited long enough. safe says that
// doing it twice is the same as once.
func (c *client) retry(ctx context.Context, safe bool, try func(patient context.Context) error) error {
	patient, cancel := c.patient(ctx)
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := try(patient)
		if err == nil || !passing(err) && !(safe && errors.Is(err, errUnanswered)) {
			return err
		}
		if c.sleep(patient, attempt) != nil {
			return err
		}
	}
}

// passing reports whether an answer says that another try, soon, may have another result.
func passing(err error) bool {
	switch core.CodeOf(err) {
	case core.CodeDraining, core.CodeNotLeader, core.CodeLimited:
		return true
	}
	return false
}

// topics asks one node for one topic.
func (c *clientConn) topics(ctx context.Context, name string) (*wire.TopicBody, error) {
	var answer wire.TopicsAnswer
	if err := c.request(ctx, wire.OpTopics, wire.TopicsRequest{Name: name}, &answer); err != nil {
		return nil, err
	}
	for i := range answer.Topics {
		if answer.Topics[i].Name == name {
			return &answer.Topics[i], nil
		}
	}
	return nil, core.NewError(core.CodeTopicNotFound, "find topic "+core.Quote(name), nil)
}

// topic looks a topic up.
func (c *client) topic(ctx context.Context, op, name string) (*clientTopic, error) {
	if err := core.ValidateStoredName("topic", name); err != nil {
		return nil, err
	}
	body, from, err := c.describe(ctx, name)
	if err != nil {
		if core.CodeOf(err) == core.CodeTopicNotFound {
			return nil, core.NewError(core.CodeTopicNotFound, op+" topic "+core.Quote(name), nil)
		}
		return nil, err
	}
	if body.Partitions < 1 || body.Partitions > core.MaxPartitions {
		return nil, wire.Errorf("topic %s with %d partitions", core.Quote(name), body.Partitions)
	}
	t := &clientTopic{name: name, id: body.ID, cfg: topicConfig(body)}
	if t.table, err = routing.NewTable(int32(body.Partitions)); err != nil {
		return nil, wire.Errorf("topic %s: %w", core.Quote(name), err)
	}
	t.maxRecordBytes.Store(int64(t.cfg.MaxRecordBytes))
	placement, err := placementOf(body, from)
	t.placement.Store(&placement)
	return t, err
}

// openTopic is topic for calls without a context: a node that says nothing is waited for like one that cannot
// be reached.
func (c *client) openTopic(op, name string) (*clientTopic, error) {
	ctx, cancel := c.patient(c.ctx)
	defer cancel()
	t, err := c.topic(ctx, op, name)
	switch op += " topic " + core.Quote(name); {
	case err != nil && c.ctx.Err() != nil:
		return nil, c.closedError(op)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, core.Errorf(core.CodeUnavailable, op, "no answer within %v", c.options.unreachableAfter)
	}
	return t, err
}

func topicConfig(b *wire.TopicBody) core.TopicConfig {
	return core.TopicConfig{
		Partitions: b.Partitions, Ack: core.Ack(b.Ack), Retention: cmp.Or(time.Duration(b.Retention), KeepForever),
		RetentionBytes: b.RetentionBytes, RetentionRecords: b.RetentionRecords,
		SegmentBytes: b.SegmentBytes, MaxRecordBytes: b.MaxRecordBytes, Cleanup: core.Cleanup(b.Cleanup),
		TTL: time.Duration(b.TTL), DedupWindow: time.Duration(b.DedupWindow),
	}.WithDefaults()
}

// placementOf gives the node of each partition of a topic that node from described.
func placementOf(b *wire.TopicBody, from uint16) ([]uint16, error) {
	if len(b.Placement) == b.Partitions {
		return b.Placement, nil
	}
	if len(b.Placement) != 0 {
		return nil, wire.Errorf("topic %s: %d nodes for %d partitions", core.Quote(b.Name), len(b.Placement),
			b.Partitions)
	}
	placement := make([]uint16, b.Partitions)
	for i := range placement {
		placement[i] = from
	}
	return placement, nil
}

// refresh asks again where the partitions are and how large records may be. It is ErrTopicNotFound where
// the topic is gone, also if another one has its name now.
func (c *client) refresh(ctx context.Context, t *clientTopic) error {
	body, from, err := c.describe(ctx, t.name)
	if err != nil {
		return err
	}
	if body.ID != t.id {
		return core.Errorf(core.CodeTopicNotFound, t.op("find"), "another topic has its name now")
	}
	if body.Partitions != t.cfg.Partitions {
		return wire.Errorf("topic %s has %d partitions now, had %d", core.Quote(t.name), body.Partitions,
			t.cfg.Partitions)
	}
	placement, err := placementOf(body, from)
	if err == nil {
		t.placement.Store(&placement)
		t.maxRecordBytes.Store(int64(topicConfig(body).MaxRecordBytes))
	}
	return err
}
