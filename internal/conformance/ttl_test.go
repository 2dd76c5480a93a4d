package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// outlast publishes to a topic until the time to live of a message that was published is over by the clock of
// the node.
func outlast(t *testing.T, p *leat.Producer, r leat.Receipt, ttl time.Duration) (published int) {
	t.Helper()
	for {
		published++
		if publish(t, p, "k", "later").Time.Sub(r.Time) > ttl {
			return published
		}
	}
}

var _ = register("messages whose time to live is over are passed over", func(t *testing.T, c *carrier) {
	const ttl = time.Millisecond
	topic := c.topic(t, leat.TopicConfig{})
	p := c.producer(t, topic)
	var batch []leat.Message
	for i := range 6 {
		m := leat.Message{Key: []byte("k"), Value: fmt.Append(nil, i), TTL: time.Hour}
		if i%2 == 0 {
			m.TTL = ttl
		}
		batch = append(batch, m)
	}
	r, err := p.PublishBatch(soon(t), batch)
	if err != nil {
		t.Fatal(err)
	}
	later := outlast(t, p, r, ttl)
	messages := take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), 3+later)
	for i, m := range messages {
		switch {
		case i < 3 && (m.Offset != int64(2*i+1) || string(m.Value) != fmt.Sprint(m.Offset) || m.TTL != time.Hour):
			t.Errorf("message %d: offset %d, value %s, TTL %v", i, m.Offset, m.Value, m.TTL)
		case i >= 3 && (m.Offset != int64(i+3) || m.TTL != 0):
			t.Errorf("message %d: offset %d, TTL %v; want %d and none", i, m.Offset, m.TTL, i+3)
		}
	}
	got := 0
	for b, err := range subscribe(t, c.bus, topic, leat.From(leat.Earliest)).Batches(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		for m := range b.Messages() {
			if m.Offset < 6 && m.Offset%2 == 0 {
				t.Errorf("a batch has offset %d", m.Offset)
			}
			got++
		}
		end := b.Next == int64(6+later)
		b.Release()
		if end {
			break
		}
	}
	if got != 3+later {
		t.Errorf("batches have %d messages, want %d", got, 3+later)
	}
	for _, wrong := range []time.Duration{-1, 1, 11 * 365 * 24 * time.Hour} {
		if _, err := p.Publish(soon(t), leat.Message{TTL: wrong}); !errors.Is(err, leat.ErrInvalidRecord) ||
			!strings.Contains(err.Error(), "TTL") {
			t.Errorf("TTL %v: %v, want ErrInvalidRecord", wrong, err)
		}
	}
})

var _ = register("what has expired is no lag, and a topic's time to live can be altered",
	func(t *testing.T, c *carrier) {
		topic := c.topic(t, leat.TopicConfig{TTL: time.Hour})
		p := c.producer(t, topic)
		const n = 50
		for i := range n {
			if _, err := p.Publish(soon(t), leat.Message{Value: fmt.Append(nil, i), TTL: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		last := publish(t, p, "k", "as its topic says")
		sub := subscribe(t, c.bus, topic, leat.Group(topic))
		ack(t, sub, take(t, sub, n)[n-1])
		const short = 2 * time.Millisecond
		if err := c.bus.AlterTopic(soon(t), topic, leat.TopicChange{TTL: new(short)}); err != nil {
			t.Fatal(err)
		}
		later := outlast(t, p, last, short)
		infos, err := c.bus.Topics(soon(t))
		for _, info := range infos {
			if info.Name == topic && info.Config.TTL != short {
				t.Errorf("the topic has TTL %v, want %v", info.Config.TTL, short)
			}
		}
		if err != nil {
			t.Error(err)
		}
		other := leat.Message{Value: []byte("end"), TTL: time.Hour}
		end, err := p.Publish(soon(t), other)
		if err != nil {
			t.Fatal(err)
		}
		// What came before the topic was altered may have been on its way already.
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Ack(); err != nil {
				t.Error(err)
			}
			if m.Offset == end.Offset {
				break
			}
		}
		if end.Offset != int64(n+1+later) {
			t.Errorf("the last message has offset %d, want %d", end.Offset, n+1+later)
		}
		// Nobody acks these: they are done when the loop has passed over them.
		const trailing = 20
		for i := range trailing {
			if last, err = p.Publish(soon(t), leat.Message{Value: fmt.Append(nil, i), TTL: short}); err != nil {
				t.Fatal(err)
			}
		}
		other.TTL = short
		for r := last; r.Time.Sub(last.Time) <= short; {
			if r, err = p.Publish(soon(t), other); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(soon(t))
		done := make(chan error, 1)
		go func() {
			for m, err := range sub.Messages(ctx) { // some that are not yet over may come
				if err == nil {
					err = m.Ack()
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		awaitNoLag(t, c, topic)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})

// awaitNoLag waits until a group of the name of its topic has no lag.
func awaitNoLag(t *testing.T, c *carrier, topic string) {
	t.Helper()
	for ctx := soon(t); ; {
		infos, err := c.bus.Groups(ctx)
		if err != nil {
			t.Fatal(err)
		}
		lag := int64(0)
		for _, info := range infos {
			if info.Group == topic {
				for _, p := range info.Partitions {
					lag += p.LagRecords
				}
			}
		}
		if lag == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the lag stays at %d", lag)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
