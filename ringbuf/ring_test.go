package ringbuf

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"unsafe"
)

func mustRing[T any](t testing.TB, capacity int, o Options, start int64) *Ring[T] {
	t.Helper()
	r, err := newRingAt[T](capacity, o, start)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustProducer[T any](t testing.TB, r *Ring[T]) *Producer[T] {
	t.Helper()
	p, err := r.Producer()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustConsumer[T any](t testing.TB, r *Ring[T]) *Consumer[T] {
	t.Helper()
	c, err := r.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bothKinds runs a test on a ring with one producer and on one with several.
func bothKinds(t *testing.T, body func(t *testing.T, o Options)) {
	t.Run("alone", func(t *testing.T) { body(t, Options{}) })
	t.Run("shared", func(t *testing.T) { body(t, Options{Producers: 2, MaxBatch: 3}) })
}

func TestNewOptions(t *testing.T) {
	for _, tt := range []struct {
		name     string
		capacity int
		in       Options
		want     Options
		bad      bool
	}{
		{"zero value", 64, Options{}, Options{Producers: 1, MaxBatch: 64}, false},
		{"one slot", 1, Options{}, Options{Producers: 1, MaxBatch: 1}, false},
		{"several", 1024, Options{Producers: 2}, Options{Producers: 2, MaxBatch: 64}, false},
		{"several in little room", 8, Options{Producers: 8}, Options{Producers: 8, MaxBatch: 1}, false},
		{"share used up", 8, Options{Producers: 2, MaxBatch: 4}, Options{Producers: 2, MaxBatch: 4}, false},
		{"no slot", 0, Options{}, Options{}, true},
		{"negative capacity", -8, Options{}, Options{}, true},
		{"not a power of two", 12, Options{}, Options{}, true},
		{"too many slots", twice(maxRing), Options{}, Options{}, true},
		{"negative producers", 8, Options{Producers: -1}, Options{}, true},
		{"more producers than slots", 8, Options{Producers: 9}, Options{}, true},
		{"negative batch", 8, Options{MaxBatch: -1}, Options{}, true},
		{"batch beyond the ring", 8, Options{MaxBatch: 9}, Options{}, true},
		{"batch beyond the share", 8, Options{Producers: 2, MaxBatch: 5}, Options{}, true},
		{"unknown wait", 8, Options{Wait: Spin + 1}, Options{}, true},
	} {
		got := tt.in
		err := got.complete(tt.capacity)
		if (err != nil) != tt.bad || err == nil && got != tt.want {
			t.Errorf("%s: %+v with %d slots = %+v, %v; want %+v, error %v",
				tt.name, tt.in, tt.capacity, got, err, tt.want, tt.bad)
		}
		if _, err := New[int](tt.capacity, tt.in); (err != nil) != tt.bad {
			t.Errorf("%s: New = %v, want error %v", tt.name, err, tt.bad)
		}
	}
}

func TestRingHandles(t *testing.T) {
	r := mustRing[int](t, 8, Options{Producers: 2}, 0)
	p := mustProducer(t, r)
	mustProducer(t, r)
	if _, err := r.Producer(); !errors.Is(err, ErrTooMany) {
		t.Errorf("third Producer() = %v, want ErrTooMany", err)
	}
	c := mustConsumer(t, r)
	v := 1
	if !p.TrySend(&v) {
		t.Fatal("TrySend = false on an empty ring")
	}
	wantNext(t, c, 1)
	late := mustConsumer(t, r)
	wantPollNothing(t, late)
	sendAll(t, p, 2)
	wantNext(t, late, 2)
}

func TestRingClaimSizes(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 8, o, 0)
		p := mustProducer(t, r)
		for _, n := range []int{-1, 0, int(r.maxBatch) + 1, math.MaxInt} {
			if _, err := p.Claim(t.Context(), n); !errors.Is(err, ErrTooLarge) {
				t.Errorf("Claim(%d) = %v, want ErrTooLarge", n, err)
			}
			if _, ok := p.TryClaim(n); ok {
				t.Errorf("TryClaim(%d) = true", n)
			}
		}
		if b, err := p.Claim(t.Context(), int(r.maxBatch)); err != nil {
			t.Errorf("Claim(MaxBatch) = %v", err)
		} else {
			p.Publish(b)
		}
	})
}

