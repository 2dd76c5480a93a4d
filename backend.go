package leat

import "context"

// Backend is what carries a Bus: the embedded node, and later the QUIC client. Implementations are
// safe for any number of goroutines.
type Backend interface {
	CreateTopic(ctx context.Context, name string, cfg TopicConfig) error
	DeleteTopic(ctx context.Context, name string) error
	Topics(ctx context.Context) ([]TopicInfo, error)
	Groups(ctx context.Context) ([]GroupInfo, error)
	OpenProducer(topic string, o ProducerOptions) (ProducerBackend, error)
	OpenSubscription(topic string, o SubscribeOptions) (SubscriptionBackend, error)
	Close() error
	Done() <-chan struct{}
}

// ProducerBackend carries one Producer. Messages go by value so that publishing does not allocate;
// the backend has copied key, value and headers when a call returns.
type ProducerBackend interface {
	Publish(ctx context.Context, m Message) (Receipt, error)
	PublishAsync(m Message, done func(Receipt, error))
	TryPublish(m Message) error
	PublishBatch(ctx context.Context, batch []Message) (Receipt, error)
	Flush(ctx context.Context) error
	Close() error
}

// SubscriptionBackend carries one Subscription. Next and the pauses belong to one goroutine at a
// time; the rest may be called from any.
type SubscriptionBackend interface {
	// Next waits for the next message and fills m, whose slices are valid until the next call.
	Next(ctx context.Context, m *Message) error
	// Ack acknowledges everything up to offset in a partition; it does not block.
	Ack(partition int32, offset int64) error
	// Commit waits until all acks so far are stored at the level of their topic.
	Commit(ctx context.Context) error
	// Pause stops delivery of one partition until Resume; what is in flight stays there.
	Pause(partition int32)
	Resume(partition int32)
	Close() error
}
