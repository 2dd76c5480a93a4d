package node

import (
	"context"
	"sync"
)

// idleMark tells when something that goes up and down is down. It is guarded by the lock of what it is part
// of.
type idleMark struct {
	busy bool
	idle chan struct{} // closed when nothing is left; nil while nobody waits for it
}

// set notes how much there is now.
func (m *idleMark) set(left int) {
	m.busy = left > 0
	if !m.busy && m.idle != nil {
		close(m.idle)
		m.idle = nil
	}
}

// wait gives a channel that is closed when nothing is left, or the first time after now that nothing was.
func (m *idleMark) wait() <-chan struct{} {
	if m.idle != nil {
		return m.idle
	}
	idle := make(chan struct{})
	if !m.busy {
		close(idle)
		return idle
	}
	m.idle = idle
	return idle
}

// quota bounds what of one kind a connection has under way. What is larger than all the bytes passes alone.
type quota struct {
	most, mostBytes int

	mu    sync.Mutex // guards the following
	count int
	bytes int
	mark  idleMark
}

// take makes one of so many bytes under way, unless that is over the bounds.
func (q *quota) take(size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count >= q.most || q.bytes > 0 && q.bytes+size > q.mostBytes {
		return false
	}
	q.count++
	q.bytes += size
	q.mark.set(q.count)
	return true
}

// give ends one that take had let pass.
func (q *quota) give(size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count--
	q.bytes -= size
	q.mark.set(q.count)
}

// whenIdle gives a channel that is closed when nothing is under way.
func (q *quota) whenIdle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mark.wait()
}

// await waits for a channel, for as long as the connection lasts and ctx does.
func (c *session) await(ctx context.Context, idle <-chan struct{}) {
	select {
	case <-idle:
	case <-c.ctx.Done():
	case <-ctx.Done():
	}
}
