package leat

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// room counts what a producer has in flight. issued and done pack bytes/8 in the high and records in the
// low half, so that one add moves both; their difference modulo 2⁶⁴ is what is in flight.
type room struct {
	issued  atomic.Uint64
	done    atomic.Uint64
	blocked atomic.Int32 // publishers that wait

	mu      sync.Mutex // guards the following
	changed chan struct{}
}

func roomOf(records, bytes int) uint64 { return uint64(bytes/8)<<32 + uint64(records) }

func (r *room) full(issued uint64) bool {
	d := issued - r.done.Load()
	return uint32(d) >= core.MaxInFlightRecords || d>>32*8 >= core.MaxInFlightBytes
}

// try takes room, if there is any. What is larger than all of it passes alone.
func (r *room) try(amount uint64) bool {
	for {
		issued := r.issued.Load()
		if r.full(issued) {
			return false
		}
		if r.issued.CompareAndSwap(issued, issued+amount) {
			return true
		}
	}
}

// take waits for room until ctx or closing ends.
func (r *room) take(ctx context.Context, closing <-chan struct{}, amount uint64) error {
	for !r.try(amount) {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		r.blocked.Add(1)
		// Whoever frees looks at blocked afterwards, so one of the two sees the other.
		if r.full(r.issued.Load()) {
			select {
			case <-changed:
			case <-ctx.Done():
			case <-closing:
			}
		}
		r.blocked.Add(-1)
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-closing:
			return core.ErrClosed
		default:
		}
	}
	return nil
}

func (r *room) free(amount uint64) {
	r.done.Add(amount)
	if r.blocked.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// callbacks runs the callbacks of one producer, on one goroutine that starts with the first.
type callbacks struct {
	producer *remoteProducer

	mu      sync.Mutex // guards the following
	list    []callback
	spare   []callback
	running bool
	stopped bool // nobody calls back any more: whoever has an answer calls on its own goroutine
	wake    chan struct{}
	issued  uint64        // answers that wait for nothing, ever put
	taken   uint64        // of them, called back
	puts    uint64        // everything ever put
	runs    uint64        // of it, called back
	ended   chan struct{} // closed when the goroutine has ended
}

// callback is a settled batch, or one answer that waited for nothing.
type callback struct {
	batch   *produceBatch
	done    func(Receipt, error)
	receipt Receipt
	err     error
}

// put leaves an answer to the goroutine.
func (c *callbacks) put(one callback) {
	c.mu.Lock()
	c.puts++
	if c.stopped {
		c.mu.Unlock()
		c.run(&one)
		return
	}
	if !c.running {
		c.running = true
		c.ended = make(chan struct{})
		go c.loop() // stop waits for it
	}
	if one.batch == nil {
		c.issued++
	}
	c.list = append(c.list, one)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// answer calls back with what is known already. It waits while 65,536 such answers are not called back.
func (c *callbacks) answer(done func(Receipt, error), r Receipt, err error) {
	if done == nil {
		return
	}
	for c.behind() && !c.producer.awaitSettled(c.behind) {
	}
	c.put(callback{done: done, receipt: r, err: err})
}

func (c *callbacks) behind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.stopped && c.issued-c.taken >= core.MaxInFlightRecords
}

func (c *callbacks) loop() {
	defer close(c.ended)
	for range c.wake {
		for {
			c.mu.Lock()
			list := c.list
			c.list, c.spare = c.spare[:0], nil
			stopped := c.stopped
			c.mu.Unlock()
			for i := range list {
				c.run(&list[i])
			}
			clear(list)
			c.spare = list // only this goroutine uses it, and list is nil or another
			if len(list) == 0 {
				if stopped {
					return
				}
				break
			}
		}
	}
}

// run frees the room and then calls back.
func (c *callbacks) run(one *callback) {
	if b := one.batch; b != nil {
		c.producer.room.free(roomOf(b.records, b.bytes))
		for i := range b.calls {
			if call := &b.calls[i]; call.done != nil {
				c.call(call.done, b.receiptOf(call.at), b.err)
			}
		}
		b.release()
	} else {
		c.call(one.done, one.receipt, one.err)
	}
	c.mu.Lock()
	c.runs++
	if one.batch == nil {
		c.taken++
	}
	c.mu.Unlock()
	c.producer.signalSettled()
}

// call runs one callback. A panic in it is the user's: it costs no other answer, and Flush or Close tell of
// it.
func (c *callbacks) call(done func(Receipt, error), r Receipt, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			c.producer.panicked(cause)
		}
	}()
	done(r, err)
}

// panicked keeps the first panic of a callback until somebody is told.
func (p *remoteProducer) panicked(cause any) {
	err := core.Errorf(core.CodeHandlerFailed, p.topic.op("call back a publisher of"), "panic: %v", cause)
	err.Hint = "fix the callback: the answer it was called with is lost, all others were given"
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
	}
}

// stop ends the goroutine when it has called back everything.
func (c *callbacks) stop() {
	c.mu.Lock()
	c.stopped = true
	running := c.running
	c.mu.Unlock()
	if !running {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	<-c.ended
}

// receiptOf is the receipt of one record of a settled batch.
func (b *produceBatch) receiptOf(at int32) Receipt {
	r := b.receipt
	if b.err == nil && r.Offset >= 0 {
		r.Offset += int64(at)
	}
	return r
}
