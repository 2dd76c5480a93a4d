package skipmark

import "sync/atomic"

// Mark is the last run of offsets that the reader of a partition was not given. One goroutine, which reads,
// calls Skip and Reset; Settle may be called by any. The zero value has no run.
//
// Only the last run has to be known: what was given behind an earlier one is not acknowledged yet, or has
// been, and then so has everything before it.
type Mark struct {
	from, to atomic.Int64 // the run is [from, to); from is -1 while both change
}

// Reset forgets the run, when the reader goes to another place.
func (m *Mark) Reset() {
	m.from.Store(-1)
	m.to.Store(0)
}

// Skip notes that the offsets [lo, hi) are not given, which lie behind all that were noted before. Settle
// must follow.
func (m *Mark) Skip(lo, hi int64) {
	if m.to.Load() == lo && m.from.Load() >= 0 {
		m.to.Store(hi)
		return
	}
	m.from.Store(-1)
	m.to.Store(hi)
	m.from.Store(lo)
}

// Settle moves the first offset that is not acknowledged behind the run, if it lies within, and reports
// whether it did. It is called after Skip, and after acked was moved, so that one of the two sees the other.
func (m *Mark) Settle(acked *atomic.Int64) bool {
	for {
		at, from := acked.Load(), m.from.Load()
		to := m.to.Load()
		if from < 0 || at < from || at >= to {
			return false
		}
		// from only grows, so if it is still the same, to was that of its run.
		if m.from.Load() == from && acked.CompareAndSwap(at, to) {
			return true
		}
	}
}
