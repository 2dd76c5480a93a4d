package leat

import (
	"context"
	"fmt"

	"github.com/leatbus/leat/core"
)

// Producer publishes to one topic. It is safe for several goroutines; order is kept per partition
// for calls that follow one another.
type Producer struct {
	backend ProducerBackend
}

// ProducerOptions is the sum of the options of a producer.
type ProducerOptions struct {
	Ack         Ack
	Partitioner Partitioner
	Full        FullPolicy
	ID          string
}

func (o *ProducerOptions) validate() error {
	if o.ID != "" {
		if err := core.ValidateName("producer", o.ID); err != nil {
			return err
		}
		if o.Ack == AckNone {
			return core.Errorf(core.CodeInvalidConfig, "open a producer",
				"WithID needs answers: want a level above none")
		}
	}
	return o.Ack.Available()
}

// ProducerOption is one option of Bus.Producer.
type ProducerOption func(*ProducerOptions)

// WithAck asks for a level stronger than the topic's; a weaker one is raised to the topic's, but
// for AckNone, which stores at the topic's level and waits for nothing.
func WithAck(level Ack) ProducerOption { return func(o *ProducerOptions) { o.Ack = level } }

// WithID names the producer. At most one producer of a name publishes to a topic: opening another one
// fences the older, whose publishes fail with ErrProducerFenced from then on, also after a restart of the
// bus. name has the form of a topic's name.
func WithID(name string) ProducerOption { return func(o *ProducerOptions) { o.ID = name } }

// Partitioner chooses the partition of a message.
type Partitioner uint8

// The partitioners.
const (
	BySlot Partitioner = iota // by the key's hash; null keys stick to one partition for 64 KiB
	Manual                    // Message.Partition
)

// WithPartitioner sets the partitioner; BySlot is the default.
func WithPartitioner(p Partitioner) ProducerOption {
	return func(o *ProducerOptions) { o.Partitioner = p }
}

// FullPolicy says what PublishAsync does when 65,536 records or 8 MiB are in flight.
type FullPolicy uint8

// The full policies.
const (
	Block      FullPolicy = iota // wait for room
	Fail                         // answer ErrFull through the callback
	DropNewest                   // drop the record and count it; the callback, if any, gets ErrFull
)

// WithFullPolicy sets the policy of PublishAsync; Block is the default.
func WithFullPolicy(p FullPolicy) ProducerOption { return func(o *ProducerOptions) { o.Full = p } }

// PublishAsync publishes without waiting for the log. done is called once, on one goroutine per
// producer and in publish order per partition; a message that is refused before it gets a place in
// that order (ErrFull, ErrRecordTooLarge, ErrClosed) may be answered earlier. nil asks for no answer.
// It blocks only while too much is in flight or not yet on the disk. Key, Value and Headers may be
// reused when it returns.
//
// done must not wait for the producer: room in flight is made by answers, and others wait behind this one. So
// it may publish with TryPublish, and with PublishAsync where that does not block. A panic in done costs no
// other answer: an embedded bus logs it, and over a server the next Flush or Close is ErrHandlerFailed.
func (p *Producer) PublishAsync(m Message, done func(Receipt, error)) {
	p.backend.PublishAsync(m, done)
}

// Publish publishes and waits until the message is safe at the producer's level. If ctx ends first
// the message may or may not have been stored.
func (p *Producer) Publish(ctx context.Context, m Message) (Receipt, error) {
	return p.backend.Publish(ctx, m)
}

// TryPublish publishes one way and never blocks: only ErrFull, ErrClosed or an error about the
// message itself, and no receipt.
func (p *Producer) TryPublish(m Message) error { return p.backend.TryPublish(m) }

// PublishBatch publishes messages of one partition all or nothing: after a crash either all or none
// are there, and consumers see them together. At most 4,096 messages and 16 MiB; several partitions
// are ErrMixedPartitions. The receipt is that of the first message, the others follow without a gap.
func (p *Producer) PublishBatch(ctx context.Context, batch []Message) (Receipt, error) {
	return p.backend.PublishBatch(ctx, batch)
}

// Flush waits until everything published so far has been answered and its callbacks have returned. If ctx
// ends first, what has no answer yet goes on, and another Flush waits for it. It must not be called from a
// callback.
func (p *Producer) Flush(ctx context.Context) error { return p.backend.Flush(ctx) }

// Close flushes for at most 10 s and frees the producer. It must not be called from a callback.
func (p *Producer) Close() error { return p.backend.Close() }

// FlushEnded is the error of a Flush whose context ended with cause, while so many messages had no answer. It
// is for packages that implement the bus.
func FlushEnded(topic string, unanswered int64, cause error) error {
	found := "callbacks may be running still"
	if unanswered > 0 {
		found = fmt.Sprintf("%d published and not answered", unanswered)
	}
	return fmt.Errorf("leat: flush a producer of topic %s: %w: %s; they go on, and another Flush waits for them",
		core.Quote(topic), cause, found)
}
