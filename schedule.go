package leat

import (
	"context"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// MissedRuns says what becomes of the runs of a schedule that are more than 10 s late, as after a node was
// down.
type MissedRuns = core.MissedRuns

// The policies for missed runs.
const (
	// MissedOnce: the newest of them is delivered, late.
	MissedOnce = core.MissedOnce
	// MissedSkip: none is.
	MissedSkip = core.MissedSkip
	// MissedAll: each is, late and in order; of more than 1,000 the newest 1,000.
	MissedAll = core.MissedAll
)

// Schedule is a message that is delivered again and again.
type Schedule struct {
	Topic string
	Name  string // within the topic; of the characters that names of topics have
	// Cron is when: minute, hour, day, month and weekday as in crontab(5), with seconds in front if there are
	// six fields; @hourly, @daily, @weekly, @monthly, @yearly; or @every and a duration of 1 s to ten years,
	// counted from when the schedule was put.
	Cron string
	// Zone is the IANA name of the time zone whose clocks count, as Europe/Berlin; empty is UTC. What is due
	// in an hour that is missing, because clocks are set forward, is due once, when they are; in an hour that
	// comes twice, the first time. A schedule of every hour goes on as time does.
	Zone   string
	Missed MissedRuns
	// Message is what is delivered: Key, Value, Headers and TTL, 64 KiB at most. With a null key it goes to
	// the partition of Name.
	Message Message
	Next    time.Time // when the next run is due, as Bus.Schedules tells; zero if none is
}

// PutSchedule makes a schedule, or replaces the one of that name; the same once more changes nothing, so a
// program may put its schedules whenever it starts. A replaced one begins anew: what waits of it is dropped.
// It is stored at the level of its topic when it returns. ErrInvalidConfig says what is wrong with Cron or
// Zone.
//
// Over a server every node is asked, for the schedule may have been elsewhere with another key: it is stored
// already when that fails with ErrUnavailable, and the one before may still be there until it is put again.
func (b *Bus) PutSchedule(ctx context.Context, s Schedule) error {
	return b.backend.PutSchedule(ctx, s)
}

// DeleteSchedule ends a schedule and drops what waits of it; a run that is being delivered may still come. It
// is false if there is none of that name.
func (b *Bus) DeleteSchedule(ctx context.Context, topic, name string) (bool, error) {
	return b.backend.DeleteSchedule(ctx, topic, name)
}

// Schedules lists schedules by topic and name, of one topic or, with an empty name, of all. Over a server,
// nodes that cannot be asked are ErrUnavailable.
func (b *Bus) Schedules(ctx context.Context, topic string) ([]Schedule, error) {
	return b.backend.Schedules(ctx, topic)
}

// Target gives the partition of the messages.
func (s *Schedule) Target(table routing.Table) int32 {
	key := s.Message.Key
	if key == nil {
		key = []byte(s.Name)
	}
	return table.Partition(routing.Slot(routing.Hash(key)))
}

// Stored makes the schedule that a node stores, but for topic, partition, level and Random. now is in
// nanoseconds since 1970.
func (s *Schedule) Stored(now int64) (core.Schedule, error) {
	const op = "put a schedule"
	out := core.Schedule{Name: s.Name, Missed: s.Missed, Start: now - now%int64(time.Millisecond), Spec: s.Cron,
		Zone: s.Zone}
	if out.Zone == "" {
		out.Zone = "UTC"
	}
	if err := core.ValidateName("schedule", s.Name); err != nil {
		return out, err
	}
	if err := s.Missed.Validate(); err != nil {
		return out, err
	}
	if _, err := out.Cron(); err != nil {
		return out, err
	}
	m := &s.Message
	if m.Deferred() || m.ID != "" {
		return out, core.Errorf(core.CodeInvalidRecord, op, "a message of a schedule has no ID, Delay or DeliverAt")
	}
	if err := core.CheckHeaders(s.Topic, m.Headers); err != nil {
		return out, err
	}
	size, err := core.ExtendedRecordSize(len(m.Key), len(m.Value), m.Headers, m.extras())
	if err != nil {
		return out, err
	}
	if size > core.MaxScheduleRecordBytes {
		return out, core.Errorf(core.CodeRecordTooLarge, op, "a message of %d bytes, at most %d", size,
			core.MaxScheduleRecordBytes)
	}
	var hash uint64
	if m.Key != nil {
		hash = routing.Hash(m.Key)
	}
	out.Record = make([]byte, size)
	core.PutExtendedRecord(out.Record, m.Key, m.Value, m.Headers, hash, 0, m.extras())
	return out, nil
}

// ScheduleOf is the reverse of Stored. What it gives points into nothing of s.
func ScheduleOf(topic string, s *core.Schedule) (Schedule, error) {
	out := Schedule{Topic: topic, Name: s.Name, Cron: s.Spec, Zone: s.Zone, Missed: s.Missed}
	r, _, err := core.DecodeRecord(s.Record)
	if err != nil {
		return out, err
	}
	out.Message = Message{Key: cloneBytes(r.Key), Value: cloneBytes(r.Value), TTL: r.TTL, Topic: topic,
		Partition: s.Partition}
	out.Message.Headers, err = new(core.HeaderDecoder).Decode(r.RawHeaders, nil)
	for i := range out.Message.Headers {
		out.Message.Headers[i].Value = cloneBytes(out.Message.Headers[i].Value)
	}
	return out, err
}
