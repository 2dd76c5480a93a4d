package skipmark

import (
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
)

func TestMark(t *testing.T) {
	var m Mark
	var acked atomic.Int64
	want := func(what string, moved, wantMoved bool, at int64) {
		t.Helper()
		if moved != wantMoved || acked.Load() != at {
			t.Errorf("%s: moved %v, acked %d; want %v, %d", what, moved, acked.Load(), wantMoved, at)
		}
	}
	want("nothing skipped", m.Settle(&acked), false, 0)
	m.Skip(0, 2)
	want("the first records", m.Settle(&acked), true, 2)
	m.Skip(2, 3)
	want("a run that grows behind acked", m.Settle(&acked), true, 3)
	m.Skip(5, 6)
	want("behind what is in flight", m.Settle(&acked), false, 3)
	m.Skip(6, 8)
	acked.Store(4)
	want("one before the run", m.Settle(&acked), false, 4)
	acked.Store(5)
	want("all before the run", m.Settle(&acked), true, 8)
	want("again", m.Settle(&acked), false, 8)
	acked.Store(6)
	want("within the run", m.Settle(&acked), true, 8)
	m.Reset()
	acked.Store(6)
	want("after Reset", m.Settle(&acked), false, 6)
	m.Skip(0, 7)
	want("a run that begins at 0 after Reset", m.Settle(&acked), true, 7)
}

// TestMarkConcurrently reads and skips on one goroutine and acknowledges on another: in the end nothing is
// left, and acked never passes over what was given and not acknowledged.
func TestMarkConcurrently(t *testing.T) {
	for seed := range int64(20) {
		random := rand.New(rand.NewSource(seed))
		var m Mark
		var acked atomic.Int64
		given := make(chan int64, 8)
		var both sync.WaitGroup
		both.Go(func() {
			for offset := range given {
				if at := acked.Load(); at > offset {
					t.Errorf("seed %d: acked %d, %d was not acknowledged", seed, at, offset)
				}
				for at := acked.Load(); !acked.CompareAndSwap(at, offset+1); {
					at = acked.Load()
				}
				m.Settle(&acked)
			}
		})
		next := int64(0)
		for range 5_000 {
			if random.Intn(2) == 0 {
				given <- next
				next++
				continue
			}
			n := 1 + random.Int63n(3)
			m.Skip(next, next+n)
			m.Settle(&acked)
			next += n
		}
		close(given)
		both.Wait()
		if acked.Load() != next {
			t.Errorf("seed %d: acked %d in the end, want %d", seed, acked.Load(), next)
		}
	}
}
