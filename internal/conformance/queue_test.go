package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// quickly has failed messages come again at once.
var quickly = leat.QueueConfig{Lease: time.Minute, Retry: leat.Backoff{Max: time.Nanosecond}, MaxAttempts: -1}

// worked reads and acks with several members until every value was acked, and gives how often each was
// delivered.
func worked(t *testing.T, c *carrier, topic string, n int, options ...leat.SubscribeOption) map[string]int {
	t.Helper()
	ctx, stop := context.WithCancel(soon(t))
	defer stop()
	var mu sync.Mutex
	seen := map[string]int{}
	var working sync.WaitGroup
	for range 3 {
		sub := subscribe(t, c.dial(t), topic, options...)
		working.Go(func() {
			for m, err := range sub.Messages(ctx) {
				if err != nil {
					t.Errorf("member: %v", err)
					return
				}
				if m.Attempt == 1 && len(m.Value)%3 == 0 {
					if err := m.Nack(0); err != nil && !errors.Is(err, leat.ErrStaleAck) {
						t.Errorf("Nack: %v", err)
					}
					continue
				}
				value := string(m.Value)
				if err := m.Ack(); errors.Is(err, leat.ErrStaleAck) {
					continue
				} else if err != nil {
					t.Errorf("Ack: %v", err)
				}
				mu.Lock()
				if seen[value]++; len(seen) == n {
					stop()
				}
				mu.Unlock()
			}
		})
	}
	working.Wait()
	if len(seen) != n {
		t.Errorf("%d different messages, want %d", len(seen), n)
	}
	return seen
}

var _ = register("the members of a queue group share the messages", func(t *testing.T, c *carrier) {
	const n = 300
	topic := c.topic(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	p := c.producer(t, topic)
	for i := range n {
		p.PublishAsync(leat.Message{Key: fmt.Append(nil, i%50), Value: fmt.Append(nil, i)}, nil)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	for value, times := range worked(t, c, topic, n, leat.Group(topic), leat.Queue(quickly), leat.MaxHeld(20)) {
		if times != 1 && !c.cuts {
			t.Errorf("%s was delivered and acked %d times", value, times)
		}
	}
})

var _ = register("a queue group goes on where it is, and counts attempts", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage})
	p := c.producer(t, topic)
	for i := range 3 {
		publish(t, p, "k", fmt.Sprint(i))
	}
	sub := subscribe(t, c.bus, topic, leat.Group(topic), leat.KeyShared(quickly))
	first := take(t, sub, 1)[0]
	if string(first.Value) != "0" || first.Attempt < 1 {
		t.Fatalf("the first is %q, attempt %d", first.Value, first.Attempt)
	}
	if err := first.Nack(0); err != nil && !c.cuts {
		t.Fatal(err)
	}
	again := take(t, sub, 1)[0]
	if string(again.Value) != "0" || again.Attempt < 2 {
		t.Fatalf("after a nack comes %q, attempt %d; the key waits for it", again.Value, again.Attempt)
	}
	if err := first.Ack(); !errors.Is(err, leat.ErrStaleAck) {
		t.Errorf("ack of what was refused: %v", err)
	}
	if err := again.Ack(); err != nil && !c.cuts {
		t.Fatal(err)
	}
	if err := sub.Commit(soon(t)); err != nil && !c.cuts {
		t.Fatal(err)
	}
	if err := sub.Close(); err != nil && !c.cuts {
		t.Fatal(err)
	}
	next := take(t, subscribe(t, c.bus, topic, leat.Group(topic), leat.KeyShared(quickly)), 1)[0]
	if string(next.Value) != "1" && !c.cuts {
		t.Errorf("the group goes on at %q, want 1", next.Value)
	}
})

