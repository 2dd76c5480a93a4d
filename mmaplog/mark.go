package mmaplog

import "sync/atomic"

// Mark is a position that one goroutine at a time moves and others poll. It costs its mover a plain store
// on amd64, where one of sync/atomic waits until every line stored before has reached the cache; the
// pollers see the new position no later for it.
type Mark struct{ v atomic.Int64 }

// Load gives the position, and what was stored before it was moved there is visible.
func (m *Mark) Load() int64 { return m.v.Load() }

// Move moves the mark. It is a release store, not a full barrier: who goes on to look whether somebody
// sleeps needs one in between, such as an atomic read-modify-write.
func (m *Mark) Move(v int64) { publishMark(&m.v, v) }
