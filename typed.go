package leat

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"sync/atomic"

	"github.com/leatbus/leat/core"
)

// Codec turns values into bytes and back. Implementations are safe for any number of goroutines.
type Codec[T any] interface {
	// Encode gives the bytes of v. They may be reused when the publish call has returned. nil is a
	// tombstone.
	Encode(v T) ([]byte, error)
	// Decode gives the value of src, which it must not keep. It is not called for tombstones.
	Decode(src []byte) (T, error)
}

// JSON is the codec of encoding/json, and the default.
type JSON[T any] struct{}

// Encode implements Codec.
func (JSON[T]) Encode(v T) ([]byte, error) { return json.Marshal(v) }

// Decode implements Codec.
func (JSON[T]) Decode(src []byte) (v T, err error) { return v, json.Unmarshal(src, &v) }

// typedOptions is the sum of the options of TopicOf.
type typedOptions[T any] struct {
	codec    Codec[T]
	producer []ProducerOption
}

// TypedOption is one option of TopicOf.
type TypedOption[T any] func(*typedOptions[T])

// WithCodec sets what turns values into bytes; JSON is the default.
func WithCodec[T any](c Codec[T]) TypedOption[T] { return func(o *typedOptions[T]) { o.codec = c } }

// WithProducer sets the options of the producer behind Publish and PublishAsync.
func WithProducer[T any](options ...ProducerOption) TypedOption[T] {
	return func(o *typedOptions[T]) { o.producer = append(o.producer, options...) }
}

// TypedTopic publishes and reads values of one type on one topic. It is safe for any number of
// goroutines.
type TypedTopic[T any] struct {
	bus     *Bus
	name    string
	options typedOptions[T]

	producer atomic.Pointer[Producer] // nil until the first publish
	closed   atomic.Bool
	turn     chan struct{} // holds a token while somebody opens or closes the producer
}

// TopicOf is a topic whose values are of type T, on any bus. It opens nothing by itself: the topic has to
// exist at the first publish or Subscribe, and only those who publish have a producer.
func TopicOf[T any](bus *Bus, name string, options ...TypedOption[T]) *TypedTopic[T] {
	t := &TypedTopic[T]{bus: bus, name: name, turn: make(chan struct{}, 1)}
	t.options.codec = JSON[T]{}
	for _, option := range options {
		option(&t.options)
	}
	return t
}

// Publish publishes v and waits until it is safe at the producer's level. Values with one key stay in
// order; an empty key is a null key. An error of the codec is ErrCodec.
func (t *TypedTopic[T]) Publish(ctx context.Context, key string, v T) (Receipt, error) {
	p, m, err := t.prepare(key, v)
	if err != nil {
		return Receipt{}, err
	}
	return p.Publish(ctx, m)
}

// PublishAsync is Producer.PublishAsync for a value: done is called once, or is nil. What the codec or
// the bus refuses before the producer has it is answered on this goroutine, before PublishAsync returns.
func (t *TypedTopic[T]) PublishAsync(key string, v T, done func(Receipt, error)) {
	p, m, err := t.prepare(key, v)
	switch {
	case err == nil:
		p.PublishAsync(m, done)
	case done != nil:
		done(Receipt{}, err)
	}
}

// prepare gives the producer and the message of a value.
func (t *TypedTopic[T]) prepare(key string, v T) (*Producer, Message, error) {
	p, err := t.open()
	if err != nil {
		return nil, Message{}, err
	}
	var m Message
	if key != "" {
		m.Key = []byte(key)
	}
	if m.Value, err = t.options.codec.Encode(v); err != nil {
		op := fmt.Sprintf("encode %v for topic %s", reflect.TypeFor[T](), core.Quote(t.name))
		return nil, m, core.NewError(core.CodeCodec, op, err)
	}
	return p, m, nil
}

// open gives the producer, opening it if there is none.
func (t *TypedTopic[T]) open() (*Producer, error) {
	if p := t.producer.Load(); p != nil {
		return p, nil
	}
	t.turn <- struct{}{} // one at a time: two producers with one WithID would fence each other
	defer func() { <-t.turn }()
	if p := t.producer.Load(); p != nil {
		return p, nil
	}
	if t.closed.Load() {
		return nil, core.NewError(core.CodeClosed, "publish to topic "+core.Quote(t.name), nil)
	}
	p, err := t.bus.Producer(t.name, t.options.producer...)
	if err != nil {
		return nil, err
	}
	t.producer.Store(p)
	return p, nil
}

// Flush is Producer.Flush.
func (t *TypedTopic[T]) Flush(ctx context.Context) error {
	if p := t.producer.Load(); p != nil {
		return p.Flush(ctx)
	}
	return nil
}

// Close closes the producer: see Producer.Close. Publishing fails with ErrClosed from then on;
// subscriptions go on until they are closed themselves.
func (t *TypedTopic[T]) Close() error {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	t.closed.Store(true)
	if p := t.producer.Load(); p != nil {
		return p.Close()
	}
	return nil
}

// Subscribe opens a subscription, with the options of Bus.Subscribe.
func (t *TypedTopic[T]) Subscribe(options ...SubscribeOption) (*TypedSubscription[T], error) {
	sub, err := t.bus.Subscribe(t.name, options...)
	if err != nil {
		return nil, err
	}
	return &TypedSubscription[T]{Subscription: sub, codec: t.options.codec}, nil
}

// TypedMessage is a delivered message with its value decoded.
type TypedMessage[T any] struct {
	// Message is the message as stored, with the bytes of the value. The next step of the loop reuses it.
	*Message
	// Value is the decoded value, which may be kept, or zero for a tombstone and where decoding failed.
	Value T
}

// Tombstone reports whether the message says that its key is gone: it has no value.
func (m *TypedMessage[T]) Tombstone() bool { return m.Message.Value == nil }

// TypedSubscription reads values of one type.
type TypedSubscription[T any] struct {
	*Subscription
	codec Codec[T]
}

// Messages is Subscription.Messages with decoded values. A value that does not decode comes with
// ErrCodec, which names its place, and with the message, which can be acked like any other; the loop goes
// on behind it unless the caller leaves. With any other error the message is nil and the loop ends.
func (s *TypedSubscription[T]) Messages(ctx context.Context) iter.Seq2[*TypedMessage[T], error] {
	return func(yield func(*TypedMessage[T], error) bool) {
		typed := &TypedMessage[T]{}
		for m, err := range s.Subscription.Messages(ctx) {
			if err != nil {
				yield(nil, err)
				return
			}
			typed.Message = m
			typed.Value, err = s.decode(m)
			if !yield(typed, err) {
				return
			}
		}
	}
}

// decode gives the value of a message, made anew for each.
func (s *TypedSubscription[T]) decode(m *Message) (v T, err error) {
	if m.Value == nil {
		return v, nil
	}
	if v, err = s.codec.Decode(m.Value); err == nil {
		return v, nil
	}
	var zero T
	return zero, core.NewError(core.CodeCodec, fmt.Sprintf("decode %v from topic %s, partition %d, offset %d",
		reflect.TypeFor[T](), core.Quote(m.Topic), m.Partition, m.Offset), err)
}
