package ringbuf

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// stressEvent proves with its last word that its slot was not written by two producers at once, or
// while a consumer held it.
type stressEvent struct {
	producer, number, canary uint64
}

func newStressEvent(producer, number uint64) stressEvent {
	return stressEvent{producer, number, producer*0x9e3779b97f4a7c15 ^ number*0xbf58476d1ce4e5b9 ^ 0x5bd1e995}
}

func (e stressEvent) intact() bool { return e == newStressEvent(e.producer, e.number) }

// ringStress is some producers and consumers on one ring; every consumer checks that it gets every
// producer's events once and in order.
type ringStress struct {
	t     *testing.T
	ring  *Ring[stressEvent]
	total uint64 // events per producer
}

func (x *ringStress) produce(id uint64, p *Producer[stressEvent], random *rand.Rand) {
	for number := uint64(0); number < x.total; {
		n := 1 + random.IntN(int(x.ring.maxBatch))
		n = min(n, int(x.total-number))
		b, err := p.Claim(x.t.Context(), n)
		if err != nil {
			x.t.Errorf("producer %d: Claim(%d) = %v", id, n, err)
			return
		}
		first, second := b.Slots()
		if len(first)+len(second) != n {
			x.t.Errorf("producer %d: Claim(%d) gave %d + %d slots", id, n, len(first), len(second))
			return
		}
		abort := random.IntN(10) == 0
		for i := range n {
			slot := &first[min(i, len(first)-1)]
			if i >= len(first) {
				slot = &second[i-len(first)]
			}
			*slot = newStressEvent(id, number+uint64(i))
			if abort {
				slot.canary++
			}
		}
		if abort {
			p.Abort(b)
			continue
		}
		p.Publish(b)
		number += uint64(n)
	}
}

func (x *ringStress) consume(c *Consumer[stressEvent], random *rand.Rand) {
	next := make([]uint64, x.ring.producers)
	for left := x.total * uint64(len(next)); left > 0; {
		first, second, err := c.Next(x.t.Context())
		if err != nil {
			x.t.Errorf("Next = %v with %d events to come", err, left)
			return
		}
		n := len(first) + len(second)
		if random.IntN(3) == 0 {
			n = random.IntN(n + 1)
		}
		for i := range n {
			e := at(first, second, i)
			if !e.intact() || e.producer >= uint64(len(next)) || e.number != next[e.producer] {
				x.t.Errorf("event %+v, intact %v, next of each producer %v", e, e.intact(), next)
				return
			}
			next[e.producer]++
		}
		if random.IntN(50) == 0 {
			runtime.Gosched()
		}
		for i := range n {
			if !at(first, second, i).intact() {
				x.t.Error("an event changed while the consumer held it")
				return
			}
		}
		c.ReleaseTo(n)
		c.Rewind()
		left -= uint64(n)
	}
}

func at[T any](first, second []T, i int) T {
	if i < len(first) {
		return first[i]
	}
	return second[i-len(first)]
}

func TestRingStress(t *testing.T) {
	starts := []int64{0, 1<<31 - 17, 1<<32 - 5, 1<<53 - 1001}
	for _, tt := range []struct {
		capacity  int
		options   Options
		consumers int
	}{
		{1, Options{}, 1},
		{8, Options{MaxBatch: 3}, 1},
		{64, Options{}, 2},
		{16, Options{MaxBatch: 7, Wait: Block}, 3},
		{64, Options{MaxBatch: 13, Wait: Spin}, 3},
		{2, Options{Producers: 2}, 1},
		{16, Options{Producers: 3, MaxBatch: 5}, 1},
		{64, Options{Producers: 2, MaxBatch: 7}, 2},
		{32, Options{Producers: 4, MaxBatch: 3, Wait: Block}, 3},
		{128, Options{Producers: 3, MaxBatch: 11, Wait: Spin}, 2},
		{1024, Options{Producers: 4}, 2},
	} {
		name := fmt.Sprintf("cap%d-%dP-batch%d-%dC", tt.capacity, max(1, tt.options.Producers),
			tt.options.MaxBatch, tt.consumers)
		t.Run(name, func(t *testing.T) {
			start := starts[(tt.capacity+tt.consumers)%len(starts)]
			r := mustRing[stressEvent](t, tt.capacity, tt.options, start)
			x := &ringStress{t: t, ring: r, total: uint64(cut(12_000, 2_000))}
			var wg sync.WaitGroup
			for i := range tt.consumers {
				c := mustConsumer(t, r)
				wg.Go(func() { x.consume(c, rand.New(rand.NewPCG(uint64(i), 3))) })
			}
			for i := range r.producers {
				p := mustProducer(t, r)
				wg.Go(func() { x.produce(uint64(i), p, rand.New(rand.NewPCG(uint64(i), 2))) })
			}
			wg.Wait()
			if n := r.readers.sleepers() + r.writers.sleepers(); n != 0 {
				t.Errorf("%d goroutines counted as waiting after all returned", n)
			}
		})
	}
}

