package node

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// benchQueue publishes and consumes in one process at level page, with an ack per message. Messages of the
// key failing, if it is not negative, are refused each time; they do not count.
func benchQueue(b *testing.B, mode leat.SubscribeOption, keys int, failing int64) {
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
	sub, err := bus.Subscribe("t", leat.Group("g"), mode)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	wanted := int64(b.N)
	if failing >= 0 {
		wanted -= (int64(b.N) + int64(keys) - 1 - failing) / int64(keys)
	}
	done := make(chan struct{})
	var acked atomic.Int64
	go func() {
		defer close(done)
		for acked.Load() < wanted {
			for m, err := range sub.Messages(b.Context()) {
				if err != nil {
					b.Error(err)
					return
				}
				if int64(binary.LittleEndian.Uint64(m.Key)) == failing {
					_ = m.Nack(time.Millisecond)
					continue
				}
				if err := m.Ack(); err != nil {
					b.Error(err)
					return
				}
				if acked.Add(1) == wanted {
					return
				}
			}
		}
	}()
	key, value := make([]byte, 8), make([]byte, 64)
	answer := func(_ leat.Receipt, err error) {
		if err != nil {
			b.Error(err)
		}
	}
	for i := range b.N {
		binary.LittleEndian.PutUint64(key, uint64(i%keys))
		p.PublishAsync(leat.Message{Key: key, Value: value}, answer)
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mmsg/s")
}

// BenchmarkQueue lends each message of a queue group and acks it.
func BenchmarkQueue(b *testing.B) { benchQueue(b, leat.Queue(), 1<<20, -1) }

// BenchmarkKeyShared has a million keys, with none and with one that fails always.
func BenchmarkKeyShared(b *testing.B) {
	cfg := leat.QueueConfig{MaxAttempts: -1}
	b.Run("all", func(b *testing.B) { benchQueue(b, leat.KeyShared(cfg), 1<<20, -1) })
	b.Run("one-fails", func(b *testing.B) { benchQueue(b, leat.KeyShared(cfg), 1<<20, 5) })
}