// Without a consumer nobody waits, except for another producer that has a batch open: nothing that is being
// written may be overwritten.
func TestRingWithoutConsumer(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 8, o, 1<<40)
		p := mustProducer(t, r)
		for i := range 100 {
			if !p.TrySend(&i) {
				t.Fatalf("TrySend %d = false", i)
			}
		}
		if r.Len() != 0 || r.Cap() != 8 {
			t.Errorf("Len() = %d, Cap() = %d", r.Len(), r.Cap())
		}
		if !r.shared() {
			return
		}
		q := mustProducer(t, r)
		b, _ := q.TryClaim(2)
		sent := 0
		for i := 0; p.TrySend(&i); i++ {
			sent++
		}
		if want := 8 - 2 - int(r.headroom); sent != want {
			t.Errorf("%d slots taken around an open batch, want %d", sent, want)
		}
		q.Publish(b)
		c := mustConsumer(t, r)
		sendAll(t, p, 1)
		wantNext(t, c, 1)
	})
}

// A consumer that closes leaves its slots to the producers, whatever it holds.
func TestRingWithoutConsumerAgain(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 8, o, 0)
		p, c := mustProducer(t, r), mustConsumer(t, r)
		sendAll(t, p, 1, 2, 3)
		c.Poll()
		c.ReleaseTo(1)
		c.Close()
		c.Close()
		for i := range 100 {
			if !p.TrySend(&i) {
				t.Fatalf("TrySend %d = false", i)
			}
		}
		if _, _, err := c.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Next of a closed consumer = %v, want ErrClosed", err)
		}
		wantPollNothing(t, c)
	})
}

func TestRingMisusePanics(t *testing.T) {
	mustPanic := func(t *testing.T, what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s did not panic", what)
			}
		}()
		f()
	}
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 8, o, 0)
		p, c := mustProducer(t, r), mustConsumer(t, r)
		mustPanic(t, "Publish of the zero Batch", func() { p.Publish(Batch[int]{}) })
		b, _ := p.TryClaim(2)
		mustPanic(t, "a second claim", func() { p.TryClaim(1) })
		p.Publish(b)
		mustPanic(t, "a second Publish", func() { p.Publish(b) })
		mustPanic(t, "Abort after Publish", func() { p.Abort(b) })
		c.Poll()
		mustPanic(t, "ReleaseTo(3) of 2", func() { c.ReleaseTo(3) })
		mustPanic(t, "ReleaseTo(-1)", func() { c.ReleaseTo(-1) })
		if first, second := (Batch[int]{}).Slots(); first != nil || second != nil {
			t.Error("the zero Batch has slots")
		}
	})
}

func TestRingReleaseTo(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 8, o, 6) // wraps after two slots
		p, c := mustProducer(t, r), mustConsumer(t, r)
		sendAll(t, p, 1, 2, 3)
		first, second := c.Poll()
		if !slices.Equal(first, []int{1, 2}) || !slices.Equal(second, []int{3}) {
			t.Fatalf("Poll() = %v, %v, want [1 2] [3]", first, second)
		}
		c.ReleaseTo(1)
		wantPollNothing(t, c)
		for range 2 {
			c.Rewind()
			wantNext(t, c, 2, 3) // nothing was released
		}
		sendAll(t, p, 4)
		wantNext(t, c, 4)
		c.Rewind()
		wantNext(t, c, 2, 3, 4)
		c.ReleaseTo(0)
		c.ReleaseTo(3)
		if first, second := c.Poll(); first != nil || second != nil || r.Len() != 0 {
			t.Errorf("Poll() = %v, %v, Len() = %d, want nothing", first, second, r.Len())
		}
	})
}

