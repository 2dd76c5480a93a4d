package leat

import (
	"context"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// Topic implements Backend.
func (c *client) Topic(ctx context.Context, name string) (TopicInfo, error) {
	if err := core.ValidateName("topic", name); err != nil {
		return TopicInfo{}, err
	}
	infos, err := c.topics(ctx, name)
	if err != nil {
		return TopicInfo{}, err
	}
	for i := range infos {
		if infos[i].Name == name {
			return infos[i], nil
		}
	}
	return TopicInfo{}, core.NewError(core.CodeTopicNotFound, "describe topic "+core.Quote(name), nil)
}

// Peek implements Backend.
func (c *client) Peek(ctx context.Context, topic string, q PeekSlice) (PeekRun, error) {
	if err := core.ValidateName("topic", topic); err != nil {
		return PeekRun{}, err
	}
	t, err := c.topic(ctx, "peek into", topic)
	if err != nil {
		return PeekRun{}, err
	}
	if q.Partition < 0 || int(q.Partition) >= t.cfg.Partitions {
		return PeekRun{}, core.Errorf(core.CodePartitionUnknown, t.op("peek into"), "partition %d of %d",
			q.Partition, t.cfg.Partitions)
	}
	body := wire.PeekBody{Topic: topic, Partition: q.Partition, From: positionBody(q.From),
		To: positionBody(q.To), Key: q.Key, Filter: q.Filter, ID: []byte(q.ID), Remembered: q.Remembered,
		Limit: q.Limit, Scan: q.Scan, ValueBytes: q.ValueBytes}
	var answer wire.PeekAnswer
	needs := uint64(0)
	if q.Filter != "" {
		needs = wire.FeatureFilters
	}
	if q.ID != "" {
		needs |= wire.FeaturePeekID
	}
	node := c.node(t.nodeOf(q.Partition))
	if err := c.askWith(ctx, node, true, needs, wire.OpPeek, body, &answer); err != nil {
		return PeekRun{}, err
	}
	if !answer.Done && answer.Scanned <= 0 {
		return PeekRun{}, wire.Errorf("a peek at partition %d that has not moved", q.Partition)
	}
	return peekRun(topic, q.Partition, &answer), nil
}

func positionBody(p Position) wire.PositionBody {
	return wire.PositionBody{Kind: uint8(p.Kind), Value: p.Value}
}

func peekRun(topic string, partition int32, a *wire.PeekAnswer) PeekRun {
	run := PeekRun{Scanned: a.Scanned, Next: a.Next, Done: a.Done}
	for _, r := range a.Records {
		m := Peeked{KeyBytes: r.KeyBytes, ValueBytes: r.ValueBytes, Message: Message{Key: r.Key, Value: r.Value,
			Topic: topic, Partition: partition, Offset: r.Offset, Time: time.Unix(0, r.Time), ID: string(r.ID),
			TTL: time.Duration(r.TTL)}}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, Header{Key: h.Key, Value: h.Value})
		}
		run.Messages = append(run.Messages, m)
	}
	return run
}
