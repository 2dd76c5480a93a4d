package node

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// answerSchedule is answer for schedules. Who may publish to a topic may have that done by the calendar, and
// who may read it may list its schedules; those of all topics are for who may do everything.
func (c *session) answerSchedule(op wire.Op, payload []byte) (any, error) {
	n := c.node
	switch op {
	case wire.OpPutSchedule:
		topic := func(q *wire.ScheduleBody) string { return q.Topic }
		return allowed(c, payload, core.ActionPublish, topic, n.answerPutSchedule)
	case wire.OpDeleteSchedule:
		topic := func(q *wire.ScheduleNameBody) string { return q.Topic }
		return allowed(c, payload, core.ActionPublish, topic, n.answerDeleteSchedule)
	}
	list := func(ctx context.Context, q *wire.SchedulesBody) (wire.SchedulesAnswer, error) {
		action := core.ActionRead
		if q.Topic == "" {
			action = core.ActionAdmin
		}
		if err := c.may(action, q.Topic); err != nil {
			return wire.SchedulesAnswer{}, err
		}
		return n.answerSchedules(ctx, q)
	}
	return handle(c.ctx, payload, list)
}

func (n *Node) answerPutSchedule(ctx context.Context, q *wire.ScheduleBody) (wire.Empty, error) {
	return wire.Empty{}, n.PutSchedule(ctx, scheduleOf(q))
}

func (n *Node) answerDeleteSchedule(
	ctx context.Context, q *wire.ScheduleNameBody,
) (wire.ScheduleDeleted, error) {
	deleted, err := n.DeleteSchedule(ctx, q.Topic, q.Name)
	return wire.ScheduleDeleted{Deleted: deleted}, err
}

func (n *Node) answerSchedules(
	ctx context.Context, q *wire.SchedulesBody,
) (answer wire.SchedulesAnswer, err error) {
	list, more, err := n.listSchedules(ctx, q)
	for i := range list {
		answer.Schedules = append(answer.Schedules, scheduleBody(&list[i]))
	}
	answer.More = more
	return answer, err
}

func scheduleBody(s *leat.Schedule) wire.ScheduleBody {
	m := &s.Message
	body := wire.ScheduleBody{Topic: s.Topic, Name: s.Name, Cron: s.Cron, Zone: s.Zone, Missed: uint8(s.Missed),
		TTL: int64(m.TTL), Partition: m.Partition}
	if m.Key != nil {
		body.Key = &m.Key
	}
	if m.Value != nil {
		body.Value = &m.Value
	}
	for _, h := range m.Headers {
		body.Headers = append(body.Headers, wire.HeaderBody(h))
	}
	if !s.Next.IsZero() {
		body.Next = s.Next.UnixNano()
	}
	return body
}

func scheduleOf(b *wire.ScheduleBody) leat.Schedule {
	s := leat.Schedule{Topic: b.Topic, Name: b.Name, Cron: b.Cron, Zone: b.Zone,
		Missed: leat.MissedRuns(b.Missed), Message: leat.Message{TTL: time.Duration(b.TTL)}}
	if b.Key != nil {
		s.Message.Key = append([]byte{}, *b.Key...)
	}
	if b.Value != nil {
		s.Message.Value = append([]byte{}, *b.Value...)
	}
	for _, h := range b.Headers {
		s.Message.Headers = append(s.Message.Headers, leat.Header(h))
	}
	return s
}
