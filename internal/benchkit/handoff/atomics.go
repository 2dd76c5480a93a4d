package handoff

import "sync/atomic"

// line is a word alone on its pair of cache lines.
type line struct {
	_    [128]byte
	word atomic.Int64
	_    [120]byte
}

// Atomics is the floor of a hop in Go: two words and nothing else.
func Atomics(n int64) (Result, error) {
	lines := new([2]line)
	there, back := &lines[0].word, &lines[1].word
	return Hop(n, func(i int64) error {
		there.Store(i + 1)
		for back.Load() != i+1 {
		}
		return nil
	}, func() error {
		for i := int64(1); i <= n; i++ {
			for there.Load() != i {
			}
			back.Store(i)
		}
		return nil
	})
}