var _ = register("a queue group tells where its messages stand", func(t *testing.T, c *carrier) {
	if c.cuts {
		return // a member that is cut off has nothing
	}
	topic := c.topic(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	p := c.producer(t, topic)
	for i := range 40 {
		publish(t, p, fmt.Sprint(i), "x")
	}
	cfg := leat.QueueConfig{Lease: time.Hour, Retry: leat.Backoff{Min: time.Hour, Max: time.Hour}}
	sub := subscribe(t, c.bus, topic, leat.Group(topic), leat.Queue(cfg), leat.MaxHeld(10))
	for i, m := range take(t, sub, 10) {
		switch {
		case i < 3:
			if err := m.Ack(); err != nil {
				t.Error(err)
			}
		case i < 5:
			if err := m.Nack(-1); err != nil {
				t.Error(err)
			}
		}
	}
	// The member asks for more when it has answered, or not: what is ready may be leased.
	want := leat.QueueCounts{Delayed: 2}
	for ctx := soon(t); ; {
		infos, err := c.bus.Groups(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, lag := leat.QueueCounts{}, leat.GroupLag{}
		for i := range infos {
			if infos[i].Group == topic {
				got, lag = infos[i].QueueCounts(), infos[i].Lag()
				for _, part := range infos[i].Partitions {
					if part.Oldest > part.Committed || part.Oldest < 0 {
						t.Errorf("partition %d: oldest %d, next %d", part.Partition, part.Oldest, part.Committed)
					}
				}
			}
		}
		if got.Ready+got.Leased+got.Delayed != lag.Records {
			t.Errorf("%+v of a lag of %d", got, lag.Records)
		}
		if lag.Records == 37 && got.Delayed == want.Delayed && got.Leased >= 5 && got.Leased <= 10 && lag.Time > 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%+v of a lag of %+v; want 37 with 2 delayed and 5 to 10 leased", got, lag)
		case <-time.After(5 * time.Millisecond):
		}
	}
})

var _ = register("a dead letter has the reason of the last nack", func(t *testing.T, c *carrier) {
	if c.cuts {
		return // an attempt that ends with its connection has no reason
	}
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage})
	publish(t, c.producer(t, topic), "k", "v")
	twice := quickly
	twice.MaxAttempts = 2
	sub := subscribe(t, c.bus, topic, leat.Group("member"), leat.Queue(twice))
	for _, reason := range []string{"busy", "no stock"} {
		if err := take(t, sub, 1)[0].NackBecause(0, reason); err != nil {
			t.Fatal(err)
		}
	}
	wantReason(t, c.bus, topic+".dlq.member", "no stock")
	once := leat.PullConfig{Wait: 30 * time.Second, Queue: leat.QueueConfig{MaxAttempts: 1}}
	list, err := c.bus.Pull(soon(t), topic, "puller", once)
	if err != nil || len(list) != 1 {
		t.Fatalf("pulled %+v, %v", list, err)
	}
	results, err := c.bus.Answer(soon(t), topic, "puller", leat.Answer{Kind: leat.AnswerNack, Reason: "no room"},
		[]leat.Loan{list[0].Loan})
	if err != nil || results[0] != nil {
		t.Fatalf("nack: %v, %v", results, err)
	}
	wantReason(t, c.bus, topic+".dlq.puller", "no room")
})

// wantReason waits for the first letter of a topic with one partition and looks at why it is one.
func wantReason(t *testing.T, bus *leat.Bus, letters, want string) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for ctx := soon(t); ; {
		page, err := bus.ReadDeadLetters(ctx, letters, leat.DeadLetterRead{})
		if err != nil && !errors.Is(err, leat.ErrTopicNotFound) {
			t.Fatal(err)
		}
		if len(page.Letters) > 0 {
			o := page.Letters[0].Origin
			if o.Reason != want || o.Code != leat.CodeAttemptsExhausted {
				t.Errorf("%s: %v because of %q, want %q", letters, o.Code, o.Reason, want)
			}
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("no letter came to %s", letters)
		}
	}
}
