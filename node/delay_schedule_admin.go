package node

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/routing"
	"github.com/leatbus/leat/transport/wire"
)

// PutSchedule implements leat.Backend.
func (n *Node) PutSchedule(ctx context.Context, s leat.Schedule) error {
	const op = "put a schedule"
	t, err := n.topicFor("put a schedule of", s.Topic)
	if err != nil {
		return err
	}
	stored, err := s.Stored(n.clock.Now())
	if err != nil {
		return err
	}
	partition := s.Target(t.table)
	if target := t.partitions[partition]; !target.here {
		return notLeader(op, t.placement.Node(partition))
	} else if err := target.refusal(); err != nil {
		return err
	}
	stored.Topic, stored.Partition, stored.Level = t.id, partition, t.cfg.Ack
	stored.Random = n.delays.nextRandom()
	if err := core.CheckScheduled(stored.Record, int(t.maxRecord.Load())); err != nil {
		return err
	}
	old, full := int64(-1), false
	if err := n.delays.do(ctx, op, func(l *delayLoop) {
		if one := l.plans.byName[scheduleName{t.id, s.Name}]; one != nil {
			old = one.offset
		} else {
			full = len(l.plans.byName) >= maxSchedules
		}
	}); err != nil {
		return err
	}
	if full {
		return core.Errorf(core.CodeLimited, op, "the node has %d schedules already", maxSchedules)
	}
	same, err := n.delays.isSchedule(old, &stored)
	if err != nil || same && (t.cfg.Ack < core.AckDisk || old < n.delays.part.log.DurableEnd()) {
		return err
	}
	now := n.clock.Now()
	stored.Start = now - now%int64(time.Millisecond) // behind what the one before it was due for meanwhile
	return n.delays.store(ctx, op, t.cfg.Ack, leat.Message{Key: stored.EncodeKey(nil),
		Value: stored.EncodeValue(nil)})
}

// isSchedule reports whether the schedule at an offset of __delay says the same as another one.
func (d *delays) isSchedule(offset int64, want *core.Schedule) (bool, error) {
	if offset < 0 {
		return false, nil
	}
	if err := d.part.refusal(); err != nil {
		return false, err
	}
	reader := d.part.log.Reader(offset)
	defer reader.Close()
	s, err := scheduleAt(reader, offset)
	if err != nil || s == nil {
		return false, err
	}
	return s.Spec == want.Spec && s.Zone == want.Zone && s.Missed == want.Missed && s.Level == want.Level &&
		s.Partition == want.Partition && bytes.Equal(s.Record, want.Record), nil
}

// scheduleAt reads the schedule at an offset of __delay, which points into the memory of the reader; nil if
// it is not there any more.
func scheduleAt(reader *mmaplog.Reader, offset int64) (*core.Schedule, error) {
	r, _, found, err := recordAt(reader, offset)
	if err != nil || !found {
		return nil, err
	}
	d, err := core.DecodeDelayRecord(&r)
	if err != nil || d.Kind != core.DelaySchedule {
		return nil, err
	}
	return &d.Schedule, nil
}

// nextRandom gives the Random of a schedule, which no other one and no producer has.
func (d *delays) nextRandom() uint64 {
	key := d.nextKey()
	return routing.Hash(key.Encode(nil))
}

// DeleteSchedule implements leat.Backend.
func (n *Node) DeleteSchedule(ctx context.Context, topic, name string) (bool, error) {
	const op = "delete a schedule"
	t, err := n.topicFor("delete a schedule of", topic)
	if err != nil {
		return false, err
	}
	if err := core.ValidateName("schedule", name); err != nil {
		return false, err
	}
	found := false
	err = n.delays.do(ctx, op, func(l *delayLoop) { found = l.plans.byName[scheduleName{t.id, name}] != nil })
	if err != nil || !found {
		return false, err
	}
	gone := core.Schedule{Topic: t.id, Name: name}
	return true, n.delays.store(ctx, op, t.cfg.Ack, leat.Message{Key: gone.EncodeKey(nil)})
}

// store stores a record at a level, and waits until the loop has taken it. The caller may leave while that
// goes on.
func (d *delays) store(ctx context.Context, op string, level core.Ack, m leat.Message) error {
	answer := make(chan error, 1)
	d.changes.Go(func() {
		_, err := d.publish(op, max(level, core.AckPage), &m)
		if err == nil {
			err = d.do(d.ctx, op, func(*delayLoop) {})
		}
		answer <- err
	})
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Schedules implements leat.Backend.
func (n *Node) Schedules(ctx context.Context, topic string) (list []leat.Schedule, err error) {
	q := wire.SchedulesBody{Topic: topic}
	for {
		page, more, err := n.listSchedules(ctx, &q)
		list = append(list, page...)
		if err != nil || !more || len(page) == 0 {
			return list, err
		}
		last := &page[len(page)-1]
		q.After = &wire.ScheduleNameBody{Topic: last.Topic, Name: last.Name}
	}
}

// placedSchedule is a schedule of a list.
type placedSchedule struct {
	schedule
	topic string
	next  int64 // when its next run is due, ns; 0 if none is
}

// listSchedules gives schedules of this node, by topic and name, and whether there are more.
func (n *Node) listSchedules(ctx context.Context, q *wire.SchedulesBody) (
	list []leat.Schedule, more bool, err error,
) {
	only := uint64(0)
	if q.Topic != "" {
		t, err := n.topicFor("list schedules of", q.Topic)
		if err != nil {
			return nil, false, err
		}
		only = t.id
	}
	if err := n.delays.part.refusal(); err != nil {
		return nil, false, err
	}
	found, err := n.delays.schedulesOf(ctx, only)
	if err != nil {
		return nil, false, err
	}
	if q.After != nil {
		found = slices.DeleteFunc(found, func(s placedSchedule) bool {
			return cmp.Or(cmp.Compare(s.topic, q.After.Topic), cmp.Compare(s.Name, q.After.Name)) <= 0
		})
	}
	slices.SortFunc(found, func(a, b placedSchedule) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.Name, b.Name))
	})
	reader := n.delays.part.log.Reader(0)
	defer reader.Close()
	for i, size := 0, 0; i < len(found); i++ {
		if size >= wire.MaxSchedulesBytes {
			return list, true, nil
		}
		stored, err := scheduleAt(reader, found[i].offset)
		if err != nil {
			return nil, false, err
		}
		if stored == nil {
			continue // it was removed or replaced meanwhile
		}
		one, err := leat.ScheduleOf(found[i].topic, stored)
		if err != nil {
			return nil, false, err
		}
		if found[i].next != 0 {
			one.Next = time.Unix(0, found[i].next)
		}
		size += len(stored.Record) + len(stored.Spec)
		list = append(list, one)
	}
	return list, false, nil
}

// schedulesOf gives the schedules of a topic, or of all if it is 0.
func (d *delays) schedulesOf(ctx context.Context, only uint64) (found []placedSchedule, err error) {
	var all []schedule
	err = d.do(ctx, "list schedules", func(l *delayLoop) {
		for name, s := range l.plans.byName {
			if only == 0 || name.topic == only {
				all = append(all, *s)
			}
		}
	})
	now := d.node.clock.Now() / 1e6
	for i := range all {
		one := placedSchedule{schedule: all[i]}
		t := d.node.topicWithID(one.Topic)
		if t == nil {
			continue // it was deleted
		}
		one.topic = t.name
		if one.waits >= 0 {
			one.next = one.due
		} else if due, _, found := one.schedule.next(one.last, now); found { // it is on its way
			one.next = due * 1e6
		}
		found = append(found, one)
	}
	return found, err
}
