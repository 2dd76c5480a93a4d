package leat

import (
	"context"
	"time"
)

// Backend is what carries a Bus: the embedded node, or the QUIC client. Implementations are
// safe for any number of goroutines.
type Backend interface {
	// CreateTopic creates a topic durably, or answers ErrTopicExists.
	CreateTopic(ctx context.Context, name string, cfg TopicConfig) error
	// DeleteTopic deletes a topic with its records and commits.
	DeleteTopic(ctx context.Context, name string) error
	// Topics lists the users' topics by name.
	Topics(ctx context.Context) ([]TopicInfo, error)
	// Topic describes one of them.
	Topic(ctx context.Context, name string) (TopicInfo, error)
	// Peek looks at records of one partition.
	Peek(ctx context.Context, topic string, q PeekSlice) (PeekRun, error)
	// Groups lists the consumer groups by name and topic.
	Groups(ctx context.Context) ([]GroupInfo, error)
	// AlterTopic changes what of a topic can change, durably.
	AlterTopic(ctx context.Context, name string, change TopicChange) error
	// ResetGroup sets where a group without members goes on in every partition of a topic.
	ResetGroup(ctx context.Context, group, topic string, to Position) error
	// DeleteGroup forgets the commits of a group without members.
	DeleteGroup(ctx context.Context, group, topic string) error
	// DeadLetters lists the topics of dead letters by name.
	DeadLetters(ctx context.Context) ([]DeadLetterTopic, error)
	// ReadDeadLetters reads pending letters of one partition of a topic of them; r has been checked.
	ReadDeadLetters(ctx context.Context, topic string, r DeadLetterRead) (DeadLetterPage, error)
	// SettleDeadLetters notes durably what became of letters; it gives how many were pending before.
	SettleDeadLetters(ctx context.Context, topic string, s DeadLetterSettle) (int64, error)
	// Pull lends messages of a queue group to somebody who is no member.
	Pull(ctx context.Context, topic string, p Pull) ([]Lent, error)
	// Answer takes what is said of messages that were lent so, and gives an error for each, or nil.
	Answer(ctx context.Context, topic, group string, a Answer, loans []Loan) ([]error, error)
	// Cluster describes the nodes.
	Cluster(ctx context.Context) (ClusterInfo, error)
	// Delayed lists messages that wait; the limit of the filter is set.
	Delayed(ctx context.Context, filter DelayFilter) (DelayedPage, error)
	// CancelDelayed ends a delayed message and tells what became of it.
	CancelDelayed(ctx context.Context, handle string) (DelayOutcome, error)
	// Reschedule makes a delayed message due at another time, and gives its new handle.
	Reschedule(ctx context.Context, handle string, at time.Time) (string, DelayOutcome, error)
	// PutSchedule makes a schedule, or replaces the one of its name.
	PutSchedule(ctx context.Context, s Schedule) error
	// DeleteSchedule ends a schedule, and tells whether there was one.
	DeleteSchedule(ctx context.Context, topic, name string) (bool, error)
	// Schedules lists the schedules of a topic, or of all, by topic and name.
	Schedules(ctx context.Context, topic string) ([]Schedule, error)
	// OpenProducer opens a producer on a topic that exists.
	OpenProducer(topic string, o ProducerOptions) (ProducerBackend, error)
	// OpenSubscription opens a subscription on a topic that exists; o has been checked.
	OpenSubscription(topic string, o SubscribeOptions) (SubscriptionBackend, error)
	// Call gives a request to one responder, or to every one, and waits. got is told replies, and of several
	// responders the errors, one after the other on the caller's goroutine, until it answers false. The error
	// of one responder is that of Call. ctx has a deadline, and its end is the error then.
	Call(ctx context.Context, r CallRequest, got func(record []byte, err error) (more bool)) error
	// OpenResponder has take given the requests on a topic; take does not block. o has been checked.
	OpenResponder(topic string, o RespondOptions, take func(*Call)) (ResponderBackend, error)
	// Close drains and releases everything; further calls give the same answer.
	Close() error
	// Done is closed when Close has ended.
	Done() <-chan struct{}
}

// ProducerBackend carries one Producer. Messages go by value so that publishing does not allocate;
// the backend has copied key, value and headers when a call returns.
type ProducerBackend interface {
	// Publish waits until the message is safe at the producer's level.
	Publish(ctx context.Context, m Message) (Receipt, error)
	// PublishAsync calls done once, in publish order per partition; it waits only for room in flight.
	PublishAsync(m Message, done func(Receipt, error))
	// TryPublish publishes one way and never waits.
	TryPublish(m Message) error
	// PublishBatch publishes to one partition all or nothing.
	PublishBatch(ctx context.Context, batch []Message) (Receipt, error)
	// CheckClaim says why a message with a key and a value of these lengths, both at least 0, could not be
	// published, if that is known by now. It does not wait.
	CheckClaim(keyBytes, valueBytes int) error
	// Flush waits until everything published so far was answered.
	Flush(ctx context.Context) error
	// Close flushes and frees the producer.
	Close() error
}

// SubscriptionBackend carries one Subscription. Next and the pauses belong to one goroutine at a
// time; the rest may be called from any.
type SubscriptionBackend interface {
	// Next waits for the next message and fills m, whose slices are valid until the next call.
	Next(ctx context.Context, m *Message) error
	// NextBatch waits for the next run of messages and fills run, all of whose fields are empty. It may take
	// turns with Next.
	NextBatch(ctx context.Context, run *BatchRun) error
	// Ack acknowledges everything up to offset in a partition; it does not block.
	Ack(partition int32, offset int64) error
	// Commit waits until all acks so far are stored at the level of their topic.
	Commit(ctx context.Context) error
	// Pause stops delivery of one partition until Resume; what is in flight stays there.
	Pause(partition int32)
	// Resume ends a Pause.
	Resume(partition int32)
	// Close commits what was acked, leaves the group and ends Next with ErrClosed.
	Close() error
}