// Releasing inside a claim frees nothing of it: its producer's word must stay, for a consumer that
// comes later begins to read there.
func TestRingReleaseInsideClaim(t *testing.T) {
	r := mustRing[int](t, 16, Options{Producers: 2, MaxBatch: 4}, 0)
	p, c := mustProducer(t, r), mustConsumer(t, r)
	batch(t, p, 1, 2, 3, 4)
	sendAll(t, p, 5)
	wantNext(t, c, 1, 2, 3, 4, 5)
	for n, want := range []int{5, 5, 5, 5, 1, 0} {
		if c.ReleaseTo(n); r.Len() != want {
			t.Errorf("Len() = %d after ReleaseTo(%d), want %d", r.Len(), n, want)
		}
	}
	batch(t, p, 7, 8, 9)
	wantNext(t, c, 7, 8, 9)
	c.ReleaseTo(2)
	c.Rewind()
	wantNext(t, c, 9)
	c.ReleaseTo(0)
	if r.Len() != 3 {
		t.Errorf("Len() = %d, want 3", r.Len())
	}
	c.Release()
	if r.Len() != 0 {
		t.Errorf("Len() = %d, want 0", r.Len())
	}
}

func TestRingAbort(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 8, o, 0)
		p, c := mustProducer(t, r), mustConsumer(t, r)
		for i := range 50 { // aborted claims alone must not fill the ring
			b, ok := p.TryClaim(3)
			if !ok {
				t.Fatalf("claim %d: no room although all before were aborted", i)
			}
			p.Abort(b)
			wantPollNothing(t, c)
		}
		sendAll(t, p, 1)
		b, _ := p.TryClaim(2)
		p.Abort(b)
		sendAll(t, p, 2)
		var got []int
		for len(got) < 2 {
			first, second, err := c.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(append(got, first...), second...)
			c.Release()
		}
		if !slices.Equal(got, []int{1, 2}) {
			t.Errorf("received %v, want [1 2]", got)
		}
	})
}

func TestRingSharedPublishesInClaimOrder(t *testing.T) {
	r := mustRing[int](t, 8, Options{Producers: 2, MaxBatch: 2}, 1<<31-1)
	p, q, c := mustProducer(t, r), mustProducer(t, r), mustConsumer(t, r)
	a, _ := p.TryClaim(2)
	b, _ := q.TryClaim(1)
	fillBatch(b, 3)
	q.Publish(b)
	wantPollNothing(t, c)
	fillBatch(a, 1, 2)
	p.Publish(a)
	wantNext(t, c, 1, 2, 3)
}

// The headroom is what keeps (Producers-1) × MaxBatch slots out of reach of the check.
func TestRingHeadroom(t *testing.T) {
	r := mustRing[int](t, 16, Options{Producers: 3, MaxBatch: 4}, 0)
	p := mustProducer(t, r)
	mustConsumer(t, r)
	n := 0
	for v := 0; p.TrySend(&v); v++ {
		n++
	}
	if n != 16-2*4 {
		t.Errorf("%d slots taken by one producer, want 8", n)
	}
}

func sendAll(t *testing.T, p *Producer[int], values ...int) {
	t.Helper()
	for _, v := range values {
		if err := p.Send(t.Context(), &v); err != nil {
			t.Fatal(err)
		}
	}
}

func batch(t *testing.T, p *Producer[int], values ...int) {
	t.Helper()
	b, err := p.Claim(t.Context(), len(values))
	if err != nil {
		t.Fatal(err)
	}
	fillBatch(b, values...)
	p.Publish(b)
}

func fillBatch(b Batch[int], values ...int) {
	first, second := b.Slots()
	copy(second, values[copy(first, values):])
}

func wantNext(t *testing.T, c *Consumer[int], want ...int) {
	t.Helper()
	first, second, err := c.Next(t.Context())
	if got := slices.Concat(first, second); err != nil || !slices.Equal(got, want) {
		t.Fatalf("Next() = %v, %v, want %v", got, err, want)
	}
}