// Closing under load: every Send and Next returns, and exactly what was sent is received.
func TestRingCloseUnderLoad(t *testing.T) {
	for _, o := range []Options{
		{}, {Wait: Block}, {Producers: 3, MaxBatch: 2}, {Producers: 3, MaxBatch: 2, Wait: Block},
	} {
		for round := range cut(60, 15) {
			r := mustRing[uint64](t, 16, o, 0)
			var sent, received atomic.Int64
			var wg sync.WaitGroup
			c := mustConsumer(t, r)
			wg.Go(func() {
				for {
					first, second, err := c.Next(t.Context())
					if err != nil {
						return
					}
					received.Add(int64(len(first) + len(second)))
					c.Release()
				}
			})
			for range r.producers {
				p := mustProducer(t, r)
				wg.Go(func() {
					for v := uint64(0); p.Send(t.Context(), &v) == nil; v++ {
						sent.Add(1)
					}
				})
			}
			until(func() bool { return sent.Load() > int64(100+round) })
			r.Seal()
			wg.Wait()
			if got := received.Load(); got != sent.Load() {
				t.Fatalf("%+v: received %d of %d", o, got, sent.Load())
			}
		}
	}
}

// Close races with claims in the middle: a claim is before it, and its value arrives, or it fails.
func TestRingCloseIsExact(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	for round := range cut(10_000, 2_000) {
		o := []Options{{}, {Wait: Spin}, {Lossy: true}, {Producers: 2, MaxBatch: 1}}[round%4]
		r := mustRing[int](t, 1024, o, 0)
		c := mustConsumer(t, r)
		p := mustProducer(t, r)
		var begun atomic.Bool
		var wg sync.WaitGroup
		sent := 0
		wg.Go(func() {
			begun.Store(true)
			for v := 0; p.TrySend(&v); v++ {
				sent++
			}
		})
		for i := 1; !begun.Load(); i++ {
			if i%1000 == 0 { // hold the processor, to be here while the producer sends
				runtime.Gosched()
			}
		}
		burn(random.IntN(5000))
		r.Seal()
		wg.Wait()
		if got := len(collect(t, c)); got != sent {
			t.Fatalf("%+v: received %d of %d", o, got, sent)
		}
	}
}

// The same at the one moment that counts, between a claim's check and its add.
func TestRingCloseBetweenCheckAndAdd(t *testing.T) {
	r := mustRing[int](t, 8, Options{Producers: 2, MaxBatch: 2}, 0)
	p, c := mustProducer(t, r), mustConsumer(t, r)
	sendAll(t, p, 1)
	if p.roomShared(2) < 2 {
		t.Fatal("no room in an empty ring")
	}
	r.Seal()
	if p.takeShared(2) {
		t.Error("a claim succeeded after Close")
	}
	if got := collect(t, c); len(got) != 1 || r.Len() != 0 || r.claimed() != 1 {
		t.Errorf("received %v, Len() = %d, claimed %d, want one value", got, r.Len(), r.claimed())
	}
}

// Close wakes everybody who sleeps, whatever they wait for.
func TestRingCloseWakesAll(t *testing.T) {
	full := mustRing[int](t, 8, Options{Producers: 3, MaxBatch: 1, Wait: Block}, 0)
	empty := mustRing[int](t, 8, Options{Wait: Block}, 0)
	mustConsumer(t, full)
	var wg sync.WaitGroup
	for range 3 {
		p, c := mustProducer(t, full), mustConsumer(t, empty)
		for v := 0; p.TrySend(&v); v++ {
		}
		wg.Go(func() {
			if _, err := p.Claim(t.Context(), 1); !errors.Is(err, ErrClosed) {
				t.Errorf("Claim = %v, want ErrClosed", err)
			}
		})
		wg.Go(func() {
			if _, _, err := c.Next(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("Next = %v, want ErrClosed", err)
			}
		})
	}
	until(func() bool { return full.writers.sleepers() == 3 && empty.readers.sleepers() == 3 })
	full.Seal()
	empty.Seal()
	wg.Wait()
}

