package conformance

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leatbus/leat"
)

// kept is a batch that is read when its subscription is long gone.
type kept struct {
	batch *leat.Batch
	first string // value of its first message when it came
}

var _ = register("batches hold every message once, and are kept", func(t *testing.T, c *carrier) {
	const n = 3000
	topic := c.topic(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	sub := subscribe(t, c.bus, topic, leat.From(leat.Earliest))
	for i := range n {
		p.PublishAsync(leat.Message{
			Partition: int32(i % 2), Key: fmt.Append(nil, i), Value: fmt.Appendf(nil, "%0*d", 300, i/2),
			Headers: []leat.Header{{Key: "n", Value: fmt.Append(nil, i)}},
		}, nil)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	// A part is read message by message: batches begin behind it, also within a frame.
	next := [2]int64{}
	for _, m := range take(t, sub, 101) {
		next[m.Partition]++
	}
	var batches []kept
	got := next[0] + next[1]
	for b, err := range sub.Batches(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Topic != topic || b.First != next[b.Partition] || b.Next <= b.First {
			t.Fatalf("batch [%d, %d) of %s, partition %d; want it to begin at %d", b.First, b.Next, b.Topic,
				b.Partition, next[b.Partition])
		}
		next[b.Partition] = b.Next
		batches = append(batches, kept{batch: b})
		for m := range b.Messages() {
			batches[len(batches)-1].first = string(m.Value)
			break
		}
		if got += b.Next - b.First; got >= n {
			break
		}
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	for _, k := range batches {
		checkBatch(t, k)
		k.batch.Release()
		k.batch.Release()
		for range k.batch.Messages() {
			t.Fatal("a released batch has messages")
		}
	}
	if next != [2]int64{n / 2, n / 2} {
		t.Errorf("batches end at %v, want %d each", next, n/2)
	}
})

// checkBatch compares the messages of a batch with what was published at their offsets.
func checkBatch(t *testing.T, k kept) {
	t.Helper()
	b := k.batch
	at := b.First
	for m, err := range b.Messages() {
		if err != nil {
			t.Fatal(err)
		}
		number := fmt.Sprint(2*at + int64(b.Partition))
		if m.Offset != at || string(m.Value) != fmt.Sprintf("%0*d", 300, at) || string(m.Key) != number ||
			len(m.Headers) != 1 || string(m.Headers[0].Value) != number || m.Time.IsZero() {
			t.Fatalf("partition %d, offset %d: %s %.20s at %d", b.Partition, at, m.Key, m.Value, m.Offset)
		}
		if at == b.First && string(m.Value) != k.first {
			t.Fatalf("the first message of the batch was %.20s and is %.20s", k.first, m.Value)
		}
		at++
	}
	if at != b.Next {
		t.Errorf("batch [%d, %d) ends at %d", b.First, b.Next, at)
	}
}

var _ = register("a group acks batches", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	p := c.producer(t, topic)
	for i := range 20 {
		publish(t, p, "k", fmt.Sprint(i))
	}
	sub := subscribe(t, c.bus, topic, leat.Group(topic))
	acked := int64(0)
	for b, err := range sub.Batches(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		acked = b.Next
		b.Release()
		if err := b.Ack(); err != nil {
			t.Error(err)
		}
		break
	}
	// What follows comes one by one, if the first batch was not all.
	if acked < 20 {
		if m := take(t, sub, 1)[0]; m.Offset != acked {
			t.Errorf("offset %d follows a batch up to %d", m.Offset, acked)
		}
	}
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	checkLag(t, c, topic, topic, 20-acked)
	for _, err := range sub.Batches(soon(t)) {
		if !errors.Is(err, leat.ErrClosed) {
			t.Errorf("a closed subscription yields %v", err)
		}
	}
})