func wantPollNothing(t *testing.T, c *Consumer[int]) {
	t.Helper()
	if first, second := c.Poll(); first != nil || second != nil {
		t.Fatalf("Poll() = %v, %v, want nothing", first, second)
	}
}

func TestRingCloseDrains(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 8, o, 1<<32-2)
		p, c, d := mustProducer(t, r), mustConsumer(t, r), mustConsumer(t, r)
		sendAll(t, p, 1, 2)
		r.Seal()
		r.Seal()
		v := 3
		if err := p.Send(t.Context(), &v); !errors.Is(err, ErrClosed) {
			t.Errorf("Send after Close = %v, want ErrClosed", err)
		}
		if p.TrySend(&v) {
			t.Error("TrySend after Close = true")
		}
		for _, c := range []*Consumer[int]{c, d} {
			wantNext(t, c, 1, 2)
			c.ReleaseTo(1)
			c.Rewind()
			wantNext(t, c, 2)
			c.Release()
			for range 2 {
				if _, _, err := c.Next(t.Context()); !errors.Is(err, ErrClosed) {
					t.Errorf("Next after the last = %v, want ErrClosed", err)
				}
			}
		}
		if r.Len() != 0 {
			t.Errorf("Len() = %d, want 0", r.Len())
		}
	})
}

// With several producers, a batch claimed before Close belongs to what is drained.
func TestRingCloseWaitsForClaimed(t *testing.T) {
	for _, abort := range []bool{false, true} {
		r := mustRing[int](t, 8, Options{Producers: 2, MaxBatch: 2, Wait: Block}, 0)
		p, q, c := mustProducer(t, r), mustProducer(t, r), mustConsumer(t, r)
		a, _ := p.TryClaim(1)
		fillBatch(a, 1)
		sendAll(t, q, 2)
		r.Seal()
		var got []int
		var wg sync.WaitGroup
		wg.Go(func() { got = collect(t, c) })
		until(func() bool { return r.readers.sleepers() == 1 })
		if abort {
			p.Abort(a)
		} else {
			p.Publish(a)
		}
		wg.Wait()
		if want := []int{1, 2}[map[bool]int{true: 1}[abort]:]; !slices.Equal(got, want) {
			t.Errorf("abort %v: received %v, want %v", abort, got, want)
		}
	}
}

// With one producer too, a batch that was open counts when it is published, and not when it is aborted.
func TestRingAloneFinishAfterSeal(t *testing.T) {
	for _, abort := range []bool{false, true} {
		r := mustRing[int](t, 8, Options{}, 0)
		p, c := mustProducer(t, r), mustConsumer(t, r)
		sendAll(t, p, 1)
		b, _ := p.TryClaim(1)
		r.Seal()
		fillBatch(b, 2)
		want := []int{1, 2}
		if abort {
			p.Abort(b)
			want = want[:1]
		} else {
			p.Publish(b)
		}
		if got := collect(t, c); !slices.Equal(got, want) {
			t.Errorf("abort %v: received %v, want %v", abort, got, want)
		}
		if v := 3; p.TrySend(&v) {
			t.Error("TrySend = true after Seal")
		}
	}
}

// A Send that overlaps with Seal is either counted or refused.
func TestRingAloneSendDuringSeal(t *testing.T) {
	r := mustRing[int](t, 8, Options{}, 0)
	p, c := mustProducer(t, r), mustConsumer(t, r)
	sendAll(t, p, 1)
	r.Seal()
	v := 2
	p.limit = 8 // as if Seal came behind the look for room
	if err := p.Send(t.Context(), &v); !errors.Is(err, ErrClosed) {
		t.Errorf("Send behind Seal = %v, want ErrClosed", err)
	}
	if got := collect(t, c); !slices.Equal(got, []int{1}) || r.Len() != 0 {
		t.Errorf("received %v, Len() = %d, want [1], 0", got, r.Len())
	}
}

