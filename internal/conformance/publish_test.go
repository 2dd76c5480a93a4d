package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

var _ = register("every kind of message comes back as it was", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	p := c.producer(t, topic)
	random := make([]byte, 100_000)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random) // never fails
	sent := []leat.Message{
		{Key: []byte("k"), Value: []byte("v")},
		{Key: nil, Value: []byte("null key")},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("tombstone"), Value: nil},
		{Key: []byte("empty value"), Value: []byte{}},
		{Key: random[:32<<10], Value: random},
		{Key: []byte("h"), Value: []byte("headers"), Headers: []leat.Header{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte{}}, {Key: "", Value: []byte{0, 255}},
		}},
	}
	before := time.Now()
	for i, m := range sent {
		r, err := p.Publish(soon(t), m)
		if err != nil || r.Offset != int64(i) || r.Topic != topic || r.Partition != 0 || r.Duplicate {
			t.Fatalf("Publish %d = %+v, %v; want offset %d", i, r, err, i)
		}
		if r.Time.Before(before.Add(-time.Minute)) || r.Time.After(time.Now().Add(time.Minute)) {
			t.Errorf("receipt %d has time %v", i, r.Time)
		}
	}
	for i, m := range take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), len(sent)) {
		want := sent[i]
		if (m.Key == nil) != (want.Key == nil) || (m.Value == nil) != (want.Value == nil) ||
			!bytes.Equal(m.Key, want.Key) || !bytes.Equal(m.Value, want.Value) {
			t.Errorf("message %d: key %.20q (%d), value %.20q (%d)", i, m.Key, len(m.Key), m.Value, len(m.Value))
		}
		if len(m.Headers)+len(want.Headers) > 0 && !reflect.DeepEqual(m.Headers, want.Headers) {
			t.Errorf("message %d: headers %q, want %q", i, m.Headers, want.Headers)
		}
		if m.Offset != int64(i) || m.Topic != topic {
			t.Errorf("message %d: offset %d of %s", i, m.Offset, m.Topic)
		}
	}
})

var _ = register("messages of a key stay in order, across partitions", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 5, Ack: leat.AckPage})
	p := c.producer(t, topic)
	const keys, each = 50, 200
	answered := make(map[int32]int64) // by partition: next offset; callbacks are one at a time
	failed := 0
	for i := range keys * each {
		key := i % keys
		p.PublishAsync(leat.Message{Key: fmt.Append(nil, "key-", key), Value: fmt.Append(nil, i/keys)},
			func(r leat.Receipt, err error) {
				if err != nil || r.Offset != answered[r.Partition] {
					failed++
				}
				answered[r.Partition] = r.Offset + 1
			})
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, n := range answered {
		total += n
	}
	if failed > 0 || total != keys*each {
		t.Fatalf("%d answers failed or out of order, %d messages answered, want %d", failed, total, keys*each)
	}
	next := map[string]int{}
	offsets := map[int32]int64{}
	for _, m := range take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), keys*each) {
		if want := fmt.Sprint(next[string(m.Key)]); string(m.Value) != want {
			t.Fatalf("%s: value %s, want %s", m.Key, m.Value, want)
		}
		if m.Offset != offsets[m.Partition] {
			t.Fatalf("partition %d: offset %d, want %d", m.Partition, m.Offset, offsets[m.Partition])
		}
		next[string(m.Key)]++
		offsets[m.Partition]++
	}
	if len(offsets) != 5 {
		t.Errorf("%d partitions were used, want 5", len(offsets))
	}
})

var _ = register("a batch is stored as one", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 3})
	p := c.producer(t, topic)
	batch := make([]leat.Message, 100)
	for i := range batch {
		batch[i] = leat.Message{Key: []byte("one"), Value: fmt.Append(nil, i)}
	}
	first, err := p.PublishBatch(soon(t), batch)
	if err != nil || first.Offset != 0 {
		t.Fatalf("PublishBatch = %+v, %v", first, err)
	}
	if next := publish(t, p, "one", "after"); next.Offset != 100 || next.Partition != first.Partition {
		t.Errorf("the next message is at %+v, want offset 100 of partition %d", next, first.Partition)
	}
	mixed := []leat.Message{{Key: []byte("a")}, {Key: []byte("b")}, {Key: []byte("c")}, {Key: []byte("d")},
		{Key: []byte("e")}, {Key: []byte("f")}, {Key: []byte("g")}, {Key: []byte("h")}}
	if _, err := p.PublishBatch(soon(t), mixed); !errors.Is(err, leat.ErrMixedPartitions) {
		t.Errorf("a batch of many keys: %v, want ErrMixedPartitions", err)
	}
	if _, err := p.PublishBatch(soon(t), nil); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("an empty batch: %v, want ErrInvalidRecord", err)
	}
	if _, err := p.PublishBatch(soon(t), make([]leat.Message, 4097)); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("4,097 messages: %v, want ErrInvalidRecord", err)
	}
})

