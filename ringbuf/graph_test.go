package ringbuf

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func addConsumer[T any](t testing.TB, r *Ring[T], options ...ConsumerOption) *Consumer[T] {
	t.Helper()
	c, err := r.Consumer(options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAfterWaitsForAll(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 16, o, 1<<32-1)
		p := mustProducer(t, r)
		journal, replica := addConsumer(t, r), addConsumer(t, r)
		apply := addConsumer(t, r, Named("apply"), After(journal, replica, journal))
		sendAll(t, p, 1, 2, 3)
		wantPollNothing(t, apply)
		wantNext(t, journal, 1, 2, 3)
		journal.ReleaseTo(2)
		wantPollNothing(t, apply)
		wantNext(t, replica, 1, 2, 3)
		replica.Release()
		wantNext(t, apply, 1, 2)
		journal.Release()
		wantNext(t, apply, 3)
		apply.Release()
		if r.Len() != 0 {
			t.Errorf("Len() = %d, want 0", r.Len())
		}
		s := r.Stats()
		want := ConsumerStats{Name: "apply", Released: 3}
		if len(s.Consumers) != 3 || s.Consumers[2] != want || s.Claimed != 3 {
			t.Errorf("Stats() = %+v", s)
		}
	})
}

// A stage sees no aborted batch either, wherever its upstream stopped.
func TestAfterSkipsAborted(t *testing.T) {
	r := mustRing[int](t, 32, Options{Producers: 2, MaxBatch: 4}, 0)
	p := mustProducer(t, r)
	first := addConsumer(t, r)
	second := addConsumer(t, r, After(first))
	abort := func(n int) {
		b, _ := p.TryClaim(n)
		p.Abort(b)
	}
	abort(2)
	batch(t, p, 1, 2)
	abort(3)
	abort(1)
	batch(t, p, 3, 4, 5)
	wantNext(t, first, 1, 2)
	wantNext(t, first, 3, 4, 5)
	first.ReleaseTo(1)
	wantNext(t, second, 1, 2)
	wantPollNothing(t, second) // with several producers, a batch is passed on as a whole
	second.Rewind()
	wantNext(t, second, 1, 2)
	first.Release()
	wantNext(t, second, 3, 4, 5)
	second.Release()
	if r.Len() != 0 {
		t.Errorf("Len() = %d, want 0", r.Len())
	}
}

func TestAfterRefuses(t *testing.T) {
	r, other := mustRing[int](t, 8, Options{}, 0), mustRing[int](t, 8, Options{}, 0)
	if _, err := r.Consumer(After(mustConsumer(t, other))); err == nil {
		t.Error("After a consumer of another ring went in")
	}
	c := mustConsumer(t, r)
	c.Close()
	if _, err := r.Consumer(After(c)); err == nil {
		t.Error("After a closed consumer went in")
	}
	r.Seal()
	if _, err := r.Consumer(); !errors.Is(err, ErrClosed) {
		t.Errorf("Consumer() of a sealed ring = %v, want ErrClosed", err)
	}
}

// When a stage in the middle closes, what came after it follows what it followed, from where it is.
func TestCloseOfAStage(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		o.MaxBatch = 4
		r := mustRing[int](t, 16, o, 0)
		p := mustProducer(t, r)
		a := addConsumer(t, r)
		b := addConsumer(t, r, After(a))
		c := addConsumer(t, r, After(b))
		sendAll(t, p, 1, 2, 3)
		wantNext(t, a, 1, 2, 3)
		a.ReleaseTo(2)
		wantNext(t, b, 1, 2)
		b.ReleaseTo(1)
		b.Close()
		wantNext(t, c, 1, 2)
		c.ReleaseTo(1)
		a.Close()
		wantNext(t, c, 3)
		batch(t, p, 4, 5)
		wantNext(t, c, 4, 5)
		c.Release()
		if r.Len() != 0 {
			t.Errorf("Len() = %d, want 0", r.Len())
		}
	})
}

// A consumer that is added after another may be in front of it at first; then it waits, and holds nobody up
// more than that one does.
func TestAfterAddedLate(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 8, o, 0)
		p, a := mustProducer(t, r), mustConsumer(t, r)
		sendAll(t, p, 1, 2)
		b := addConsumer(t, r, After(a))
		wantNext(t, a, 1, 2)
		a.Release()
		wantPollNothing(t, b)
		sendAll(t, p, 3)
		wantPollNothing(t, b)
		wantNext(t, a, 3)
		a.Release()
		wantNext(t, b, 3)
	})
}

