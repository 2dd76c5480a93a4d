package leat

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
)

// Claim is a message in the making: a buffer of the bus that its owner fills and then publishes.
//
//	c, err := p.Claim(ctx, key, 16)
//	if err != nil {
//		return err
//	}
//	defer c.Abort() // does nothing once c is published
//	binary.LittleEndian.PutUint64(c.Bytes(), price)
//	…
//	err = c.Publish()
//
// It ends with the first Publish, PublishAsync or Abort, whatever that answers, and its buffer is another
// claim's from then on: every further use of it, or of a copy, but Receipt and Abort, panics. A claim that is
// dropped instead costs a buffer to the garbage collector and nothing else. It belongs to one goroutine at a
// time.
type Claim struct {
	// Headers, Partition, TTL and ID are those of Message.
	Headers   []Header
	Partition int32
	TTL       time.Duration
	ID        string

	backend    ProducerBackend
	ctx        context.Context // of Producer.Claim, for Publish
	buffer     *claimBuffer    // nil in the zero claim and once the claim is over
	generation uint32          // of buffer, while it belongs to this claim
	key, value []byte          // in the buffer
	receipt    Receipt
}

// claimBuffer is a pooled buffer. Its generation grows when a claim on it ends, which tells stale copies.
type claimBuffer struct {
	generation atomic.Uint32
	bytes      []byte
}

var claimPools [sizeClasses]sync.Pool // of *claimBuffer

// newClaimBuffer gives a buffer with room for n bytes.
func newClaimBuffer(n int) *claimBuffer {
	class := sizeClass(n)
	if class >= sizeClasses {
		return &claimBuffer{bytes: make([]byte, n)}
	}
	if b, ok := claimPools[class].Get().(*claimBuffer); ok {
		return b
	}
	return &claimBuffer{bytes: make([]byte, classBytes(class))}
}

// free keeps the buffer for another claim. Its claim must have ended.
func (b *claimBuffer) free() {
	if class := sizeClass(len(b.bytes)); class < sizeClasses {
		claimPools[class].Put(b)
	}
}

// Claim begins a message with a value of n bytes, to be written in place: publishing one makes no garbage
// where the value is of up to about 1 MiB. The value stands in a buffer of the bus and takes no room in
// flight: however long a claim is held, it holds up nobody. key is copied, nil is a null key.
//
// Claim does not wait; ctx is that of the Publish which follows. It refuses what Publish would: a record
// over the topic's limit is ErrRecordTooLarge before anything was written, a closed producer ErrClosed.
func (p *Producer) Claim(ctx context.Context, key []byte, n int) (Claim, error) {
	if n < 0 {
		return Claim{}, core.Errorf(core.CodeInvalidRecord, "claim", "a value of %d bytes", n)
	}
	if err := ctx.Err(); err != nil {
		return Claim{}, err
	}
	if err := p.backend.CheckClaim(len(key), n); err != nil {
		return Claim{}, err
	}
	b := newClaimBuffer(n + len(key))
	c := Claim{backend: p.backend, ctx: ctx, buffer: b, generation: b.generation.Load(), value: b.bytes[:n:n]}
	if key != nil {
		end := n + len(key) // behind the value, which so is aligned
		c.key = b.bytes[n:end:end]
		copy(c.key, key)
	}
	return c, nil
}

// Bytes is the value: n bytes that hold anything at first. It is valid until the claim ends.
func (c *Claim) Bytes() []byte {
	c.check()
	return c.value
}

// Truncate makes the value its first n bytes, for a claim that was an upper bound.
func (c *Claim) Truncate(n int) {
	c.check()
	if n < 0 || n > len(c.value) {
		panic(fmt.Sprintf("leat: Claim.Truncate to %d of %d bytes", n, len(c.value)))
	}
	c.value = c.value[:n:n]
}

// Publish publishes the message and waits like Producer.Publish, with the ctx of Producer.Claim. After an
// error the message has to be claimed again.
func (c *Claim) Publish() error {
	m := c.end()
	var err error
	c.receipt, err = c.backend.Publish(c.ctx, m)
	c.free()
	return err
}

// Receipt tells where the message is, once Publish has returned nil.
func (c *Claim) Receipt() Receipt { return c.receipt }

// PublishAsync publishes the message like Producer.PublishAsync. The ctx of Producer.Claim does not end it.
func (c *Claim) PublishAsync(done func(Receipt, error)) {
	m := c.end()
	c.backend.PublishAsync(m, done)
	c.free()
}

// Abort gives the buffer back without publishing. It does nothing to a claim that is over, and so may be
// deferred.
func (c *Claim) Abort() {
	if c.buffer != nil && c.buffer.generation.CompareAndSwap(c.generation, c.generation+1) {
		c.free()
	}
}

// check panics if the claim is over.
func (c *Claim) check() {
	if c.buffer == nil || c.buffer.generation.Load() != c.generation {
		panicClaimOver()
	}
}

// end ends the claim and gives its message, whose buffer is the caller's until free.
func (c *Claim) end() Message {
	if c.buffer == nil || !c.buffer.generation.CompareAndSwap(c.generation, c.generation+1) {
		panicClaimOver()
	}
	return Message{Key: c.key, Value: c.value, Headers: c.Headers, Partition: c.Partition, TTL: c.TTL,
		ID: c.ID}
}

func (c *Claim) free() {
	c.buffer.free()
	c.buffer, c.key, c.value = nil, nil, nil
}

func panicClaimOver() { panic("leat: use of a claim that was published or aborted, or never made") }
