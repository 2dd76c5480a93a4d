package ringbuf

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// litmus runs a writer and a reader side by side, about a million times or until the reader objects.
func litmus(t *testing.T, write func(i int64), read func() (ok bool)) {
	rounds := int64(cut(1_000_000, 100_000))
	done := make(chan struct{})
	var stop atomic.Bool
	go func() {
		defer close(done)
		for i := int64(1); i <= rounds && !stop.Load(); i++ {
			write(i)
			if i%1024 == 0 {
				runtime.Gosched()
			}
		}
		stop.Store(true)
	}()
	for ok := true; ok && !stop.Load(); ok = read() {
	}
	if !read() {
		t.Error("a store was seen before an earlier one")
	}
	stop.Store(true)
	<-done
}

// TestReleaseOrder is message passing (MP in the literature): who sees the second store sees the first.
func TestReleaseOrder(t *testing.T) {
	type line struct {
		_     [cacheGap]byte
		value atomic.Int64
		_     [cacheGap]byte
	}
	t.Run("two words", func(t *testing.T) {
		var first, second line
		litmus(t, func(i int64) {
			release(&first.value, i)
			release(&second.value, i)
		}, func() bool {
			s := second.value.Load()
			return first.value.Load() >= s
		})
	})
	t.Run("chain", func(t *testing.T) { // through a third word, written by the reader of the second
		var first, second, third line
		litmus(t, func(i int64) {
			release(&first.value, i)
			release(&second.value, i)
		}, func() bool {
			release(&third.value, second.value.Load())
			return first.value.Load() >= third.value.Load()
		})
	})
}

// TestReleaseOfSlots is the same with the slots of a ring, whose bytes must all be there with the
// cursor: 72 of them, over two lines, copied by wide moves.
func TestReleaseOfSlots(t *testing.T) {
	type wide [9]int64
	r := mustRing[wide](t, 64, Options{Wait: Spin, Floor: -1}, 0)
	p, c := mustProducer(t, r), mustConsumer(t, r)
	n := int64(cut(500_000, 50_000))
	done := make(chan error, 1)
	go func() {
		var err error
		for i := int64(0); i < n && err == nil; i++ {
			v := wide{i, i, i, i, i, i, i, i, i}
			if i%2 == 0 {
				err = p.Send(t.Context(), &v)
				continue
			}
			var slot *wide
			if slot, err = p.Slot(t.Context()); err == nil {
				*slot = v
				err = p.Commit()
			}
		}
		r.Seal()
		done <- err
	}()
	for i := int64(0); ; {
		first, second, err := c.Next(t.Context())
		if err != nil {
			if i != n {
				t.Errorf("%d of %d received, then %v", i, n, err)
			}
			break
		}
		for _, run := range [2][]wide{first, second} {
			for _, v := range run {
				if v != (wide{i, i, i, i, i, i, i, i, i}) {
					t.Fatalf("slot %d holds %v", i, v)
				}
				i++
			}
		}
		c.Release()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
