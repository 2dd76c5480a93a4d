package ringbuf

import "context"

// Close seals the ring and waits until every consumer has released everything, or ctx ends, in which case it
// returns ctx.Err() and the consumers go on. Without a consumer it does not wait. Anybody may call it, any
// number of times.
func (r *Ring[T]) Close(ctx context.Context) error {
	r.Seal()
	drained := func() bool { return r.halted.Load() || len(r.consumers()) == 0 || r.slowest() >= r.end.Load() }
	if drained() {
		return nil
	}
	return r.writers.await(ctx, r.wait, drained)
}

// CloseNow seals the ring and drops what was not handed out yet: Next returns ErrClosed at once. Slots that
// were handed out stay as they are. Anybody may call it, any number of times.
func (r *Ring[T]) CloseNow() {
	r.halted.Store(true)
	r.Seal()
}
