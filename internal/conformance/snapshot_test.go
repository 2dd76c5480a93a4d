package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// snapshotModel is what a topic has by key, as a reader that applies messages sees it.
type snapshotModel map[string]string

func (m snapshotModel) apply(key, value []byte) {
	if value == nil {
		delete(m, string(key))
	} else {
		m[string(key)] = string(value)
	}
}

// check takes a message of the snapshot, which is one of wanted and in its place.
func (m snapshotModel) check(t *testing.T, got *leat.Message, wanted snapshotModel,
	places map[string]string) {
	t.Helper()
	key := string(got.Key)
	if _, twice := m[key]; twice || got.Key == nil || got.Value == nil {
		t.Errorf("%q = %q in the snapshot, twice: %v", key, got.Value, twice)
	}
	if at := fmt.Sprint(got.Partition, ":", got.Offset); wanted[key] != string(got.Value) || places[key] != at {
		t.Errorf("%q = %q at %s, want %q at %s", key, got.Value, at, wanted[key], places[key])
	}
	m[key] = string(got.Value)
	delete(wanted, key)
}

var _ = register("last value per key is a snapshot, then live", func(t *testing.T, c *carrier) {
	for name, cfg := range map[string]leat.TopicConfig{
		"plain":     {Partitions: 3, Ack: leat.AckPage},
		"compacted": {Partitions: 3, Ack: leat.AckPage, Cleanup: leat.CleanupCompact, SegmentBytes: 256 << 10},
	} {
		t.Run(name, func(t *testing.T) { snapshotThenLive(t, c, cfg) })
	}
})

// snapshotThenLive publishes at random, subscribes, and goes on: the snapshot is what the model has, each key
// once, and what comes later follows without a gap.
func snapshotThenLive(t *testing.T, c *carrier, cfg leat.TopicConfig) {
	const seed, before, after = 20260131, 400, 100
	topic := c.topic(t, cfg)
	p := c.producer(t, topic)
	r := rand.New(rand.NewPCG(seed, 1))
	model, offsets := snapshotModel{}, map[string]string{}
	put := func(i int) {
		m := leat.Message{Key: fmt.Append(nil, "k", r.IntN(40)), Value: fmt.Append(nil, i)}
		switch r.IntN(6) {
		case 0:
			m.Value = nil
		case 1:
			m.Key = nil
		}
		p.PublishAsync(m, func(receipt leat.Receipt, err error) { // in the order of each key
			if err != nil {
				t.Error(err)
			} else if m.Key != nil {
				model.apply(m.Key, m.Value)
				offsets[string(m.Key)] = fmt.Sprint(receipt.Partition, ":", receipt.Offset)
			}
		})
	}
	putMany := func(from, n int) {
		for i := range n {
			put(from + i)
		}
		if err := p.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	putMany(0, before)
	ended := false
	sub := subscribe(t, c.bus, topic, leat.LastPerKey(leat.LastPerKeyConfig{Done: func() { ended = true }}))
	snapshot, wanted := snapshotModel{}, maps.Clone(model)
	places := maps.Clone(offsets)
	last := map[int32]int64{}
	putMany(before, after)
	live := 0
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if at, ok := last[m.Partition]; ok && m.Offset <= at {
			t.Fatalf("seed %d: offset %d of partition %d behind %d", seed, m.Offset, m.Partition, at)
		}
		last[m.Partition] = m.Offset
		if m.Snapshot == ended {
			t.Fatalf("seed %d: Snapshot is %v when the end was told: %v", seed, m.Snapshot, ended)
		}
		if !m.Snapshot {
			if live++; m.Key != nil {
				snapshot.apply(m.Key, m.Value)
			}
			if live == after {
				break
			}
			continue
		}
		snapshot.check(t, m, wanted, places)
	}
	if len(wanted) != 0 || live != after || !maps.Equal(snapshot, model) {
		t.Errorf("seed %d: %v are missing; %d live, want %d; in the end %v, want %v", seed, wanted, live, after,
			snapshot, model)
	}
}

var _ = register("a snapshot ends where the log has no message at its end", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	for i, m := range []leat.Message{
		{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: []byte("2")},
		{Key: []byte("a"), Value: []byte("brief"), TTL: time.Millisecond},
	} {
		if _, err := p.Publish(soon(t), m); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	for gone := false; !gone; { // nobody is given the last one any more
		page, err := c.bus.Peek(soon(t), topic, leat.PeekQuery{From: leat.AtOffset(2)})
		if err != nil && !c.cuts {
			t.Fatal(err)
		}
		gone = err == nil && len(page.Messages) == 0
	}
	ended := make(chan struct{})
	sub := subscribe(t, c.bus, topic, leat.LastPerKey(leat.LastPerKeyConfig{Done: func() { close(ended) }}))
	got := take(t, sub, 2)
	if string(got[0].Value) != "1" || string(got[1].Value) != "2" || !got[0].Snapshot {
		t.Errorf("snapshot %q, %q", got[0].Value, got[1].Value)
	}
	looking, stop := context.WithCancel(soon(t))
	go func() {
		<-ended
		stop()
	}()
	for m, err := range sub.Messages(looking) {
		t.Errorf("behind the snapshot comes %+v, %v", m, err)
	}
	if _, err := p.Publish(soon(t), leat.Message{Key: []byte("a"), Partition: 1}); err != nil {
		t.Fatal(err)
	}
	if live := take(t, sub, 1)[0]; live.Snapshot || live.Value != nil || live.Partition != 1 {
		t.Errorf("live comes %+v", live)
	}
})

var _ = register("a snapshot is bounded, and alone", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage})
	p := c.producer(t, topic)
	for _, key := range []string{"a", "b", "a", "c", "b"} {
		publish(t, p, key, "v")
	}
	three := subscribe(t, c.bus, topic, leat.LastPerKey(leat.LastPerKeyConfig{MaxKeys: 3}))
	for i, m := range take(t, three, 3) {
		if m.Offset != int64(i+2) {
			t.Errorf("message %d of the snapshot has offset %d", i, m.Offset)
		}
	}
	two := subscribe(t, c.bus, topic, leat.LastPerKey(leat.LastPerKeyConfig{MaxKeys: 2}))
	for _, err := range two.Messages(soon(t)) {
		if !errors.Is(err, leat.ErrLimited) {
			t.Errorf("with more keys than MaxKeys: %v", err)
		}
	}
	for _, err := range three.Batches(soon(t)) {
		if !errors.Is(err, leat.ErrUnsupported) {
			t.Errorf("Batches: %v", err)
		}
	}
	for name, options := range map[string][]leat.SubscribeOption{
		"Group":    {leat.Group("g")},
		"From":     {leat.From(leat.Earliest)},
		"FromEach": {leat.FromEach(map[int32]leat.Position{0: leat.Earliest})},
		"Filter":   {leat.Filter(`key == "a"`)},
		"MaxKeys":  {leat.LastPerKey(leat.LastPerKeyConfig{MaxKeys: -1})},
	} {
		_, err := c.bus.Subscribe(topic, append([]leat.SubscribeOption{leat.LastPerKey()}, options...)...)
		if !errors.Is(err, leat.ErrInvalidConfig) {
			t.Errorf("with %s: %v", name, err)
		}
	}
	if _, err := c.bus.Subscribe("nope", leat.LastPerKey()); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("of a topic that is not there: %v", err)
	}
	closed := subscribe(t, c.bus, topic, leat.LastPerKey())
	if err := closed.Close(); err != nil {
		t.Error(err)
	}
	for m, err := range closed.Messages(soon(t)) {
		t.Errorf("closed: %+v, %v", m, err)
	}
})
