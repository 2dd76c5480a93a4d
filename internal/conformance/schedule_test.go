package conformance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// schedules lists the schedules of a topic.
func schedules(t *testing.T, c *carrier, topic string) []leat.Schedule {
	t.Helper()
	list, err := c.bus.Schedules(soon(t), topic)
	if err != nil {
		t.Fatalf("Schedules(%s): %v", topic, err)
	}
	return list
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for ctx := soon(t); !holds(); {
		if ctx.Err() != nil {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

var _ = register("schedules are put, listed, run and deleted", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 6, Ack: leat.AckPage})
	far := leat.Schedule{Topic: topic, Cron: "0 12 1 1 *", Zone: "Europe/Berlin", Missed: leat.MissedAll,
		Message: leat.Message{Key: []byte("k"), Value: []byte("v"), TTL: time.Hour,
			Headers: []leat.Header{{Key: "h", Value: []byte("x")}}}}
	for i := range 8 { // on all nodes, and the last where another key was before
		s := far
		s.Name, s.Message.Key = fmt.Sprint("far", i%7), fmt.Append(nil, "k", i)
		if err := c.bus.PutSchedule(soon(t), s); err != nil {
			t.Fatal(err)
		}
	}
	list := schedules(t, c, topic)
	if len(list) != 7 {
		t.Fatalf("%d schedules, want 7: %+v", len(list), list)
	}
	for i, s := range list {
		key := fmt.Sprint("k", i)
		if i == 0 {
			key = "k7" // it was put again
		}
		berlin := s.Next.UTC().Add(time.Hour)
		if m := s.Message; s.Topic != topic || s.Name != fmt.Sprint("far", i) || s.Cron != far.Cron ||
			s.Zone != far.Zone || s.Missed != far.Missed || string(m.Key) != key || string(m.Value) != "v" ||
			m.TTL != time.Hour ||
			len(m.Headers) != 1 || berlin.Hour() != 12 || berlin.YearDay() != 1 || !s.Next.After(time.Now()) {
			t.Errorf("schedule %d is %+v", i, s)
		}
	}
	if all := schedules(t, c, ""); len(all) < len(list) {
		t.Errorf("%d schedules in all, %d of the topic", len(all), len(list))
	}
	eventually(t, "a run of each schedule waits", func() bool {
		keys, _ := delayedKeys(t, c, leat.DelayFilter{Topic: topic})
		return len(keys) == 7
	})
	for i := range 8 {
		deleted, err := c.bus.DeleteSchedule(soon(t), topic, fmt.Sprint("far", i))
		if err != nil || deleted != (i < 7) && !c.cuts {
			t.Errorf("DeleteSchedule(far%d) = %v, %v", i, deleted, err)
		}
	}
	if list := schedules(t, c, topic); len(list) != 0 {
		t.Errorf("left: %+v", list)
	}
	far.Name, far.Cron, far.Zone, far.Message.Key = "often", "* * * * * *", "", nil
	if err := c.bus.PutSchedule(soon(t), far); err != nil {
		t.Fatal(err)
	}
	m := take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), 1)[0]
	if m.Key != nil || string(m.Value) != "v" || m.TTL != time.Hour || len(m.Headers) != 3 ||
		m.Headers[0].Key != "leat-delay-id" || m.Headers[1].Key != "leat-scheduled-time" {
		t.Errorf("delivered %+v", m)
	}
	if _, err := c.bus.DeleteSchedule(soon(t), topic, "often"); err != nil {
		t.Error(err)
	}
})

var _ = register("schedules that cannot be are refused", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{MaxRecordBytes: 1024})
	right := leat.Schedule{Topic: topic, Name: "s", Cron: "@daily"}
	for name, tt := range map[string]struct {
		change func(*leat.Schedule)
		want   error
	}{
		"no cron":      {func(s *leat.Schedule) { s.Cron = "" }, leat.ErrInvalidConfig},
		"a bad cron":   {func(s *leat.Schedule) { s.Cron = "61 * * * *" }, leat.ErrInvalidConfig},
		"a bad zone":   {func(s *leat.Schedule) { s.Zone = "Mars/Olympus" }, leat.ErrInvalidConfig},
		"a bad policy": {func(s *leat.Schedule) { s.Missed = 3 }, leat.ErrInvalidConfig},
		"no name":      {func(s *leat.Schedule) { s.Name = "" }, leat.ErrInvalidName},
		"a bad name":   {func(s *leat.Schedule) { s.Name = "a/b" }, leat.ErrInvalidName},
		"no topic":     {func(s *leat.Schedule) { s.Topic = "nowhere" }, leat.ErrTopicNotFound},
		"of __delay":   {func(s *leat.Schedule) { s.Topic = "__delay" }, leat.ErrInvalidName},
		"a delay":      {func(s *leat.Schedule) { s.Message.Delay = time.Second }, leat.ErrInvalidRecord},
		"an ID":        {func(s *leat.Schedule) { s.Message.ID = "x" }, leat.ErrInvalidRecord},
		"a large value": {func(s *leat.Schedule) { s.Message.Value = make([]byte, 900) },
			leat.ErrRecordTooLarge},
		"over 64 KiB": {func(s *leat.Schedule) { s.Message.Value = make([]byte, 64<<10) },
			leat.ErrRecordTooLarge},
		"our header": {func(s *leat.Schedule) { s.Message.Headers = []leat.Header{{Key: "leat-x"}} },
			leat.ErrInvalidRecord},
	} {
		s := right
		tt.change(&s)
		if err := c.bus.PutSchedule(soon(t), s); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := c.bus.DeleteSchedule(soon(t), "nowhere", "s"); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("DeleteSchedule of no topic: %v", err)
	}
	if _, err := c.bus.DeleteSchedule(soon(t), topic, "a/b"); !errors.Is(err, leat.ErrInvalidName) {
		t.Errorf("DeleteSchedule of a bad name: %v", err)
	}
	if _, err := c.bus.Schedules(soon(t), "nowhere"); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("Schedules of no topic: %v", err)
	}
	if list := schedules(t, c, topic); len(list) != 0 {
		t.Errorf("there are %+v", list)
	}
})