var _ = register("what is too large is refused and nothing else", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{MaxRecordBytes: 1000})
	p := c.producer(t, topic)
	for _, tt := range []struct {
		name string
		m    leat.Message
		want error
	}{
		{"value", leat.Message{Value: make([]byte, 1000)}, leat.ErrRecordTooLarge},
		{"key", leat.Message{Key: make([]byte, 33<<10)}, leat.ErrInvalidRecord},
		{"headers", leat.Message{Headers: make([]leat.Header, 65)}, leat.ErrInvalidRecord},
		{"header bytes", leat.Message{Headers: []leat.Header{{Key: strings.Repeat("x", 17<<10)}}},
			leat.ErrInvalidRecord},
	} {
		if _, err := p.Publish(soon(t), tt.m); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if r := publish(t, p, "k", "fits"); r.Offset != 0 {
		t.Errorf("the first message that fits is at offset %d", r.Offset)
	}
	large := c.topic(t, leat.TopicConfig{MaxRecordBytes: 16 << 20})
	value := bytes.Repeat([]byte("large "), 2_000_000)
	if _, err := c.producer(t, large).Publish(soon(t), leat.Message{Value: value}); err != nil {
		t.Fatalf("12 MB: %v", err)
	}
	got := take(t, subscribe(t, c.bus, large, leat.From(leat.Earliest)), 1)[0]
	if !bytes.Equal(got.Value, value) {
		t.Errorf("12 MB came back as %d bytes", len(got.Value))
	}
})

var _ = register("level none, one way, and manual partitions", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	none := c.producer(t, topic, leat.WithAck(leat.AckNone), leat.WithPartitioner(leat.Manual))
	r, err := none.Publish(soon(t), leat.Message{Partition: 2, Value: []byte("none")})
	if err != nil || r.Offset != -1 || r.Partition != 2 || !r.Time.IsZero() {
		t.Errorf("Publish at none = %+v, %v; want offset -1", r, err)
	}
	if err := none.TryPublish(leat.Message{Partition: 3, Value: []byte("one way")}); err != nil {
		t.Errorf("TryPublish: %v", err)
	}
	for _, wrong := range []int32{-1, 4} {
		if err := none.TryPublish(leat.Message{Partition: wrong}); !errors.Is(err, leat.ErrPartitionUnknown) {
			t.Errorf("partition %d: %v, want ErrPartitionUnknown", wrong, err)
		}
	}
	got := map[int32]string{}
	for _, m := range take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), 2) {
		got[m.Partition] = string(m.Value)
	}
	if want := map[int32]string{2: "none", 3: "one way"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
})

var _ = register("topics that are not there, or there already", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	if err := c.bus.CreateTopic(soon(t), topic, leat.TopicConfig{}); !errors.Is(err, leat.ErrTopicExists) {
		t.Errorf("CreateTopic again: %v, want ErrTopicExists", err)
	}
	if err := c.bus.CreateTopic(soon(t), "bad/name", leat.TopicConfig{}); !errors.Is(err, leat.ErrInvalidName) {
		t.Errorf("CreateTopic(bad/name): %v, want ErrInvalidName", err)
	}
	wrong := leat.TopicConfig{Partitions: 20_000}
	if err := c.bus.CreateTopic(soon(t), "fine", wrong); !errors.Is(err, leat.ErrInvalidConfig) {
		t.Errorf("20,000 partitions: %v, want ErrInvalidConfig", err)
	}
	for name, err := range map[string]error{
		"Producer": second(c.bus.Producer("nothing")), "Subscribe": second(c.bus.Subscribe("nothing")),
		"DeleteTopic": c.bus.DeleteTopic(soon(t), "nothing"),
		"AlterTopic":  c.bus.AlterTopic(soon(t), "nothing", leat.TopicChange{}),
	} {
		if !errors.Is(err, leat.ErrTopicNotFound) || leat.HintFor(err) == "" {
			t.Errorf("%s(nothing): %v with hint %q, want ErrTopicNotFound", name, err, leat.HintFor(err))
		}
	}
})

