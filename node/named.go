package node

import (
	"context"
	"sync/atomic"

	"github.com/leatbus/leat"
)

// namedProducer is a producer of this process that has a name (WithID). Its frames are anonymous, because
// nothing is sent twice within a process; the name makes it the only one, and fenced when another one
// takes it.
//
// Invariant: what was committed before fence returned lies in the rings before what the next holder of the
// name commits. enter counts, then looks at fenced; fence sets it, then looks at the count; so one of the
// two sees the other.
type namedProducer struct {
	producer *producer
	inside   atomic.Int64  // calls that may commit
	fenced   atomic.Bool   // no call may commit any more
	left     chan struct{} // capacity 1: the last call left after the fence
}

var (
	_ leat.ProducerBackend = (*namedProducer)(nil)
	_ nameHolder           = (*namedProducer)(nil)
)

// openNamed opens a producer that takes a name, which waits for the disk and for the older holder.
func (n *Node) openNamed(t *topic, o leat.ProducerOptions) (leat.ProducerBackend, error) {
	p := &namedProducer{producer: n.newProducer(t, o), left: make(chan struct{}, 1)}
	ctx, cancel := n.closeContext()
	defer cancel()
	if _, _, err := n.claimName(ctx, t, o.ID, 0, false, p); err != nil {
		_ = p.producer.Close() // the error that matters is the first
		return nil, err
	}
	return p, nil
}

// enter begins a call that may commit; leave ends it.
func (p *namedProducer) enter() error {
	p.inside.Add(1)
	if !p.fenced.Load() {
		return nil
	}
	p.leave()
	return fencedName(p.producer.topic, p.producer.options.ID)
}

func (p *namedProducer) leave() {
	if p.inside.Add(-1) == 0 && p.fenced.Load() {
		select {
		case p.left <- struct{}{}:
		default:
		}
	}
}

// fence implements nameHolder.
func (p *namedProducer) fence(ctx context.Context) {
	p.fenced.Store(true)
	for p.inside.Load() > 0 {
		select {
		case <-p.left:
		case <-ctx.Done():
			return
		}
	}
	_ = p.producer.Flush(ctx) // its error is ctx's, or that the bus closes, which answers the rest
}

// Publish implements leat.ProducerBackend.
func (p *namedProducer) Publish(ctx context.Context, m leat.Message) (leat.Receipt, error) {
	if err := p.enter(); err != nil {
		return leat.Receipt{}, err
	}
	defer p.leave()
	return p.producer.Publish(ctx, m)
}

// CheckClaim implements leat.ProducerBackend.
func (p *namedProducer) CheckClaim(keyBytes, valueBytes int) error {
	if p.fenced.Load() {
		return fencedName(p.producer.topic, p.producer.options.ID)
	}
	return p.producer.CheckClaim(keyBytes, valueBytes)
}

// PublishBatch implements leat.ProducerBackend.
func (p *namedProducer) PublishBatch(ctx context.Context, batch []leat.Message) (leat.Receipt, error) {
	if err := p.enter(); err != nil {
		return leat.Receipt{}, err
	}
	defer p.leave()
	return p.producer.PublishBatch(ctx, batch)
}

// TryPublish implements leat.ProducerBackend.
func (p *namedProducer) TryPublish(m leat.Message) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	return p.producer.TryPublish(m)
}

// PublishAsync implements leat.ProducerBackend.
func (p *namedProducer) PublishAsync(m leat.Message, done func(leat.Receipt, error)) {
	if err := p.enter(); err != nil {
		p.producer.answers.refuse(done, err)
		return
	}
	defer p.leave()
	p.producer.PublishAsync(m, done)
}

// Flush implements leat.ProducerBackend.
func (p *namedProducer) Flush(ctx context.Context) error { return p.producer.Flush(ctx) }

// Close implements leat.ProducerBackend.
func (p *namedProducer) Close() error {
	err := p.producer.Close()
	p.producer.node.releaseName(p.producer.topic, p.producer.options.ID, p)
	return err
}
