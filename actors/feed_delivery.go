package actors

import (
	"context"
	"sync/atomic"

	"github.com/leatbus/leat"
)

const (
	// maxInFlightBytes bounds what one actor's feeds have copied and it has not handled.
	maxInFlightBytes = 8 << 20
	// maxKeptBytes is the largest buffer that stays with a slot after its message was handled.
	maxKeptBytes = 64 << 10
)

// delivery is a slot of a user actor's data lane: a message with everything it points to, copied into
// memory that the slot keeps, so that a steady stream allocates nothing.
type delivery struct {
	msg     leat.Message
	feed    *feed
	sub     *leat.Subscription // the one it came from: acks of an older one would be void
	size    int                // bytes of key, value and header values
	buf     []byte
	headers []leat.Header
}

// Abandoned does nothing: what was not acked is in the log, and comes again.
func (d *delivery) Abandoned(error) {}

func messageSize(m *leat.Message) int {
	n := len(m.Key) + len(m.Value)
	for i := range m.Headers {
		n += len(m.Headers[i].Value)
	}
	return n
}

func (d *delivery) fill(m *leat.Message, f *feed, sub *leat.Subscription, size int) {
	d.feed, d.sub, d.size = f, sub, size
	if d.buf == nil || cap(d.buf) < size {
		d.buf = make([]byte, 0, max(size, 64))
	}
	d.buf, d.headers = d.buf[:0], d.headers[:0]
	d.msg = *m
	d.msg.Key, d.msg.Value = d.keep(m.Key), d.keep(m.Value)
	for i := range m.Headers {
		d.headers = append(d.headers, m.Headers[i])
		d.headers[i].Value = d.keep(m.Headers[i].Value)
	}
	if d.msg.Headers = nil; m.Headers != nil {
		d.msg.Headers = d.headers
	}
}

// keep copies b behind what buf holds, which has room. Nil stays nil and empty empty.
func (d *delivery) keep(b []byte) []byte {
	if b == nil {
		return nil
	}
	at := len(d.buf)
	d.buf = append(d.buf, b...)
	return d.buf[at:len(d.buf):len(d.buf)]
}

// trim gives back a buffer too large to keep, for there is one in every slot.
func (d *delivery) trim() {
	if cap(d.buf) > maxKeptBytes {
		d.buf, d.msg.Key, d.msg.Value, d.msg.Headers = nil, nil, nil, nil
		clear(d.headers[:cap(d.headers)])
	}
}

func (d *delivery) key() heldKey { return heldKey{d.feed, d.sub, d.msg.Partition} }

// byteBudget bounds bytes in flight. A message larger than all of it passes alone.
type byteBudget struct {
	inFlight atomic.Int64
	room     turnstile
}

// take waits until n bytes fit, and reports false if ctx ended first.
func (b *byteBudget) take(ctx context.Context, n int) bool {
	if b.tryTake(n) {
		return true
	}
	return b.room.pass(ctx.Done(), nil, func() bool { return b.tryTake(n) })
}

func (b *byteBudget) tryTake(n int) bool {
	for {
		held := b.inFlight.Load()
		if held > 0 && held+int64(n) > maxInFlightBytes {
			return false
		}
		if b.inFlight.CompareAndSwap(held, held+int64(n)) {
			return true
		}
	}
}

func (b *byteBudget) giveBack(n int) {
	b.inFlight.Add(int64(-n))
	b.room.open()
}