func TestFullPolicies(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		o.Full = Fail
		r := mustRing[int](t, 8, o, 0)
		p := mustProducer(t, r)
		mustConsumer(t, r)
		var err error
		for v := 0; err == nil; v++ {
			err = p.Send(t.Context(), &v)
		}
		if !errors.Is(err, ErrFull) {
			t.Errorf("Send = %v, want ErrFull", err)
		}
		if _, err := p.Claim(t.Context(), 2); !errors.Is(err, ErrFull) {
			t.Errorf("Claim = %v, want ErrFull", err)
		}
		o.Full = DropNewest
		r = mustRing[int](t, 8, o, 0)
		p = mustProducer(t, r)
		c := mustConsumer(t, r)
		for v := range 20 {
			if err := p.Send(t.Context(), &v); err != nil {
				t.Errorf("Send = %v", err)
			}
		}
		if _, err := p.Claim(t.Context(), 2); !errors.Is(err, ErrFull) {
			t.Errorf("Claim = %v, want ErrFull", err)
		}
		got, _, _ := c.Next(t.Context())
		if d := r.Stats().Dropped; int(d) != 20-len(got)+2 || !slices.IsSorted(got) || got[0] != 0 {
			t.Errorf("received %v, dropped %d of 22", got, d)
		}
		r.Seal()
		if v := 1; !errors.Is(p.Send(t.Context(), &v), ErrClosed) {
			t.Error("Send after Seal dropped, want ErrClosed")
		}
	})
}

func TestClaimUpTo(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		o.MaxBatch = 3
		r := mustRing[int](t, 8, o, 0)
		p, c := mustProducer(t, r), mustConsumer(t, r)
		var sizes []int
		for {
			b, ok := p.ClaimUpTo(100)
			if !ok {
				break
			}
			sizes = append(sizes, b.Len())
			p.Publish(b)
		}
		if want := map[bool][]int{false: {3, 3, 2}, true: {3, 2}}[r.shared()]; !slices.Equal(sizes, want) {
			t.Errorf("claims of %v, want %v", sizes, want)
		}
		if _, ok := p.ClaimUpTo(0); ok {
			t.Error("ClaimUpTo(0) = true")
		}
		c.Poll()
		c.Release()
		if b, ok := p.ClaimUpTo(2); !ok || b.Len() != 2 {
			t.Errorf("ClaimUpTo(2) = %d, %v", b.Len(), ok)
		}
	})
}

// Close waits until all is released, CloseNow for nobody.
func TestCloseInVirtualTime(t *testing.T) {
	bothKinds(t, func(t *testing.T, o Options) {
		synctest.Test(t, func(t *testing.T) {
			o.Wait = Block
			r := mustRing[int](t, 8, o, 0)
			p, c := mustProducer(t, r), mustConsumer(t, r)
			d := addConsumer(t, r, After(c))
			sendAll(t, p, 1, 2)
			closed := false
			go func() {
				if err := r.Close(t.Context()); err != nil {
					t.Errorf("Close = %v", err)
				}
				closed = true
			}()
			synctest.Wait()
			wantNext(t, c, 1, 2)
			c.Release()
			wantNext(t, d, 1, 2)
			d.ReleaseTo(1)
			synctest.Wait()
			if closed {
				t.Error("Close returned with a slot unreleased")
			}
			d.Release()
			synctest.Wait()
			if !closed {
				t.Error("Close did not return although all is released")
			}
		})
		r := mustRing[int](t, 8, o, 0)
		p, c := mustProducer(t, r), mustConsumer(t, r)
		sendAll(t, p, 1)
		r.CloseNow()
		if _, _, err := c.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Next after CloseNow = %v, want ErrClosed", err)
		}
		wantPollNothing(t, c)
		if err := r.Close(t.Context()); err != nil {
			t.Errorf("Close after CloseNow = %v", err)
		}
	})
}

// graphStress is a pipeline or a diamond whose stages write into the slots what the next ones check.
type graphEvent struct{ number, a, b uint64 }

