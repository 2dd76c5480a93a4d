package node

import (
	"encoding/binary"
	"testing"

	"github.com/leatbus/leat"
)

// BenchmarkBus publishes with receipts and consumes with a group in one process: level page, 64 B,
// 4 partitions, 8-byte keys.
func BenchmarkBus(b *testing.B) {
	bus, err := Open(b.Context(), b.TempDir(), WithTopic("t", leat.TopicConfig{
		Partitions: 4, Ack: leat.AckPage, RetentionBytes: 256 << 20,
	}))
	if err != nil {
		b.Fatal(err)
	}
	defer bus.Close()
	p, err := bus.Producer("t")
	if err != nil {
		b.Fatal(err)
	}
	sub, err := bus.Subscribe("t", leat.Group("g"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan int)
	go func() {
		n := 0
		for m, err := range sub.Messages(b.Context()) {
			if err != nil {
				b.Error(err)
				break
			}
			if n++; n%100 == 0 {
				_ = m.Ack()
			}
			if n == b.N {
				break
			}
		}
		done <- n
	}()
	key, value := make([]byte, 8), make([]byte, 64)
	answer := func(_ leat.Receipt, err error) {
		if err != nil {
			b.Error(err)
		}
	}
	for i := range b.N {
		binary.LittleEndian.PutUint64(key, uint64(i))
		p.PublishAsync(leat.Message{Key: key, Value: value}, answer)
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	if n := <-done; n != b.N {
		b.Errorf("delivered %d of %d", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mmsg/s")
}

// BenchmarkPublish publishes and waits for the receipt at level page: the whole path on one goroutine.
func BenchmarkPublish(b *testing.B) {
	bus, err := Open(b.Context(), b.TempDir(), WithTopic("t", leat.TopicConfig{
		Ack: leat.AckPage, RetentionBytes: 256 << 20,
	}))
	if err != nil {
		b.Fatal(err)
	}
	defer bus.Close()
	p, err := bus.Producer("t")
	if err != nil {
		b.Fatal(err)
	}
	key, value := make([]byte, 8), make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Publish(b.Context(), leat.Message{Key: key, Value: value}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPublishAndRead publishes at page and reads the message on the same goroutine: what both sides take
// of one processor, without the way between two.
func BenchmarkPublishAndRead(b *testing.B) {
	bus, err := Open(b.Context(), b.TempDir(), WithTopic("t", leat.TopicConfig{
		Ack: leat.AckPage, RetentionBytes: 256 << 20,
	}))
	if err != nil {
		b.Fatal(err)
	}
	defer bus.Close()
	p, err := bus.Producer("t")
	if err != nil {
		b.Fatal(err)
	}
	sub, err := bus.Subscribe("t", leat.Spin(), leat.From(leat.Earliest))
	if err != nil {
		b.Fatal(err)
	}
	key, value := make([]byte, 8), make([]byte, 64)
	publish := func() {
		if _, err := p.Publish(b.Context(), leat.Message{Key: key, Value: value}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	n := 0
	publish()
	for _, err := range sub.Messages(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		if n++; n == b.N {
			break
		}
		publish()
	}
}
