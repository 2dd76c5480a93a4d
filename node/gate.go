package node

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// gate holds publishers of one partition back while more than unsynced_max waits for the disk. It
// is set under the shard's lock; publishers look at one flag that is rarely written.
type gate struct {
	closed atomic.Bool

	mu   sync.Mutex // guards the following
	open chan struct{}
}

// set closes or opens the gate.
func (g *gate) set(closed bool) {
	if g.closed.Load() == closed {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed.Store(closed)
	if closed {
		g.open = make(chan struct{})
	} else {
		close(g.open)
	}
}

// await returns when the gate is open.
func (g *gate) await(ctx context.Context, closing <-chan struct{}) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if open == nil {
		return nil
	}
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-closing:
		return core.NewError(core.CodeClosed, "publish", nil)
	}
}
