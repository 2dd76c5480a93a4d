package node

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// logOf gives the log that has the frames for a partition: of delayed messages it is __delay.
func (p *producerStream) logOf(number int32) *partition {
	if p.delayed {
		return p.session.node.delays.part
	}
	return p.topic.partitions[number]
}

// producerOf gives the producer of the frames for a partition. Those of delayed messages share a log, and
// each partition has sequences of its own there.
func (p *producerStream) producerOf(partition int32) int64 {
	if p.delayed && p.id != 0 {
		return p.id + int64(partition)
	}
	return p.id
}

func (p *producerStream) key() producerKey {
	if p.delayed {
		return producerKey{core.DelayTopicID, p.id}
	}
	return producerKey{p.topic.id, p.id}
}

// checkDelayed checks the records of a frame that passed core.CheckProduced: all are messages for the target,
// which takes some now.
func (p *producerStream) checkDelayed(target *partition, payload []byte) error {
	if err := target.refusal(); err != nil {
		return err
	}
	want := core.Delayed{Topic: p.topic.id, Partition: target.number, Level: p.level}
	now, most := p.session.node.clock.Now(), int(p.topic.maxRecord.Load())
	for len(payload) > 0 {
		r, n, err := core.DecodeRecord(payload)
		if err == nil {
			err = core.CheckProducedDelay(&r, want, now, most)
		}
		if err != nil {
			return err
		}
		payload = payload[n:]
	}
	return nil
}

// answerDelays is answer for delayed messages. Who may publish to a topic may cancel what waits for it, and
// who may read it may list that; those of all topics are for who may do everything.
func (c *session) answerDelays(op wire.Op, payload []byte) (any, error) {
	n := c.node
	switch op {
	case wire.OpCancelDelayed:
		topic := func(q *wire.HandleBody) string { return n.topicOfHandle(q.Handle) }
		return allowed(c, payload, core.ActionPublish, topic, n.answerCancelDelayed)
	case wire.OpReschedule:
		topic := func(q *wire.RescheduleBody) string { return n.topicOfHandle(q.Handle) }
		return allowed(c, payload, core.ActionPublish, topic, n.answerReschedule)
	}
	return handle(c.ctx, payload, func(ctx context.Context, q *wire.DelayedBody) (wire.DelayedAnswer, error) {
		action := core.ActionRead
		if q.Topic == "" {
			action = core.ActionAdmin
		}
		if err := c.may(action, q.Topic); err != nil {
			return wire.DelayedAnswer{}, err
		}
		return n.answerDelayed(ctx, q)
	})
}

// topicOfHandle names the topic of a delayed message, empty if it is not there. No scope but those for all
// topics fits an empty name.
func (n *Node) topicOfHandle(handle string) string {
	if h, err := core.ParseDelayHandle(handle); err == nil {
		if t := n.topicWithID(h.Topic); t != nil {
			return t.name
		}
	}
	return ""
}

func (n *Node) answerDelayed(
	ctx context.Context, q *wire.DelayedBody,
) (answer wire.DelayedAnswer, err error) {
	if q.Limit < 1 || q.Limit > leat.MaxDelayedPage || q.From < 0 || q.To < 0 {
		return answer, core.Errorf(core.CodeInvalidConfig, "list delayed messages",
			"limit %d, due from %d to %d: want 1 to %d, and times of 0 or more", q.Limit, q.From, q.To,
			leat.MaxDelayedPage)
	}
	filter := leat.DelayFilter{Topic: q.Topic, From: time.Unix(0, q.From), To: time.Unix(0, q.To),
		Limit: q.Limit, After: q.After}
	if q.Key != nil {
		filter.Key = append([]byte{}, *q.Key...)
	}
	page, places, next, err := n.listDelayed(ctx, &filter)
	if next != nil {
		answer.Next = next.String()
	}
	for i := range page {
		m := &page[i]
		body := wire.DelayedMessageBody{Place: places[i].String(), Handle: m.Handle, Topic: m.Topic,
			Partition: m.Partition, Due: m.Due.UnixNano(), Stored: m.Stored.UnixNano(), Bytes: m.Bytes}
		if m.Key != nil {
			body.Key = &m.Key
		}
		answer.Messages = append(answer.Messages, body)
	}
	return answer, err
}

// answerCancelDelayed ends a message. Where its topic is there, so is the partition: otherwise the answer is
// who has it.
func (n *Node) answerCancelDelayed(ctx context.Context, q *wire.HandleBody) (wire.DelayOutcomeBody, error) {
	outcome, err := n.CancelDelayed(ctx, q.Handle)
	return wire.DelayOutcomeBody{Outcome: uint8(outcome), Mine: n.topicOfHandle(q.Handle) != ""}, err
}

func (n *Node) answerReschedule(ctx context.Context, q *wire.RescheduleBody) (wire.DelayOutcomeBody, error) {
	moved, outcome, err := n.Reschedule(ctx, q.Handle, time.Unix(0, q.Due))
	mine := n.topicOfHandle(q.Handle) != ""
	return wire.DelayOutcomeBody{Outcome: uint8(outcome), Handle: moved, Mine: mine}, err
}
