package conformance

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// delayedKeys lists the keys of the messages of a topic that wait, by due time.
func delayedKeys(t *testing.T, c *carrier, filter leat.DelayFilter) (keys []string,
	messages []leat.DelayedMessage) {
	t.Helper()
	for {
		page, err := c.bus.Delayed(soon(t), filter)
		if err != nil {
			t.Fatalf("Delayed(%+v): %v", filter, err)
		}
		if most := cmp.Or(filter.Limit, 100); len(page.Messages) > most {
			t.Errorf("a page of %d messages, want %d at most", len(page.Messages), most)
		}
		for _, m := range page.Messages {
			keys = append(keys, string(m.Key))
		}
		messages = append(messages, page.Messages...)
		if page.Next == "" {
			return keys, messages
		}
		filter.After = page.Next
	}
}

// wantCancelled checks the outcome of CancelDelayed.
func wantCancelled(t *testing.T, c *carrier, what, handle string, want leat.DelayOutcome) {
	t.Helper()
	if got, err := c.bus.CancelDelayed(soon(t), handle); got != want || err != nil {
		t.Errorf("%s: CancelDelayed(%s) = %v, %v; want %v", what, handle, got, err, want)
	}
}

// reschedule asks until there is an answer, and gives the new handle of the message with a key.
func reschedule(t *testing.T, c *carrier, topic, key, handle string, at time.Time) string {
	t.Helper()
	for ctx := soon(t); ; {
		moved, outcome, err := c.bus.Reschedule(ctx, handle, at)
		switch {
		case errors.Is(err, leat.ErrUnavailable) && c.cuts && ctx.Err() == nil:
		case err != nil || outcome != leat.DelayMoved:
			t.Fatalf("Reschedule(%s) = %q, %v, %v", handle, moved, outcome, err)
		case moved != "":
			return moved
		default: // the answer before was lost
			_, list := delayedKeys(t, c, leat.DelayFilter{Topic: topic, Key: []byte(key)})
			if len(list) != 1 {
				t.Fatalf("%d messages with key %s wait, want 1", len(list), key)
			}
			return list[0].Handle
		}
	}
}

var _ = register("a producer calls back for delayed messages where it does for others", func(t *testing.T,
	c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	p := c.producer(t, topic)
	const n = 300
	called := 0 // belongs to the goroutine of the callbacks
	var inside atomic.Int32
	for round, end := range []func() error{func() error { return p.Flush(soon(t)) }, p.Close} {
		for i := range n {
			m := leat.Message{Value: []byte("v")}
			if i%2 == 0 {
				m.Delay = time.Hour
			}
			p.PublishAsync(m, func(_ leat.Receipt, err error) {
				if others := inside.Add(1) - 1; err != nil || others != 0 {
					t.Errorf("called back with error %v, beside %d others", err, others)
				}
				runtime.Gosched()
				called++
				inside.Add(-1)
			})
		}
		if err := end(); err != nil || called != (1+round)*n {
			t.Errorf("round %d: error %v, %d callbacks, want %d", round, err, called, (1+round)*n)
		}
	}
})

var _ = register("delayed messages come once, and not before they are due", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 6, Ack: leat.AckPage})
	p := c.producer(t, topic)
	const n = 60
	due := map[string]time.Time{}
	handles := map[string]string{}
	var mu sync.Mutex // guards handles
	for i := range n {
		key := fmt.Sprint("k", i)
		m := leat.Message{Key: []byte(key), Value: []byte("v" + key), TTL: time.Hour,
			Headers: []leat.Header{{Key: "h", Value: []byte(key)}}}
		if due[key] = time.Now().Add(time.Duration(1+i%20) * time.Millisecond); i%2 == 0 {
			m.Delay = time.Duration(1+i%20) * time.Millisecond
		} else {
			m.DeliverAt = due[key]
		}
		if i%3 == 0 {
			r, err := p.Publish(soon(t), m)
			if err != nil || r.Offset != -1 || r.Handle == "" || r.Topic != topic {
				t.Fatalf("Publish(%s) = %+v, %v", key, r, err)
			}
			mu.Lock()
			handles[key] = r.Handle
			mu.Unlock()
			continue
		}
		p.PublishAsync(m, func(r leat.Receipt, err error) {
			if err != nil {
				t.Errorf("PublishAsync(%s): %v", key, err)
			}
			mu.Lock()
			defer mu.Unlock()
			handles[key] = r.Handle
		})
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := p.TryPublish(leat.Message{Key: []byte("tried"), Delay: time.Millisecond}); err != nil {
		t.Errorf("TryPublish: %v", err)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), n+1) {
		key := string(m.Key)
		if seen[key] {
			t.Errorf("%s comes twice", key)
		}
		if seen[key] = true; key == "tried" {
			continue
		}
		if string(m.Value) != "v"+key || m.TTL != time.Hour || len(m.Headers) != 2 ||
			m.Headers[0].Key != "leat-delay-id" || string(m.Headers[0].Value) != handles[key] ||
			string(m.Headers[1].Value) != key {
			t.Errorf("%s is delivered as %+v, its handle is %s", key, m, handles[key])
		}
		// The clock of a node is that of the test here, so a delay ends no sooner than it would have here.
		if m.Time.Before(due[key]) {
			t.Errorf("%s is delivered at %v, due at %v", key, m.Time, due[key])
		}
	}
	wantCancelled(t, c, "after it", handles["k0"], leat.DelayFired)
})

