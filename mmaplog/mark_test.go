package mmaplog

import (
	"sync"
	"testing"
)

// TestMark polls a mark from another goroutine: what was stored before a move is there after it.
func TestMark(t *testing.T) {
	var m Mark
	const n = 100_000
	values := make([]int64, n+1)
	var poller sync.WaitGroup
	poller.Go(func() {
		for seen := int64(0); seen < n; {
			at := m.Load()
			if at < seen {
				t.Errorf("Load = %d after %d", at, seen)
				return
			}
			if seen = at; values[at] != at {
				t.Errorf("value %d is %d", at, values[at])
				return
			}
		}
	})
	for i := int64(1); i <= n; i++ {
		values[i] = i
		m.Move(i)
	}
	poller.Wait()
}