func TestGraphStress(t *testing.T) {
	for _, o := range []Options{
		{}, {Wait: Block}, {Wait: Spin, MaxBatch: 5}, {Producers: 3, MaxBatch: 3},
		{Producers: 2, MaxBatch: 4, Wait: Block},
	} {
		r := mustRing[graphEvent](t, 32, o, 1<<31-100)
		a, b := addConsumer(t, r), addConsumer(t, r)
		join := addConsumer(t, r, After(a, b))
		last := addConsumer(t, r, After(join))
		total := int64(cut(40_000, 5_000))
		var wg sync.WaitGroup
		stage := func(c *Consumer[graphEvent], work func(e *graphEvent) bool) {
			wg.Go(func() {
				for seen := int64(0); seen < total; {
					first, second, err := c.Next(t.Context())
					if err != nil {
						t.Errorf("Next = %v", err)
						return
					}
					for _, run := range [2][]graphEvent{first, second} {
						for i := range run {
							if !work(&run[i]) {
								t.Errorf("%+v: %+v", o, run[i])
								return
							}
						}
					}
					seen += int64(len(first) + len(second))
					c.Release()
				}
			})
		}
		stage(a, func(e *graphEvent) bool { e.a = e.number + 1; return true })
		stage(b, func(e *graphEvent) bool { e.b = e.number + 2; return true })
		stage(join, func(e *graphEvent) bool {
			ok := e.a == e.number+1 && e.b == e.number+2
			e.a = 0
			return ok
		})
		stage(last, func(e *graphEvent) bool { return e.a == 0 && e.b == e.number+2 })
		var left atomic.Int64
		left.Store(total)
		for range r.producers {
			p := mustProducer(t, r)
			wg.Go(func() {
				for n := left.Add(-1); n >= 0; n = left.Add(-1) {
					if err := p.Send(t.Context(), &graphEvent{number: uint64(n)}); err != nil {
						t.Errorf("Send = %v", err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// Consumers come and go while producers publish: each sees a stretch without a hole.
func TestConsumersComeAndGo(t *testing.T) {
	forSeeds(t, cut(40, 10), func(t *testing.T, random *rand.Rand) {
		o := Options{Producers: 1 + random.IntN(3), MaxBatch: 1 + random.IntN(2)}
		o.Wait = []WaitStrategy{Park, Block}[random.IntN(2)]
		r := mustRing[stressEvent](t, 8<<random.IntN(3), o, 1<<31-50)
		var producing, consuming sync.WaitGroup
		for i := range r.producers {
			p := mustProducer(t, r)
			producing.Go(func() {
				for n := range uint64(4_000) {
					e := newStressEvent(uint64(i), n)
					if err := p.Send(t.Context(), &e); err != nil {
						t.Errorf("Send = %v", err)
					}
				}
			})
		}
		for range 3 {
			seed := random.Uint64()
			consuming.Go(func() {
				random := rand.New(rand.NewPCG(seed, 1))
				for range 60 {
					c, err := r.Consumer()
					if err != nil {
						return
					}
					followAlong(t, r, c, random)
					c.Close()
				}
			})
		}
		producing.Wait()
		r.Seal()
		consuming.Wait()
	})
}

// followAlong reads for a while and checks that no event is missing after the first of each producer.
func followAlong(t *testing.T, r *Ring[stressEvent], c *Consumer[stressEvent], random *rand.Rand) {
	next := map[uint64]uint64{}
	for range random.IntN(50) {
		first, second, err := c.Next(t.Context())
		if err != nil {
			return
		}
		if random.IntN(4) == 0 {
			runtime.Gosched()
		}
		for i := range len(first) + len(second) {
			e := at(first, second, i)
			want, known := next[e.producer]
			if !e.intact() || known && e.number != want {
				t.Errorf("event %+v, intact %v, want number %d", e, e.intact(), want)
				return
			}
			next[e.producer] = e.number + 1
		}
		if random.IntN(3) != 0 {
			c.Release()
		} else {
			c.Rewind()
			next = map[uint64]uint64{}
		}
	}
}

// Slot and Commit are Send in two steps, by whatever way the ring takes.
func TestSlotCommit(t *testing.T) {
	kinds := map[string]Options{
		"quick": {}, "fenced": {Fenced: true}, "lossy": {Lossy: true}, "shared": {Producers: 2, MaxBatch: 3},
	}
	for name, o := range kinds {
		t.Run(name, func(t *testing.T) {
			r := mustRing[int](t, 8, o, 1<<32-3)
			p, c := mustProducer(t, r), mustConsumer(t, r)
			for i := range 30 {
				slot, err := p.Slot(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				*slot = i
				wantPollNothing(t, c)
				if err := p.Commit(); err != nil {
					t.Fatal(err)
				}
				wantNext(t, c, i)
				c.Release()
			}
			slot, _ := p.Slot(t.Context())
			*slot = 30
			r.Seal()
			err := p.Commit() // with a claim it counts, without it does not; either way it is told
			got := collect(t, c)
			if (err == nil) != slices.Equal(got, []int{30}) || err != nil && !errors.Is(err, ErrClosed) {
				t.Errorf("Commit behind Seal = %v, received %v", err, got)
			}
			if _, err := p.Slot(t.Context()); !errors.Is(err, ErrClosed) {
				t.Errorf("Slot after Seal = %v, want ErrClosed", err)
			}
		})
	}
}
