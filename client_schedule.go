package leat

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// scheduleBody is a schedule as it travels.
func scheduleBody(s *Schedule) wire.ScheduleBody {
	m := &s.Message
	body := wire.ScheduleBody{Topic: s.Topic, Name: s.Name, Cron: s.Cron, Zone: s.Zone, Missed: uint8(s.Missed),
		Key: presentBytes(m.Key), Value: presentBytes(m.Value), TTL: int64(m.TTL)}
	for _, h := range m.Headers {
		body.Headers = append(body.Headers, wire.HeaderBody(h))
	}
	return body
}

// scheduleOf is the reverse.
func scheduleOf(b *wire.ScheduleBody) Schedule {
	s := Schedule{Topic: b.Topic, Name: b.Name, Cron: b.Cron, Zone: b.Zone, Missed: MissedRuns(b.Missed),
		Message: Message{TTL: time.Duration(b.TTL), Topic: b.Topic, Partition: b.Partition}}
	if b.Key != nil {
		s.Message.Key = *b.Key
	}
	if b.Value != nil {
		s.Message.Value = *b.Value
	}
	for _, h := range b.Headers {
		s.Message.Headers = append(s.Message.Headers, Header(h))
	}
	if b.Next != 0 {
		s.Next = time.Unix(0, b.Next)
	}
	return s
}

// askSchedules is ask of a node that must know schedules.
func (c *client) askSchedules(ctx context.Context, n *clientNode, op wire.Op, body, answer any) error {
	return c.askWith(ctx, n, true, wire.FeatureSchedules, op, body, answer)
}

// hasNone reports whether an error says that a node has no schedules of a topic: it has not heard of the
// topic yet, or is of a version that knows none.
func hasNone(err error) bool {
	return errors.Is(err, core.ErrTopicNotFound) || errors.Is(err, core.ErrUnsupported)
}

// PutSchedule implements Backend. The node of its partition has a schedule; with another key that may have
// been another one.
func (c *client) PutSchedule(ctx context.Context, s Schedule) error {
	if err := core.ValidateName("topic", s.Topic); err != nil {
		return err
	}
	if _, err := s.Stored(c.clock.Now()); err != nil {
		return err
	}
	t, err := c.topic(ctx, "put a schedule of", s.Topic)
	if err != nil {
		return err
	}
	has := t.nodeOf(s.Target(t.table))
	// First there, so that nothing is lost if the rest fails.
	if err := c.putSchedule(ctx, t, has, &s); err != nil {
		return err
	}
	for _, n := range c.allNodes() {
		if n.id == has {
			continue
		}
		if _, err := c.deleteSchedule(ctx, n, s.Topic, s.Name); err != nil && !hasNone(err) {
			return err
		}
	}
	return nil
}

// putSchedule puts a schedule at a node, which may have to hear of the topic yet: then it is asked again,
// while the topic is there.
func (c *client) putSchedule(ctx context.Context, t *clientTopic, has uint16, s *Schedule) error {
	patient, cancel := c.patient(ctx)
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := c.askSchedules(ctx, c.node(has), wire.OpPutSchedule, scheduleBody(s), &wire.Empty{})
		if !errors.Is(err, core.ErrTopicNotFound) || c.refresh(ctx, t) != nil ||
			c.sleep(patient, attempt) != nil {
			return err
		}
	}
}

// DeleteSchedule implements Backend.
func (c *client) DeleteSchedule(ctx context.Context, topic, name string) (deleted bool, err error) {
	if err := core.ValidateName("topic", topic); err != nil {
		return false, err
	}
	if err := core.ValidateName("schedule", name); err != nil {
		return false, err
	}
	if _, err := c.topic(ctx, "delete a schedule of", topic); err != nil {
		return false, err
	}
	err = c.eachScheduler(func(n *clientNode) error {
		had, err := c.deleteSchedule(ctx, n, topic, name)
		deleted = deleted || had
		return err
	})
	return deleted, err
}

// eachScheduler calls f with one node after the other. Nodes that have none of what is asked for do not
// count, unless all are so.
func (c *client) eachScheduler(f func(*clientNode) error) (err error) {
	some := false
	for _, n := range c.allNodes() {
		switch one := f(n); {
		case one == nil:
			some = true
		case hasNone(one):
			err = one
		default:
			return one
		}
	}
	if some {
		return nil
	}
	return err
}

// deleteSchedule deletes a schedule from one node.
func (c *client) deleteSchedule(ctx context.Context, n *clientNode, topic, name string) (bool, error) {
	var answer wire.ScheduleDeleted
	body := wire.ScheduleNameBody{Topic: topic, Name: name}
	err := c.askSchedules(ctx, n, wire.OpDeleteSchedule, body, &answer)
	return answer.Deleted, err
}

// Schedules implements Backend.
func (c *client) Schedules(ctx context.Context, topic string) (list []Schedule, err error) {
	if topic != "" {
		if err := core.ValidateName("topic", topic); err != nil {
			return nil, err
		}
		if _, err := c.topic(ctx, "list schedules of", topic); err != nil {
			return nil, err
		}
	}
	err = c.eachScheduler(func(n *clientNode) error {
		body := wire.SchedulesBody{Topic: topic}
		for more := true; more; {
			var answer wire.SchedulesAnswer
			if err := c.askSchedules(ctx, n, wire.OpSchedules, body, &answer); err != nil {
				return err
			}
			for i := range answer.Schedules {
				list = append(list, scheduleOf(&answer.Schedules[i]))
			}
			if more = answer.More && len(answer.Schedules) > 0; more {
				last := &list[len(list)-1]
				body.After = &wire.ScheduleNameBody{Topic: last.Topic, Name: last.Name}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b Schedule) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}