func second[T any](_ T, err error) error { return err }

var _ = register("a deleted topic ends its producers and subscriptions", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Partitions: 2})
	p := c.producer(t, topic)
	publish(t, p, "k", "v")
	sub := subscribe(t, c.bus, topic, leat.From(leat.Earliest))
	take(t, sub, 1)
	if err := c.bus.DeleteTopic(soon(t), topic); err != nil {
		t.Fatal(err)
	}
	var ended error
	for _, err := range sub.Messages(soon(t)) {
		ended = err
	}
	if !errors.Is(ended, leat.ErrTopicNotFound) {
		t.Errorf("the loop ended with %v, want ErrTopicNotFound", ended)
	}
	if _, err := p.Publish(soon(t), leat.Message{}); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("Publish: %v, want ErrTopicNotFound", err)
	}
	infos, err := c.bus.Topics(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name == topic {
			t.Errorf("Topics still lists %s", topic)
		}
	}
})

var _ = register("a context that ends stops the wait and nothing else", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{})
	p := c.producer(t, topic)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	sub := subscribe(t, c.bus, topic)
	for m, err := range sub.Messages(ended) {
		t.Fatalf("a loop of a context that has ended yielded %v, %v", m, err)
	}
	publish(t, p, "k", "v")
	if got := take(t, sub, 1)[0]; string(got.Value) != "v" {
		t.Errorf("got %q", got.Value)
	}
})

// batchPlace tells in the value of a message which one of which batch it is.
func batchPlace(batch, i, n int) []byte { return fmt.Appendf(nil, "%d %d %d", batch, i, n) }

func placeOf(t *testing.T, m *leat.Message) (batch, i, n int) {
	t.Helper()
	if _, err := fmt.Sscanf(string(m.Value), "%d %d %d", &batch, &i, &n); err != nil {
		t.Fatalf("offset %d has %q: %v", m.Offset, m.Value, err)
	}
	return batch, i, n
}

var _ = register("a batch is seen as a whole", func(t *testing.T, c *carrier) {
	const batches = 30
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage})
	p := c.producer(t, topic)
	looker := c.dial(t)
	ctx, published := context.WithCancel(soon(t))
	marks := map[int64]bool{}
	var looking sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			info, err := looker.Topic(ctx, topic)
			if err != nil || info.Partitions[0].Err != nil {
				continue // the connection was lost, or all is published
			}
			end := info.Partitions[0].HighWater
			marks[end] = true
			page, err := looker.Peek(ctx, topic, leat.PeekQuery{From: leat.AtOffset(end - 1), Limit: 1000})
			if err != nil || page.Next != nil || len(page.Messages) == 0 {
				continue
			}
			marks[page.Messages[len(page.Messages)-1].Offset+1] = true
		}
	})
	total := 0
	for number := range batches {
		n := 1 + number*number%97
		list := make([]leat.Message, n)
		for i := range list {
			list[i] = leat.Message{Key: []byte("k"), Value: batchPlace(number, i, n)}
		}
		total += n
		if _, err := p.PublishBatch(soon(t), list); err != nil {
			t.Errorf("batch %d: %v", number, err)
		}
	}
	published()
	looking.Wait()
	if t.Failed() {
		return
	}
	whole := map[int64]bool{0: true}
	batch, next := -1, 0
	for _, m := range take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), total) {
		b, i, n := placeOf(t, m)
		if i == 0 {
			batch++
			next = 0
		}
		if b != batch || i != next {
			t.Fatalf("offset %d has message %d of batch %d, want %d of %d", m.Offset, i, b, next, batch)
		}
		if next++; next == n {
			whole[m.Offset+1] = true
		}
	}
	for mark := range marks {
		if !whole[mark] {
			t.Errorf("readers saw the topic up to %d, where no batch ends", mark)
		}
	}
	worked := map[int]int{}
	for _, m := range take(t, subscribe(t, c.bus, topic, leat.Group(topic), leat.Queue(), leat.MaxHeld(total)),
		total) {
		b, _, _ := placeOf(t, m)
		worked[b]++
	}
	for b, n := range worked {
		if want := 1 + b*b%97; n != want && !c.cuts {
			t.Errorf("a queue group got %d of %d messages of batch %d", n, want, b)
		}
	}
})