// Cancelling under load: every wait ends, and the ring works on for those that were not cancelled.
func TestRingCancelUnderLoad(t *testing.T) {
	for round := range cut(60, 15) {
		r := mustRing[uint64](t, 8, Options{Producers: 3, MaxBatch: 2}, 0)
		c := mustConsumer(t, r)
		ctx, cancel := context.WithCancel(t.Context())
		var sent atomic.Int64
		var wg sync.WaitGroup
		for range 3 {
			p := mustProducer(t, r)
			wg.Go(func() {
				for v := uint64(0); ; v++ {
					err := p.Send(ctx, &v)
					if errors.Is(err, context.Canceled) {
						return
					}
					if err != nil {
						t.Errorf("Send = %v", err)
						return
					}
					sent.Add(1)
				}
			})
		}
		received := int64(0)
		for received < int64(100+round) {
			first, second, _ := c.Next(t.Context())
			received += int64(len(first) + len(second))
			c.Release()
		}
		cancel() // the ring fills up, and each producer ends at its next wait
		wg.Wait()
		for {
			first, second := c.Poll()
			if first == nil {
				break
			}
			received += int64(len(first) + len(second))
			c.Release()
		}
		if received != sent.Load() || r.Len() != 0 {
			t.Fatalf("received %d of %d, Len() = %d", received, sent.Load(), r.Len())
		}
	}
}

// Two rings of one and two slots, both sides of which sleep at once: each cycle is four chances to
// lose a wake-up, at a moment drawn anew each time. A lost one hangs the test.
func TestRingLostWakeup(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		o.Wait, o.MaxBatch = Block, 1
		there, back := mustRing[uint64](t, 2, o, 0), mustRing[uint64](t, 2, o, 0)
		cycles := uint64(cut(100_000, 15_000))
		// All before anybody sends: a consumer sees only what is published after it was added.
		in, out, last := mustConsumer(t, there), mustProducer(t, back), mustConsumer(t, back)
		p := mustProducer(t, there)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		check := func(err error) { // whoever fails ends the others
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				cancel()
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			check(pump(ctx, cycles, in, func(v uint64) error { return out.Send(ctx, &v) }))
		})
		wg.Go(func() {
			random := rand.New(rand.NewPCG(5, 5))
			for v := range cycles {
				burn(random.IntN(1 + int(v%2)*300))
				if err := p.Send(ctx, &v); err != nil {
					check(fmt.Errorf("Send = %w", err))
					return
				}
			}
		})
		check(pump(ctx, cycles, last, func(uint64) error { return nil }))
		wg.Wait()
	})
}

// pump hands n values, which must be 0, 1, 2 …, from c to use, one by one.
func pump(ctx context.Context, n uint64, c *Consumer[uint64], use func(uint64) error) error {
	for want := range n {
		first, _, err := c.Next(ctx)
		if err != nil || first[0] != want {
			return fmt.Errorf("Next = %v, %v, want %d first", first, err, want)
		}
		c.ReleaseTo(1)
		c.Rewind()
		if err := use(want); err != nil {
			return fmt.Errorf("value %d: %w", want, err)
		}
	}
	return nil
}

// One of many sleepers is cancelled while all are woken: no token may go astray.
func TestParkingTokens(t *testing.T) {
	var l parkingLot
	var turn atomic.Int64
	for round := range int64(cut(5_000, 1_000)) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 3 {
			ctx := ctx
			if i > 0 {
				ctx = t.Context()
			}
			wg.Go(func() {
				err := l.await(ctx, waiting{}, func() bool { return turn.Load() > round })
				if err != nil && i > 0 {
					t.Errorf("await = %v without a cancelled context", err)
				}
			})
		}
		wg.Go(cancel)
		wg.Go(func() { turn.Add(1); l.wake() })
		wg.Wait()
		cancel()
	}
	places := 0
	for p := l.free; p != nil; p = p.next {
		if places++; len(p.token) != 0 || p.listed || places > 3 {
			t.Fatalf("place %d: %d tokens, listed %v", places, len(p.token), p.listed)
		}
	}
	if l.head != nil || l.waiting.Load() != 0 {
		t.Errorf("list not empty, or %d counted as waiting", l.waiting.Load())
	}
}

// Every strategy gets data across, also when there is one processor for both sides.
func TestWaitStrategiesOnOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, wait := range []WaitStrategy{Park, Block, Spin} {
		r := mustRing[stressEvent](t, 64, Options{Producers: 2, MaxBatch: 5, Wait: wait}, 0)
		x := &ringStress{t: t, ring: r, total: 5_000}
		var wg sync.WaitGroup
		c := mustConsumer(t, r)
		wg.Go(func() { x.consume(c, rand.New(rand.NewPCG(1, 3))) })
		for i := range r.producers {
			p := mustProducer(t, r)
			wg.Go(func() { x.produce(uint64(i), p, rand.New(rand.NewPCG(uint64(i), 2))) })
		}
		wg.Wait()
	}
}
