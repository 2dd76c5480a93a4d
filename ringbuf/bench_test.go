package ringbuf

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

type words8 [8]uint64 // 64 bytes

func BenchmarkPause(b *testing.B) {
	for b.Loop() {
		pause(1)
	}
}

// perSecond reports records handled per second of the benchmark.
func perSecond(b *testing.B, perOp int) {
	b.ReportMetric(float64(b.N*perOp)/b.Elapsed().Seconds(), "records/s")
}

// One producer, one consumer. The pause after a look that found nothing decides the length of the
// runs, and with it the speed of both.
func BenchmarkSlab96B(b *testing.B) {
	b.Run("pause100ns", func(b *testing.B) { benchmarkSlab(b, 4) })
	b.Run("pause8us", func(b *testing.B) { benchmarkSlab(b, 300) })
}

func benchmarkSlab(b *testing.B, pauses int) {
	s, err := NewSlab(1 << 20)
	if err != nil {
		b.Fatal(err)
	}
	var consumer sync.WaitGroup
	var got int
	var closed atomic.Bool
	consumer.Go(func() {
		for !closed.Load() || !s.Empty() {
			n := 0
			for n < 256 {
				if _, ok := s.Next(); !ok {
					break
				}
				n++
			}
			if got += n; n > 0 {
				s.Release()
			} else {
				pause(uint32(pauses))
			}
		}
	})
	b.ReportAllocs()
	ctx := context.Background()
	var record [96]byte
	for b.Loop() {
		e, err := s.Claim(ctx, 96)
		if err != nil {
			b.Fatal(err)
		}
		copy(e.Bytes, record[:])
		s.Commit(e)
	}
	perSecond(b, 1)
	closed.Store(true)
	consumer.Wait()
	if got != b.N {
		b.Fatalf("consumed %d of %d", got, b.N)
	}
}

func benchmarkRing[T any](b *testing.B, o Options, batch int) {
	r, err := New[T](1<<16, o)
	if err != nil {
		b.Fatal(err)
	}
	p, _ := r.Producer()
	c, _ := r.Consumer()
	ctx := context.Background()
	var consumer sync.WaitGroup
	var got int
	consumer.Go(func() {
		for {
			first, second, err := c.Next(ctx)
			if err != nil {
				return
			}
			got += len(first) + len(second)
			c.Release()
		}
	})
	var v T
	b.ReportAllocs()
	for b.Loop() {
		if batch == 1 {
			if err := p.Send(ctx, &v); err != nil {
				b.Fatal(err)
			}
			continue
		}
		claimed, err := p.Claim(ctx, batch)
		if err != nil {
			b.Fatal(err)
		}
		first, second := claimed.Slots()
		for i := range first {
			first[i] = v
		}
		for i := range second {
			second[i] = v
		}
		p.Publish(claimed)
	}
	perSecond(b, batch)
	r.Seal()
	consumer.Wait()
	if got != b.N*batch {
		b.Fatalf("consumed %d of %d", got, b.N*batch)
	}
}

func benchmarkChannel[T any](b *testing.B) {
	ch := make(chan T, 1<<16)
	var consumer sync.WaitGroup
	var got int
	consumer.Go(func() {
		for range ch {
			got++
		}
	})
	var v T
	b.ReportAllocs()
	for b.Loop() {
		ch <- v
	}
	perSecond(b, 1)
	close(ch)
	consumer.Wait()
	if got != b.N {
		b.Fatalf("consumed %d of %d", got, b.N)
	}
}

// One producer and one consumer, each on its own processor if there are two.
func BenchmarkOneToOne(b *testing.B) {
	two := Options{Producers: 2, MaxBatch: 64}
	b.Run("ring/8B", func(b *testing.B) { benchmarkRing[uint64](b, Options{}, 1) })
	b.Run("ring/8B/batch16", func(b *testing.B) { benchmarkRing[uint64](b, Options{}, 16) })
	b.Run("ring/64B", func(b *testing.B) { benchmarkRing[words8](b, Options{}, 1) })
	b.Run("ring/64B/batch16", func(b *testing.B) { benchmarkRing[words8](b, Options{}, 16) })
	b.Run("shared/64B", func(b *testing.B) { benchmarkRing[words8](b, two, 1) })
	b.Run("shared/64B/batch16", func(b *testing.B) { benchmarkRing[words8](b, two, 16) })
	b.Run("channel/8B", func(b *testing.B) { benchmarkChannel[uint64](b) })
	b.Run("channel/64B", func(b *testing.B) { benchmarkChannel[words8](b) })
}

// One goroutine publishes and nobody reads: the processor's part of a publish, without the other core's.
func BenchmarkAlone(b *testing.B) {
	ctx := context.Background()
	b.Run("send/8B", func(b *testing.B) {
		p := mustProducer(b, mustRing[uint64](b, 1<<10, Options{Wait: Spin}, 0))
		for b.Loop() {
			v := uint64(1)
			if err := p.Send(ctx, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("send/64B", func(b *testing.B) {
		p := mustProducer(b, mustRing[words8](b, 1<<10, Options{Wait: Spin}, 0))
		for b.Loop() {
			var v words8
			for i := range v {
				v[i] = uint64(i)
			}
			if err := p.Send(ctx, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("slot/64B", func(b *testing.B) {
		p := mustProducer(b, mustRing[words8](b, 1<<10, Options{Wait: Spin}, 0))
		for b.Loop() {
			slot, err := p.Slot(ctx)
			if err != nil {
				b.Fatal(err)
			}
			for i := range slot { // in place: a literal would be copied
				slot[i] = uint64(i)
			}
			if err := p.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
