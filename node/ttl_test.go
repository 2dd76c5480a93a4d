package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// TestTTL: a message is delivered until its time to live is over by the clock of the node, to the nanosecond,
// and the ones that were not are counted.
func TestTTL(t *testing.T) {
	manual := clock.NewManual(1e18)
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, TTL: time.Minute}, withClock(manual))
	p := b.producer("t")
	publish(t, p, leat.Message{Value: []byte("own"), TTL: time.Second})
	publish(t, p, text("topic"))
	publish(t, p, leat.Message{Value: []byte("longer"), TTL: time.Hour})
	read := func(n int) string {
		t.Helper()
		return values(take(t, b.subscribe("t", leat.From(leat.Earliest)), n))
	}
	if got := read(3); got != "own topic longer" {
		t.Errorf("at once: %s", got)
	}
	manual.Advance(time.Second - 1)
	if got := read(3); got != "own topic longer" {
		t.Errorf("before the end of the first: %s", got)
	}
	manual.Advance(1)
	if got := read(2); got != "topic longer" {
		t.Errorf("after the first: %s", got)
	}
	manual.Advance(time.Minute - time.Second)
	if got := read(1); got != "longer" {
		t.Errorf("after the second: %s", got)
	}
	if n := b.node.topicNamed("t").expired.Load(); n != 3 {
		t.Errorf("%d messages counted as expired, want 3", n)
	}
	stats, err := StatsOf(soon(t), b.Bus)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range stats.Topics {
		if topic.Name == "t" && topic.Expired != 3 || topic.Name != "t" && topic.Expired != 0 {
			t.Errorf("topic %s has %d expired messages", topic.Name, topic.Expired)
		}
	}
	// Altered, it counts for what is stored; and it is stored.
	if err := b.AlterTopic(soon(t), "t", leat.TopicChange{TTL: new(time.Duration(0))}); err != nil {
		t.Fatal(err)
	}
	if got := read(2); got != "topic longer" {
		t.Errorf("without a time to live of the topic: %s", got)
	}
	b = b.reopen(withClock(manual))
	if got := read(2); got != "topic longer" {
		t.Errorf("after a restart: %s", got)
	}
	err = b.AlterTopic(soon(t), "t", leat.TopicChange{TTL: new(time.Duration(5))})
	wantError(t, "a TTL of 5 ns", err, leat.ErrInvalidConfig)
}

// TestTTLOfALoop: a message that is in the buffer of a loop expires there.
func TestTTLOfALoop(t *testing.T) {
	manual := clock.NewManual(1e18)
	b := one(t, leat.TopicConfig{Ack: leat.AckPage}, withClock(manual))
	batch := make([]leat.Message, 100)
	for i := range batch {
		batch[i] = leat.Message{Value: fmt.Append(nil, i), TTL: time.Second}
	}
	batch[99].TTL = 0
	if _, err := b.producer("t").PublishBatch(soon(t), batch); err != nil {
		t.Fatal(err)
	}
	sub := b.subscribe("t", leat.From(leat.Earliest))
	take(t, sub, 3)
	manual.Advance(time.Second)
	if got := values(take(t, sub, 1)); got != "99" {
		t.Errorf("the next message is %s, want 99", got)
	}
}

// TestTTLOnEveryWay: every way to publish keeps the time to live.
func TestTTLOnEveryWay(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		b := one(t, leat.TopicConfig{Ack: level})
		p := b.producer("t")
		const ttl = time.Hour
		m := leat.Message{Key: []byte("k"), Value: []byte("v"), TTL: ttl, Headers: []leat.Header{{Key: "h"}}}
		publish(t, p, m)
		p.PublishAsync(m, nil)
		if err := p.TryPublish(m); err != nil {
			t.Fatal(err)
		}
		if _, err := p.PublishBatch(soon(t), []leat.Message{m, m}); err != nil {
			t.Fatal(err)
		}
		c, err := p.Claim(soon(t), []byte("k"), 1)
		if err != nil {
			t.Fatal(err)
		}
		c.Bytes()[0], c.TTL, c.Headers = 'v', ttl, m.Headers
		if err := c.Publish(); err != nil {
			t.Fatal(err)
		}
		large := m
		large.Value = make([]byte, 2*inlineBytes)
		publish(t, p, large)
		for i, got := range take(t, b.subscribe("t", leat.From(leat.Earliest)), 7) {
			if got.TTL != ttl || string(got.Key) != "k" || len(got.Headers) != 1 ||
				i < 6 && string(got.Value) != "v" || i == 6 && len(got.Value) != 2*inlineBytes {
				t.Errorf("%v, message %d: TTL %v, key %s, value %.10q", level, i, got.TTL, got.Key, got.Value)
			}
		}
	}
}

// TestPick: of a run, frames with records that have expired are sent anew, others as they are.
func TestPick(t *testing.T) {
	manual := clock.NewManual(1e18)
	b := one(t, leat.TopicConfig{Ack: leat.AckPage}, withClock(manual))
	p := b.producer("t")
	send := func(ttl ...time.Duration) {
		t.Helper()
		batch := make([]leat.Message, len(ttl))
		for i := range batch {
			batch[i] = leat.Message{Key: []byte("key"), Value: []byte("value"), TTL: ttl[i]}
		}
		if _, err := p.PublishBatch(soon(t), batch); err != nil {
			t.Fatal(err)
		}
	}
	send(0, 0)
	send(time.Second, 0, time.Hour)
	send(time.Hour)
	send(time.Second, time.Second)
	send(0)
	part := b.partition(0)
	reader := part.log.Reader(0)
	defer reader.Close()
	run, err := reader.Next(part.log.End())
	if err != nil {
		t.Fatal(err)
	}
	var s sender
	if got := s.pick(&sendCursor{part: part}, run, 0); &got[0] != &run[0] || len(got) != len(run) {
		t.Error("a run of which nothing is left out was copied")
	}
	manual.Advance(time.Second)
	picked := s.pick(&sendCursor{part: part}, run, 0)
	gone := map[int64]bool{2: true, 6: true, 7: true}
	offset := int64(0)
	for rest := picked; len(rest) > 0; {
		h := core.ParseFrameHeader(rest)
		payload := rest[core.FrameHeaderSize:h.Length]
		if err := h.CheckPayload(payload); err != nil || h.BaseOffset != offset {
			t.Fatalf("frame at %d, want %d: %v", h.BaseOffset, offset, err)
		}
		for len(payload) > 0 {
			r, n, err := core.DecodeRecord(payload)
			if err != nil || r.Removed() != gone[offset] || !gone[offset] && string(r.Value) != "value" {
				t.Fatalf("offset %d: %+v, %v", offset, r, err)
			}
			payload = payload[n:]
			offset++
		}
		rest = rest[h.Size():]
	}
	if offset != 9 {
		t.Errorf("%d records, want 9", offset)
	}
}
