package leat

import (
	"context"
	"errors"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// Bus is one event bus, whatever carries it: node.Open gives one that lives in this process. It is
// safe for any number of goroutines. Close it once.
type Bus struct {
	backend Backend
	lags    lagTrends
}

// NewBus makes a Bus of a backend. It is the seam for packages that implement the bus; programs
// call node.Open.
func NewBus(backend Backend) *Bus {
	return &Bus{backend: backend, lags: lagTrends{clock: clock.System}}
}

// Backend gives what carries the bus, for package actors.
func (b *Bus) Backend() Backend { return b.backend }

// Done is closed when the bus has been closed.
func (b *Bus) Done() <-chan struct{} { return b.backend.Done() }

// Close drains publishes in flight for at most 10 s, fails the rest with ErrClosed, commits what
// was acked, and releases the data folder. Further calls return nil.
func (b *Bus) Close() error { return b.backend.Close() }

// CreateTopic creates a topic durably. ErrTopicExists if the name is taken, whatever its
// configuration.
func (b *Bus) CreateTopic(ctx context.Context, name string, cfg TopicConfig) error {
	return b.backend.CreateTopic(ctx, name, cfg)
}

// DeleteTopic deletes a topic, its records and the commits of its groups. Its producers and
// subscriptions fail with ErrTopicNotFound.
func (b *Bus) DeleteTopic(ctx context.Context, name string) error {
	return b.backend.DeleteTopic(ctx, name)
}

// Topics lists the topics by name, internal ones left out.
func (b *Bus) Topics(ctx context.Context) ([]TopicInfo, error) { return b.backend.Topics(ctx) }

// Groups lists the consumer groups by name and topic, with their lag. Where a node cannot be asked, the
// groups it coordinates are missing: ErrUnavailable comes beside the others then. AckRate and TimeToZero come
// from what an earlier call has seen.
func (b *Bus) Groups(ctx context.Context) ([]GroupInfo, error) {
	groups, err := b.backend.Groups(ctx)
	b.lags.observe(groups, err == nil)
	return groups, err
}

// AlterTopic changes a topic durably; what is nil in change stays, and 0 is the default of
// TopicConfig. Producers that are open see it at once; a tighter retention deletes in the background.
// A node.WithTopic of the topic has to name the new values from then on. ErrTopicNotFound, or
// ErrInvalidConfig with field and bound.
func (b *Bus) AlterTopic(ctx context.Context, name string, change TopicChange) error {
	return b.backend.AlterTopic(ctx, name, change)
}

// ResetGroup makes a group go on at a position in every partition of a topic. The group must have no
// members: ErrGroupActive. ErrGroupNotFound if it has never committed on the topic.
func (b *Bus) ResetGroup(ctx context.Context, group, topic string, to Position) error {
	return b.backend.ResetGroup(ctx, group, topic, to)
}

// DeleteGroup forgets what a group without members has committed on a topic: ErrGroupActive while it
// has members, ErrGroupNotFound if there is nothing to forget.
func (b *Bus) DeleteGroup(ctx context.Context, group, topic string) error {
	return b.backend.DeleteGroup(ctx, group, topic)
}

// Cluster describes the nodes of the bus, as the one that answers sees them. A bus of one node that is
// part of no cluster has one node with id 0.
func (b *Bus) Cluster(ctx context.Context) (ClusterInfo, error) { return b.backend.Cluster(ctx) }

// Producer opens a producer on a topic that exists. Close it, or close the bus.
func (b *Bus) Producer(topic string, options ...ProducerOption) (*Producer, error) {
	var o ProducerOptions
	for _, option := range options {
		option(&o)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	backend, err := b.backend.OpenProducer(topic, o)
	if err != nil {
		return nil, err
	}
	return &Producer{backend: backend}, nil
}

// Subscribe opens a subscription on a topic that exists. Without Group it reads every partition
// from the latest record on and nothing is remembered; with Group the members of the group share
// the partitions and acks are kept.
func (b *Bus) Subscribe(topic string, options ...SubscribeOption) (*Subscription, error) {
	var o SubscribeOptions
	for _, option := range options {
		option(&o)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Mode == GroupQueue || o.Mode == GroupKeyShared {
		if _, err := core.DeadLetterName(topic, o.Group); err != nil {
			return nil, err
		}
	}
	open := b.backend.OpenSubscription
	switch {
	case o.ReplaySpeed != 0:
		open = b.openReplay
	case o.LastPerKey != nil:
		open = b.openSnapshot
	}
	backend, err := open(topic, o)
	if err != nil {
		return nil, err
	}
	return &Subscription{backend: backend, autoAck: o.AutoAck}, nil
}

// ended reports whether err only says that a loop is over: its context or the bus was closed.
func ended(err error) bool {
	return errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded)
}