// A consumer that has seen a batch which Close then cuts off must not step back.
func TestRingCloseBehindConsumer(t *testing.T) {
	r := mustRing[int](t, 8, Options{}, 0)
	p, c := mustProducer(t, r), mustConsumer(t, r)
	sendAll(t, p, 1, 2)
	wantNext(t, c, 1, 2)
	c.Release()
	r.end.Store(1) // as if Close had read the cursor before the second was published
	wantPollNothing(t, c)
	if _, _, err := c.Next(t.Context()); !errors.Is(err, ErrClosed) || r.Len() != 0 {
		t.Errorf("Next() = %v, Len() = %d, want ErrClosed, 0", err, r.Len())
	}
}

// collect reads until the ring is drained.
func collect(t *testing.T, c *Consumer[int]) (got []int) {
	for {
		first, second, err := c.Next(t.Context())
		if err != nil {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("Next = %v, want ErrClosed", err)
			}
			return got
		}
		got = append(append(got, first...), second...)
		c.Release()
	}
}

func TestRingCancel(t *testing.T) {
	for _, wait := range []WaitStrategy{Park, Block, Spin} {
		bothKinds(t, func(t *testing.T, o Options) {
			o.Wait = wait
			r := mustRing[int](t, 8, o, 0)
			p, c := mustProducer(t, r), mustConsumer(t, r)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, _, err := c.Next(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("Next = %v, want context.Canceled", err)
				}
			})
			cancel()
			wg.Wait()
			for v := 0; p.TrySend(&v); v++ {
			}
			claimed := r.claimed()
			if _, err := p.Claim(ctx, 1); !errors.Is(err, context.Canceled) || r.claimed() != claimed {
				t.Errorf("Claim = %v, want context.Canceled and nothing claimed", err)
			}
			wantNextLen(t, c, int(claimed))
		})
	}
}

func wantNextLen(t *testing.T, c *Consumer[int], want int) {
	t.Helper()
	first, second, err := c.Next(t.Context())
	if err != nil || len(first)+len(second) != want {
		t.Errorf("Next() = %d slots, %v, want %d", len(first)+len(second), err, want)
	}
}

// In a bubble, Wait returns only when every goroutine is durably blocked: Block must not spin, and
// must not wait in a mutex.
func TestRingBlockInVirtualTime(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		synctest.Test(t, func(t *testing.T) {
			o.Wait = Block
			r := mustRing[int](t, 8, o, 0)
			p, c := mustProducer(t, r), mustConsumer(t, r)
			var got []int
			go func() { got = collect(t, c) }()
			synctest.Wait()
			if r.readers.sleepers() != 1 {
				t.Fatal("the consumer is not parked")
			}
			sendAll(t, p, 1, 2)
			synctest.Wait()
			if !slices.Equal(got, nil) || r.Len() != 0 {
				t.Errorf("received %v, Len() = %d; want all released, none handed over yet", got, r.Len())
			}
			r.Seal()
			synctest.Wait()
			if !slices.Equal(got, []int{1, 2}) {
				t.Errorf("received %v, want [1 2]", got)
			}
		})
	})
}

func TestRingBlockedProducerInVirtualTime(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		synctest.Test(t, func(t *testing.T) {
			o.Wait = Block
			r := mustRing[int](t, 8, o, 0)
			p, c := mustProducer(t, r), mustConsumer(t, r)
			for v := 0; p.TrySend(&v); v++ {
			}
			var err error
			sent := false
			go func() { v := 9; err = p.Send(t.Context(), &v); sent = true }()
			synctest.Wait()
			if sent || r.writers.sleepers() != 1 {
				t.Fatal("the producer is not parked on a full ring")
			}
			c.Poll()
			c.Release()
			synctest.Wait()
			if !sent || err != nil {
				t.Errorf("sent %v, %v after a release", sent, err)
			}
		})
	})
}

func TestRingAllocates(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 64, o, 0)
		p, c := mustProducer(t, r), mustConsumer(t, r)
		ctx := t.Context()
		if n := testing.AllocsPerRun(1000, func() {
			v := 1
			_ = p.Send(ctx, &v)
			b, _ := p.Claim(ctx, 3)
			b.Slots()
			p.Publish(b)
			b, _ = p.TryClaim(2)
			p.Abort(b)
			_, _, _ = c.Next(ctx)
			c.ReleaseTo(2)
			c.Rewind()
			c.Poll()
			c.Release()
		}); n != 0 {
			t.Errorf("%v allocations per round, want 0", n)
		}
	})
}