var _ = register("delayed messages are listed, cancelled and rescheduled", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 6, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	base := time.Now().Add(time.Hour).Truncate(time.Second)
	const n = 30
	handles := map[string]string{}
	byDue := make([]string, n)
	for i := range n {
		at := i * 7 % n
		key := fmt.Sprintf("k%02d", i)
		r, err := p.Publish(soon(t), leat.Message{Key: []byte(key), Partition: int32(i % 6),
			DeliverAt: base.Add(time.Duration(at) * time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		handles[key], byDue[at] = r.Handle, key
	}
	for name, tt := range map[string]struct {
		filter leat.DelayFilter
		want   []string
	}{
		"all":          {leat.DelayFilter{}, byDue},
		"page by page": {leat.DelayFilter{Limit: 4}, byDue},
		"one by one":   {leat.DelayFilter{Limit: 1}, byDue},
		"exactly all":  {leat.DelayFilter{Limit: n}, byDue},
		"from":         {leat.DelayFilter{From: base.Add(20 * time.Minute)}, byDue[20:]},
		"to":           {leat.DelayFilter{To: base.Add(3 * time.Minute)}, byDue[:3]},
		"a span by pages": {leat.DelayFilter{From: base.Add(time.Minute), To: base.Add(9 * time.Minute),
			Limit: 3}, byDue[1:9]},
		"a key":        {leat.DelayFilter{Key: []byte("k11")}, []string{"k11"}},
		"an empty key": {leat.DelayFilter{Key: []byte{}}, nil},
		"a far future": {leat.DelayFilter{From: base.Add(24 * time.Hour),
			To: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		"the far past": {leat.DelayFilter{To: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)}, nil},
	} {
		tt.filter.Topic = topic
		got, messages := delayedKeys(t, c, tt.filter)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
		for _, m := range messages {
			if m.Handle != handles[string(m.Key)] || m.Topic != topic || m.Stored.IsZero() || m.Bytes == 0 {
				t.Errorf("%s: %+v, its handle is %s", name, m, handles[string(m.Key)])
			}
		}
	}
	for i := range 6 { // of every partition
		key := fmt.Sprintf("k%02d", i)
		wantCancelled(t, c, "waiting", handles[key], leat.DelayCancelled)
		wantCancelled(t, c, "again", handles[key], leat.DelayCancelled)
	}
	later := reschedule(t, c, topic, "k06", handles["k06"], base.Add(100*time.Hour))
	now := reschedule(t, c, topic, "k07", handles["k07"], time.Now().Add(-time.Hour))
	wantCancelled(t, c, "the old handle", handles["k06"], leat.DelayMoved)
	far := leat.DelayFilter{Topic: topic, From: base.Add(99 * time.Hour)}
	if got, _ := delayedKeys(t, c, far); !slices.Equal(got, []string{"k06"}) {
		t.Errorf("after 99 hours %v are due, want k06", got)
	}
	wantCancelled(t, c, "the new handle", later, leat.DelayCancelled)
	got := take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), 1)
	if string(got[0].Key) != "k07" || string(got[0].Headers[0].Value) != now {
		t.Errorf("delivered %s as %s, want k07 as %s", got[0].Key, got[0].Headers[0].Value, now)
	}
	if moved, outcome, err := c.bus.Reschedule(soon(t), now, time.Now()); moved != "" ||
		outcome != leat.DelayFired || err != nil {
		t.Errorf("Reschedule of what was delivered = %q, %v, %v", moved, outcome, err)
	}
	if got, _ := delayedKeys(t, c, leat.DelayFilter{Topic: topic}); len(got) != n-8 {
		t.Errorf("%d wait, want %d", len(got), n-8)
	}
})

var _ = register("delayed messages that cannot be are refused", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage, MaxRecordBytes: 1024})
	p := c.producer(t, topic)
	now := time.Now()
	tests := []struct {
		name string
		m    leat.Message
		want error
	}{
		{"both", leat.Message{Delay: time.Second, DeliverAt: now}, leat.ErrInvalidRecord},
		{"with an ID", leat.Message{ID: "x", Delay: time.Second}, leat.ErrInvalidRecord},
		{"too short", leat.Message{Delay: time.Millisecond - 1}, leat.ErrInvalidRecord},
		{"too late", leat.Message{DeliverAt: now.AddDate(11, 0, 0)}, leat.ErrInvalidRecord},
		{"too large", leat.Message{Value: []byte(strings.Repeat("x", 990)), Delay: time.Second},
			leat.ErrRecordTooLarge},
	}
	for _, tt := range tests {
		if _, err := p.Publish(soon(t), tt.m); !errors.Is(err, tt.want) {
			t.Errorf("%s: Publish: %v, want %v", tt.name, err, tt.want)
		}
		if err := p.TryPublish(tt.m); !errors.Is(err, tt.want) {
			t.Errorf("%s: TryPublish: %v, want %v", tt.name, err, tt.want)
		}
		answer := make(chan error, 1)
		p.PublishAsync(tt.m, func(_ leat.Receipt, err error) { answer <- err })
		select {
		case err := <-answer:
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: PublishAsync: %v, want %v", tt.name, err, tt.want)
			}
		case <-soon(t).Done():
			t.Fatalf("%s: PublishAsync: no answer", tt.name)
		}
	}
	_, err := p.PublishBatch(soon(t), []leat.Message{{Delay: time.Second}})
	if !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("PublishBatch: %v", err)
	}
	for _, filter := range []leat.DelayFilter{{Limit: -1}, {Limit: leat.MaxDelayedPage + 1}, {After: "1.2"}} {
		if _, err := c.bus.Delayed(soon(t), filter); !errors.Is(err, leat.ErrInvalidConfig) {
			t.Errorf("Delayed(%+v): %v", filter, err)
		}
	}
	for name, want := range map[string]error{"nowhere": leat.ErrTopicNotFound, "__delay": leat.ErrInvalidName} {
		if _, err := c.bus.Delayed(soon(t), leat.DelayFilter{Topic: name}); !errors.Is(err, want) {
			t.Errorf("Delayed of topic %s: %v, want %v", name, err, want)
		}
	}
	for _, handle := range []string{"", "x", "d1.16.0.0", "d1.3.0.0.00000000"} {
		if _, err := c.bus.CancelDelayed(soon(t), handle); !errors.Is(err, leat.ErrInvalidRecord) {
			t.Errorf("CancelDelayed(%q): %v", handle, err)
		}
		if _, _, err := c.bus.Reschedule(soon(t), handle, now); !errors.Is(err, leat.ErrInvalidRecord) {
			t.Errorf("Reschedule(%q): %v", handle, err)
		}
	}
	none := c.producer(t, topic, leat.WithAck(leat.AckNone))
	r, err := none.Publish(soon(t), leat.Message{Key: []byte("none"), Delay: time.Hour})
	if err != nil || r.Handle != "" || r.Offset != -1 || r.Topic != topic {
		t.Errorf("Publish at level none = %+v, %v", r, err)
	}
})

var _ = register("what waits for a topic goes with it", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 6, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	var handles []string
	for i := range 6 {
		r, err := p.Publish(soon(t), leat.Message{Partition: int32(i), Delay: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, r.Handle)
	}
	ctx := soon(t)
	err := c.bus.DeleteTopic(ctx, topic)
	for c.cuts && errors.Is(err, leat.ErrUnavailable) && ctx.Err() == nil {
		err = c.bus.DeleteTopic(ctx, topic)
	}
	if err != nil && !(c.cuts && errors.Is(err, leat.ErrTopicNotFound)) {
		t.Fatal(err)
	}
	for { // each node hears of it by itself
		_, err := c.bus.Delayed(ctx, leat.DelayFilter{Topic: topic})
		if errors.Is(err, leat.ErrTopicNotFound) {
			break
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the topic is still there: %v", err)
		}
	}
	for _, handle := range handles {
		wantCancelled(t, c, "for a topic that is gone", handle, leat.DelayDropped)
	}
})
