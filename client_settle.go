package leat

import (
	"cmp"
	"context"

	"github.com/leatbus/leat/core"
)

// finish answers a batch with its outcome, which is set. The lock must not be held; the batch is nobody
// else's any more.
func (p *remoteProducer) finish(b *produceBatch) {
	part, records := b.part, uint64(b.records)
	if b.async {
		// Those who wait are not held up by callbacks.
		b.completeWaiters()
		p.callbacks.put(callback{batch: b})
	} else {
		p.room.free(roomOf(b.records, b.bytes))
		b.completeWaiters()
		b.release()
	}
	// Behind put: who sees the batch settled finds its callbacks in line.
	part.settled.Add(records)
	p.signalSettled()
}

func (b *produceBatch) completeWaiters() {
	for i := range b.calls {
		call := &b.calls[i]
		if call.waiter != nil {
			call.waiter.complete(b.receiptOf(call.at), b.err)
			call.waiter = nil
		}
	}
}

// finishAll answers batches with one error.
func (p *remoteProducer) finishAll(batches []*produceBatch, err error) {
	for _, b := range batches {
		b.err = err
		p.finish(b)
	}
}

// signalSettled wakes those who wait in awaitSettled.
func (p *remoteProducer) signalSettled() {
	s := &p.settling
	if s.waiting.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// awaitSettled waits while holds does. It reports true if the producer was closed before.
func (p *remoteProducer) awaitSettled(holds func() bool) (gaveUp bool) {
	return p.awaitSettledCtx(p.ctx, holds) != nil
}

func (p *remoteProducer) awaitSettledCtx(ctx context.Context, holds func() bool) error {
	s := &p.settling
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if !holds() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ctx.Done():
			return p.client.closedError(p.topic.op("publish to"))
		}
	}
}

// Flush implements ProducerBackend.
func (p *remoteProducer) Flush(ctx context.Context) error {
	if err := p.flush(ctx); err != nil {
		return err
	}
	if d := p.laterNow(); d != nil {
		if err := d.Flush(ctx); err != nil {
			return err
		}
		if err := p.flushCallbacks(ctx); err != nil { // d has handed them to p
			return err
		}
	}
	return p.mishaps()
}

// flush waits until everything published so far has been answered.
func (p *remoteProducer) flush(ctx context.Context) error {
	type target struct {
		part   *producerPart
		issued uint64
	}
	var targets []target
	p.mu.Lock()
	for _, part := range p.parts {
		if part != nil && part.settled.Load() < part.issued {
			targets = append(targets, target{part, part.issued})
		}
	}
	p.mu.Unlock()
	err := ctx.Err()
	if err == nil {
		err = p.awaitSettledCtx(ctx, func() bool {
			for len(targets) > 0 {
				if last := targets[len(targets)-1]; last.part.settled.Load() < last.issued {
					return true
				}
				targets = targets[:len(targets)-1]
			}
			return false
		})
	}
	switch {
	case err == nil:
		return p.flushCallbacks(ctx)
	case err != ctx.Err():
		return err
	}
	left := int64(0)
	for _, t := range targets {
		left += max(int64(t.issued-t.part.settled.Load()), 0)
	}
	return FlushEnded(p.topic.name, left, err)
}

// flushCallbacks waits until everything that was put so far has been called back.
func (p *remoteProducer) flushCallbacks(ctx context.Context) error {
	c := &p.callbacks
	c.mu.Lock()
	puts := c.puts
	c.mu.Unlock()
	err := p.awaitSettledCtx(ctx, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.runs < puts
	})
	if err != nil && err == ctx.Err() {
		return FlushEnded(p.topic.name, 0, err)
	}
	return err
}

// Close implements ProducerBackend.
func (p *remoteProducer) Close() error {
	p.closeOnce.Do(func() {
		p.closed.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		p.closeErr = p.close(ctx)
	})
	return p.closeErr
}

// close drains until ctx ends, fails the rest, and waits for everything that runs.
func (p *remoteProducer) close(ctx context.Context) error {
	err := p.flush(ctx)
	close(p.closing) // whoever still waits for room gives up
	if err != nil {
		err = core.NewError(core.CodeClosed, p.topic.op("drain a producer of"), err)
	}
	p.mu.Lock()
	p.cancel() // from here on nothing is appended
	p.mu.Unlock()
	p.tasks.Wait()
	for _, l := range p.lanes {
		p.finishAll(l.giveUp(), p.client.closedError(p.topic.op("publish to")))
	}
	err = cmp.Or(err, p.closeLater(ctx)) // its callbacks are those of p
	p.callbacks.stop()
	c := p.client
	c.mu.Lock()
	delete(c.producers, p)
	c.mu.Unlock()
	if mishaps := p.mishaps(); err == nil {
		err = mishaps
	}
	return err
}