// Parking reuses its places: a wait that sleeps allocates nothing either.
func TestParkingAllocates(t *testing.T) {
	var l parkingLot
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := func() bool { return false }
	if n := testing.AllocsPerRun(1000, func() { _ = l.await(ctx, waiting{}, never) }); n != 0 {
		t.Errorf("%v allocations per park, want 0", n)
	}
}

func TestRingLayout(t *testing.T) {
	var r Ring[int]
	var p Producer[int]
	var c Consumer[int]
	value := unsafe.Offsetof(paddedSequence{}.value)
	for _, tt := range []struct {
		name   string
		lo, hi uintptr
	}{
		{"read-only fields to cursor", unsafe.Offsetof(r.end), unsafe.Offsetof(r.cursor) + value},
		{"cursor to claims", unsafe.Offsetof(r.cursor) + value, unsafe.Offsetof(r.claims) + value},
		{"claims to touched", unsafe.Offsetof(r.claims) + value, unsafe.Offsetof(r.touched) + value},
		{"touched to readers.waiting", unsafe.Offsetof(r.touched) + value,
			unsafe.Offsetof(r.readers) + unsafe.Offsetof(r.readers.waiting)},
		{"readers.waiting to readers.mu", unsafe.Offsetof(r.readers.waiting), unsafe.Offsetof(r.readers.mu)},
		{"readers to writers.waiting", unsafe.Offsetof(r.readers) + unsafe.Offsetof(r.readers.free),
			unsafe.Offsetof(r.writers) + unsafe.Offsetof(r.writers.waiting)},
		{"writers to the last fields", unsafe.Offsetof(r.writers) + unsafe.Offsetof(r.writers.free),
			unsafe.Offsetof(r.graph)},
		{"start of a producer to its fields", 0, unsafe.Offsetof(p.ring)},
		{"producer's fields to its end", unsafe.Offsetof(p.meter), unsafe.Sizeof(p)},
		{"start of a consumer to released", 0, unsafe.Offsetof(c.released) + value},
		{"released to the consumer's fields", unsafe.Offsetof(c.released) + value, unsafe.Offsetof(c.next)},
		{"consumer's fields to its end", unsafe.Offsetof(c.gap), unsafe.Sizeof(c)},
	} {
		if d := tt.hi - tt.lo; tt.hi < tt.lo || d < cacheGap {
			t.Errorf("%s: %d bytes, want at least %d", tt.name, d, cacheGap)
		}
	}
}

// TestAvailabilityWords checks that a word is found at its own sequence only, at every size a ring
// can have, as far as sequences go.
func TestAvailabilityWords(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for shift := 1; shift <= 12; shift++ {
		size := int64(1) << shift
		r := mustRing[int](t, int(size), Options{Producers: 2, MaxBatch: int(size / 2)}, 0)
		for range 500 {
			from := random.Int64N(1 << (3 + random.IntN(59)))
			n := 1 + random.Int64N(size/2)
			r.words[from&r.mask].Store(r.word(from, n))
			if got, aborted := r.claimAt(from); got != n || aborted {
				t.Fatalf("claimAt(%d) = %d, %v, want %d", from, got, aborted, n)
			}
			for _, other := range []int64{from + size, from - size, from + size<<20, from ^ size<<10} {
				if got, _ := r.claimAt(other); other >= 0 && got != 0 {
					t.Fatalf("size %d: the word of %d counts at %d", size, from, other)
				}
			}
			r.words[from&r.mask].Store(r.word(from, n) | abortedBit)
			if got, aborted := r.claimAt(from); got != n || !aborted {
				t.Fatalf("claimAt(%d) = %d, %v, want %d, aborted", from, got, aborted, n)
			}
		}
	}
}
