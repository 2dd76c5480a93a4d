package node

import (
	"fmt"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// batches takes batches from a subscription until they end at offset end of partition 0.
func batches(t *testing.T, sub *leat.Subscription, end int64) []*leat.Batch {
	t.Helper()
	var list []*leat.Batch
	for b, err := range sub.Batches(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if list = append(list, b); b.Next >= end {
			break
		}
	}
	return list
}

// TestBatchesOutliveTopicAndBus: kept batches of a topic at page and of one at disk are what they were when
// retention, the end of the topic or the end of the bus took the segments away.
func TestBatchesOutliveTopicAndBus(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		for name, end := range map[string]func(*bed) error{
			"bus":   func(b *bed) error { b.open = false; return b.Close() },
			"topic": func(b *bed) error { return b.DeleteTopic(soon(t), "t") },
		} {
			t.Run(fmt.Sprint(level, " ", name), func(t *testing.T) {
				b := one(t, leat.TopicConfig{
					Ack: level, SegmentBytes: core.MinSegmentBytes, RetentionBytes: 2 * core.MinSegmentBytes,
				})
				p := b.producer("t")
				sub := b.subscribe("t", leat.From(leat.Earliest))
				var list []*leat.Batch
				for i := range int64(200) {
					publish(t, p, text(fmt.Sprintf("%0*d", 8<<10, i)))
					if i%10 == 9 {
						list = append(list, batches(t, sub, i+1)...)
					}
				}
				log := b.partition(0).log
				eventually(t, "retention moves the start", func() bool { return log.Start() > 0 })
				if err := end(b); err != nil {
					t.Fatal(err)
				}
				at := int64(0)
				for _, batch := range list {
					for m, err := range batch.Messages() {
						if err != nil || m.Offset != at || string(m.Value) != fmt.Sprintf("%0*d", 8<<10, at) {
							t.Fatalf("offset %d: %.20s, %v", at, m.Value, err)
						}
						at++
					}
					batch.Release()
				}
				if at != 200 {
					t.Errorf("%d messages, want 200", at)
				}
			})
		}
	}
}

// TestMessagesAfterBatches: a loop of messages that follows one of batches goes on with what that had in
// hand, in memory of its own.
func TestMessagesAfterBatches(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	sub := b.subscribe("t")
	for i := range 5 {
		publish(t, p, text(fmt.Sprint(i)))
	}
	s := sub.Backend().(*subscription)
	s.pinning = true
	if err := s.advance(soon(t)); err != nil { // as NextBatch does before it hands out
		t.Fatal(err)
	}
	if s.cursors[0].pin == nil {
		t.Fatal("nothing is pinned")
	}
	first := take(t, sub, 2)
	if s.cursors[0].pin != nil {
		t.Error("a loop of messages keeps a pin")
	}
	if err := sub.Backend().Ack(0, 0); err != nil {
		t.Error(err)
	}
	rest := batches(t, sub, 5)
	if got := values(first); got != "0 1" || rest[0].First != 2 {
		t.Errorf("messages %s, then a batch from %d", got, rest[0].First)
	}
	for _, batch := range rest {
		batch.Release()
	}
}

// TestCloseGivesUpPins: a batch that was read ahead and not handed out keeps nothing.
func TestCloseGivesUpPins(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	sub := b.subscribe("t")
	publish(t, b.producer("t"), text("v"))
	s := sub.Backend().(*subscription)
	s.pinning = true
	if err := s.advance(soon(t)); err != nil {
		t.Fatal(err)
	}
	c := s.cursors[0]
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if c.pin != nil || c.hasRecords() {
		t.Error("a closed subscription holds a run")
	}
	for range sub.Batches(soon(t)) {
		t.Error("a closed subscription gives a batch")
	}
}

// TestBatchesOfARevokedPartition: what is being taken from a member is not handed out any more.
func TestBatchesOfARevokedPartition(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	sub := b.subscribe("t", leat.Group("g"))
	publish(t, b.producer("t"), text("v"))
	batches(t, sub, 1)[0].Release()
	publish(t, b.producer("t"), text("w"))
	s := sub.Backend().(*subscription)
	if err := s.advance(soon(t)); err != nil {
		t.Fatal(err)
	}
	c := s.current
	c.revoking.Store(true)
	var run leat.BatchRun
	if s.takeRun(c, &run) || c.delivered.Load() != 1 {
		t.Errorf("a run of a revoked partition; delivered %d, want 1", c.delivered.Load())
	}
	c.revoking.Store(false)
	got := batches(t, sub, 2)[0]
	if got.First != 1 || c.delivered.Load() != 2 {
		t.Errorf("batch from %d, delivered %d", got.First, c.delivered.Load())
	}
	if err := got.Ack(); err != nil {
		t.Error(err)
	}
	got.Release()
}
