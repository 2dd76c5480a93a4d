package ringbuf

import (
	"errors"
	"sync"
	"testing"
)

func mustReader[T any](t testing.TB, r *Ring[T]) *Reader[T] {
	t.Helper()
	d, err := r.Reader()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func lossyKinds(t *testing.T, body func(t *testing.T, o Options)) {
	t.Run("alone", func(t *testing.T) { body(t, Options{Lossy: true, MaxBatch: 3}) })
	t.Run("shared", func(t *testing.T) { body(t, Options{Lossy: true, Producers: 2, MaxBatch: 3}) })
}

func TestReaderNeedsPlainWords(t *testing.T) {
	if _, err := New[*int](8, Options{Lossy: true}); err == nil {
		t.Error("a ring of pointers is lossy")
	}
	if _, err := New[struct{ s [2]string }](8, Options{Lossy: true}); err == nil {
		t.Error("a ring of strings is lossy")
	}
	if _, err := New[[3]byte](8, Options{Lossy: true}); err == nil {
		t.Error("a ring of 3 bytes is lossy")
	}
	if _, err := New[struct{}](8, Options{Lossy: true}); err == nil {
		t.Error("a ring of nothing is lossy")
	}
	r := mustRing[int64](t, 8, Options{}, 0)
	if _, err := r.Reader(); !errors.Is(err, ErrNotLossy) {
		t.Errorf("Reader() = %v, want ErrNotLossy", err)
	}
}

func TestReaderSkipsAndCounts(t *testing.T) {
	lossyKinds(t, func(t *testing.T, o Options) {
		r := mustRing[int](t, 64, o, 1<<32-20)
		p, d := mustProducer(t, r), mustReader(t, r)
		buf := make([]int, 5)
		if n, skipped := d.Poll(buf); n != 0 || skipped != 0 {
			t.Errorf("Poll() = %d, %d on an empty ring", n, skipped)
		}
		sendAll(t, p, 1, 2)
		if n, skipped := d.Poll(buf); n != 2 || skipped != 0 || buf[0] != 1 || buf[1] != 2 {
			t.Errorf("Poll() = %d, %d, %v", n, skipped, buf)
		}
		for i := 3; i <= 203; i++ { // three laps without a consumer
			sendAll(t, p, i)
		}
		next, total := 3, int64(0)
		for next <= 203 {
			n, skipped, err := d.Next(t.Context(), buf)
			if err != nil || skipped > 0 && total > 0 || buf[0] != next+int(skipped) {
				t.Fatalf("Next() = %d, %d, %v, %v; want %d first", n, skipped, err, buf, next)
			}
			total += skipped
			next = buf[n-1] + 1
		}
		if total < 201-64 || total > 201-64+64/4+3 {
			t.Errorf("%d skipped", total)
		}
		r.Seal()
		if _, _, err := d.Next(t.Context(), buf); !errors.Is(err, ErrClosed) {
			t.Errorf("Next after Seal = %v, want ErrClosed", err)
		}
		if _, _, err := d.Next(t.Context(), nil); err == nil {
			t.Error("Next without a buffer returned")
		}
	})
}

func TestReaderPassesAborted(t *testing.T) {
	r := mustRing[int](t, 64, Options{Lossy: true, Producers: 2, MaxBatch: 3}, 0)
	p, d := mustProducer(t, r), mustReader(t, r)
	for range 2 {
		b, _ := p.TryClaim(3)
		p.Abort(b)
	}
	batch(t, p, 1, 2)
	b, _ := p.TryClaim(2)
	p.Abort(b)
	sendAll(t, p, 3)
	buf := make([]int, 8)
	if n, skipped, _ := d.Next(t.Context(), buf); n != 2 || skipped != 6 || buf[1] != 2 {
		t.Errorf("Next() = %d, %d, %v", n, skipped, buf)
	}
	if n, skipped, _ := d.Next(t.Context(), buf); n != 1 || skipped != 2 || buf[0] != 3 {
		t.Errorf("Next() = %d, %d, %v", n, skipped, buf)
	}
}

// An aborted batch of a lone producer takes no sequence, but what it has overwritten is gone.
func TestReaderAfterAbortedLap(t *testing.T) {
	r := mustRing[int](t, 16, Options{Lossy: true, MaxBatch: 4}, 0)
	p, d := mustProducer(t, r), mustReader(t, r)
	for i := range 16 {
		sendAll(t, p, i)
	}
	b, _ := p.TryClaim(4)
	fillBatch(b, 100, 101, 102, 103)
	p.Abort(b)
	buf := make([]int, 1)
	if n, skipped := d.Poll(buf); n != 1 || skipped < 4 || buf[0] != int(skipped) {
		t.Errorf("Poll() = %d, %d, %v, want what was not overwritten", n, skipped, buf)
	}
}

// A reader that jumps forward does not jump over what is still to be published.
func TestReaderJumpsNoFurtherThanPublished(t *testing.T) {
	r := mustRing[int](t, 16, Options{Lossy: true}, 0)
	p, d := mustProducer(t, r), mustReader(t, r)
	for i := range 16 {
		sendAll(t, p, i)
	}
	b, _ := p.TryClaim(16) // takes the place of everything
	p.Abort(b)
	buf := make([]int, 1)
	if n, skipped := d.Poll(buf); n != 0 || skipped != 16 {
		t.Errorf("Poll() = %d, %d, want 0, 16", n, skipped)
	}
	sendAll(t, p, 16)
	if n, skipped := d.Poll(buf); n != 1 || skipped != 0 || buf[0] != 16 {
		t.Errorf("Poll() = %d, %d, %v, want 1, 0, [16]", n, skipped, buf)
	}
}

// Readers race with producers that nobody holds up: what they get is whole, in order, and together with what
// they skipped all there was.
func TestReaderStress(t *testing.T) {
	for _, o := range []Options{
		{Lossy: true}, {Lossy: true, MaxBatch: 5, Wait: Block}, {Lossy: true, Producers: 3, MaxBatch: 4},
	} {
		if o.MaxBatch == 0 {
			o.MaxBatch = 16
		}
		r := mustRing[stressEvent](t, 64, o, 1<<31-1000)
		x := &ringStress{t: t, ring: r, total: uint64(cut(100_000, 10_000))}
		var producing, reading sync.WaitGroup
		for i := range 2 {
			d := mustReader(t, r)
			reading.Go(func() { readAll(t, r, d, 1+i*20) })
		}
		for i := range r.producers {
			p := mustProducer(t, r)
			producing.Go(func() { x.produceAll(uint64(i), p) })
		}
		producing.Wait()
		r.Seal()
		reading.Wait()
	}
}

func (x *ringStress) produceAll(id uint64, p *Producer[stressEvent]) {
	for number := uint64(0); number < x.total; {
		b, err := p.Claim(x.t.Context(), int(min(1+number%7, x.total-number, uint64(x.ring.maxBatch))))
		if err != nil {
			x.t.Errorf("Claim = %v", err)
			return
		}
		first, second := b.Slots()
		for _, run := range [2][]stressEvent{first, second} {
			for i := range run {
				run[i] = newStressEvent(id, number)
				number++
			}
		}
		p.Publish(b)
	}
}

func readAll(t *testing.T, r *Ring[stressEvent], d *Reader[stressEvent], size int) {
	buf := make([]stressEvent, size)
	last := map[uint64]uint64{}
	seen := int64(0)
	for {
		n, skipped, err := d.Next(t.Context(), buf)
		seen += int64(n) + skipped
		if err != nil {
			break
		}
		for _, e := range buf[:n] {
			if before, known := last[e.producer]; !e.intact() || known && e.number <= before {
				t.Errorf("event %+v, intact %v, after number %d", e, e.intact(), before)
				return
			}
			last[e.producer] = e.number
		}
	}
	if want := r.claimed() - r.start; seen != want {
		t.Errorf("read and skipped %d of %d", seen, want)
	}
}
