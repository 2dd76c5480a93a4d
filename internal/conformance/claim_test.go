package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/leatbus/leat"
)

// claimed claims a message and fills it.
func claimed(t *testing.T, p *leat.Producer, key, value string) leat.Claim {
	t.Helper()
	c, err := p.Claim(soon(t), []byte(key), len(value))
	if err != nil {
		t.Fatalf("Claim(%s, %d): %v", key, len(value), err)
	}
	if n := copy(c.Bytes(), value); n != len(value) || len(c.Bytes()) != n {
		t.Fatalf("a claim of %d bytes has %d", len(value), len(c.Bytes()))
	}
	return c
}

var _ = register("what is claimed is published, what is aborted is not", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{Ack: leat.AckPage})
	p := c.producer(t, topic)
	first := claimed(t, p, "k", "first")
	first.Headers = []leat.Header{{Key: "h", Value: []byte("v")}}
	aborted := claimed(t, p, "k", "aborted")
	large := claimed(t, p, "k", string(bytes.Repeat([]byte("large"), 20_000)))
	short := claimed(t, p, "k", "short and more")
	aborted.Abort()
	// Claims take no place in the order: publishing does.
	if err := first.Publish(); err != nil {
		t.Fatal(err)
	}
	r := first.Receipt()
	if r.Offset != 0 || r.Topic != topic || r.Time.IsZero() || r.Duplicate {
		t.Errorf("Receipt = %+v, want offset 0 of %s", r, topic)
	}
	short.Truncate(5)
	if err := short.Publish(); err != nil || short.Receipt().Offset != 1 {
		t.Errorf("Publish: %v, receipt %+v", err, short.Receipt())
	}
	answered := make(chan leat.Receipt, 1)
	large.PublishAsync(func(r leat.Receipt, err error) {
		if err != nil {
			t.Errorf("PublishAsync: %v", err)
		}
		answered <- r
	})
	// Whoever claims now may get the buffers of before.
	again := claimed(t, p, "k", "again")
	if r := <-answered; r.Offset != 2 {
		t.Errorf("the callback got %+v, want offset 2", r)
	}
	if err := again.Publish(); err != nil {
		t.Error(err)
	}
	got := take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), 4)
	for i, want := range []string{"first", "short", string(bytes.Repeat([]byte("large"), 20_000)), "again"} {
		if string(got[i].Value) != want || string(got[i].Key) != "k" {
			t.Errorf("message %d: %s = %.20q (%d)", i, got[i].Key, got[i].Value, len(got[i].Value))
		}
	}
	if want := []leat.Header{{Key: "h", Value: []byte("v")}}; !reflect.DeepEqual(got[0].Headers, want) {
		t.Errorf("headers %v, want %v", got[0].Headers, want)
	}
})

var _ = register("a stream of claims stays in order", func(t *testing.T, c *carrier) {
	const count = 2000
	topic := c.topic(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	failed := 0 // callbacks are one at a time
	for i := range count {
		one := claimed(t, p, "", fmt.Sprint(i))
		one.Partition = int32(i % 3)
		one.PublishAsync(func(r leat.Receipt, err error) {
			if err != nil || r.Offset != int64(i/3) || r.Partition != int32(i%3) {
				failed++
			}
		})
	}
	if err := p.Flush(soon(t)); err != nil || failed > 0 {
		t.Fatalf("Flush: %v; %d answers are wrong", err, failed)
	}
	next := [3]int{0, 1, 2}
	for _, m := range take(t, subscribe(t, c.bus, topic, leat.From(leat.Earliest)), count) {
		if string(m.Value) != fmt.Sprint(next[m.Partition]) || m.Key == nil || len(m.Key) > 0 {
			t.Fatalf("partition %d: %q = %s, want %d", m.Partition, m.Key, m.Value, next[m.Partition])
		}
		next[m.Partition] += 3
	}
})

var _ = register("a claim is refused like a publish", func(t *testing.T, c *carrier) {
	topic := c.topic(t, leat.TopicConfig{MaxRecordBytes: 1000})
	p := c.producer(t, topic, leat.WithPartitioner(leat.Manual))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx    context.Context
		key, n int
		want   error
	}{
		"value":   {t.Context(), 0, 1000, leat.ErrRecordTooLarge},
		"17 MiB":  {t.Context(), 0, 17 << 20, leat.ErrRecordTooLarge},
		"key":     {t.Context(), 33 << 10, 1, leat.ErrInvalidRecord},
		"context": {ended, 0, 1, context.Canceled},
	} {
		if _, err := p.Claim(tt.ctx, make([]byte, tt.key), tt.n); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	wrong := claimed(t, p, "k", "v")
	wrong.Partition = 1
	if err := wrong.Publish(); !errors.Is(err, leat.ErrPartitionUnknown) {
		t.Errorf("partition 1 of 1: %v, want ErrPartitionUnknown", err)
	}
	crowded := claimed(t, p, "k", "v")
	crowded.Headers = make([]leat.Header, 65)
	if err := crowded.Publish(); !errors.Is(err, leat.ErrInvalidRecord) {
		t.Errorf("65 headers: %v, want ErrInvalidRecord", err)
	}
	late := claimed(t, p, "k", "late")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Claim(soon(t), nil, 1); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("Claim of a closed producer: %v, want ErrClosed", err)
	}
	if err := late.Publish(); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("Publish with a closed producer: %v, want ErrClosed", err)
	}
})
