package leat

import (
	"context"
	"errors"
	"iter"
	"maps"
	"time"

	"github.com/leatbus/leat/core"
)

// Subscription reads one topic at its own pace. Its loop belongs to one goroutine at a time; Ack,
// Commit and Close may be called from any.
type Subscription struct {
	backend SubscriptionBackend
	autoAck bool
}

// SubscribeOptions is the sum of the options of a subscription.
type SubscribeOptions struct {
	Group string
	From  Position
	// Each has the partitions to read and where each begins; nil: all of them, from From.
	Each    map[int32]Position
	AutoAck bool
	ReadAt  Ack
	Spin    bool
	Mode    GroupMode
	Queue   core.QueueConfig // what was asked for, with GroupQueue and GroupKeyShared
	MaxHeld int              // as in MaxHeld
	Filter  string           // as in Filter; empty: none
	// LastPerKey is as in the option; nil: from From on.
	LastPerKey *LastPerKeyConfig
	// ReplaySpeed and ReplayGap are as in the options of these names; 0: no replay. Backends get none.
	ReplaySpeed float64
	ReplayGap   time.Duration
	// OnAssign is called by the loop, or nil.
	OnAssign func(assigned, revoked []int32)
}

// SubscribeOption is one option of Bus.Subscribe.
type SubscribeOption func(*SubscribeOptions)

// Group joins a stream group: each partition is read by one member, in order, at least once. When
// members come or go, a member that has to give a partition up has 10 s to ack what it was given of
// it; after that it is fenced, its partitions move, and its messages are delivered again.
func Group(name string) SubscribeOption { return func(o *SubscribeOptions) { o.Group = name } }

// From sets where to start; with a group it counts only where no commit exists. The default is
// Latest without a group and Earliest with one.
func From(p Position) SubscribeOption { return func(o *SubscribeOptions) { o.From = p } }

// FromEach reads only the partitions that are named, each from a place of its own: how a reader that kept its
// places itself goes on. It takes the place of From and is without a group. ErrPartitionUnknown if the topic
// has no such partition, ErrOffsetOutOfRange if a partition has not that offset.
func FromEach(places map[int32]Position) SubscribeOption {
	return func(o *SubscribeOptions) { o.Each = maps.Clone(places) }
}

// AutoAck acks each message when the next one is asked for.
func AutoAck() SubscribeOption { return func(o *SubscribeOptions) { o.AutoAck = true } }

// ReadAt reads at a weaker level than the topic's: at AckPage what is in the page cache but not yet
// synced is delivered too, and a power cut may take it back.
func ReadAt(level Ack) SubscribeOption { return func(o *SubscribeOptions) { o.ReadAt = level } }

// Spin makes the loop poll instead of sleeping when there is nothing to read. It is the lowest
// latency and keeps a core busy.
func Spin() SubscribeOption { return func(o *SubscribeOptions) { o.Spin = true } }

// Filter delivers only messages for which an expression is true, such as `header("region") == "eu"`; the
// documentation has its language (docs/filters.md). It is decided where the partition is, so that what does
// not pass is not sent. A message that does not pass counts as done: a stream group commits over it, a queue
// group settles it. The members of a queue group must have the same filter: ErrConfigMismatch names both.
// Members of a stream group should, for each filters the partitions it has.
//
// Subscribe answers ErrInvalidConfig, with the column, for what is no expression, and ErrUnsupported where a
// node is of a version without filters. A Batch may be left without messages.
func Filter(expression string) SubscribeOption {
	return func(o *SubscribeOptions) { o.Filter = expression }
}

// OnAssign calls f when partitions were assigned to this member of a group or taken from it. f runs on
// the goroutine of the loop, between two messages, and so only while there is a loop: before the first
// message of an assigned partition, and when a revoked one is gone, everything delivered of it acked. In the
// process the acks are stored by then; over the network they may be on their way, but no other member gets
// the partition before they are. A partition in both was taken first and given again.
//
// Closing the subscription takes all partitions without a call, and so does ErrFenced, which the loop
// yields instead; acks of what was delivered may have failed then. Close waits for a call that runs, and
// none begins after it has returned; f must not call Close. It must not keep the slices.
func OnAssign(f func(assigned, revoked []int32)) SubscribeOption {
	return func(o *SubscribeOptions) { o.OnAssign = f }
}

// StartOf says where a partition begins without a group, and whether it is read at all. It is
// for implementations of Backend.
func (o *SubscribeOptions) StartOf(p int32) (Position, bool) {
	if o.Each != nil {
		at, ok := o.Each[p]
		return at, ok
	}
	if o.From.Kind == core.PositionDefault {
		return Latest, true
	}
	return o.From, true
}

// CheckEach refuses partitions that a topic of n does not have. It is for implementations of Backend.
func (o *SubscribeOptions) CheckEach(op string, n int) error {
	for p := range o.Each {
		if p < 0 || int(p) >= n {
			return core.Errorf(core.CodePartitionUnknown, op, "partition %d, the topic has %d", p, n)
		}
	}
	return nil
}

func (o *SubscribeOptions) validate() error {
	if o.Group != "" {
		if err := core.ValidateName("group", o.Group); err != nil {
			return err
		}
	}
	if o.ReadAt != AckDefault && o.ReadAt != AckPage && o.ReadAt != AckDisk {
		return core.Errorf(core.CodeLevelUnavailable, "subscribe", "ReadAt(%v): want page or disk", o.ReadAt)
	}
	if o.Each != nil && (o.Group != "" || len(o.Each) == 0) {
		return core.Errorf(core.CodeInvalidConfig, "subscribe",
			"FromEach of %d partitions, group %q: want one or more, and no group", len(o.Each), o.Group)
	}
	if o.AutoAck && o.Group == "" {
		return core.Errorf(core.CodeInvalidConfig, "subscribe", "AutoAck needs a Group: nothing else keeps acks")
	}
	if o.OnAssign != nil && o.Group == "" {
		return core.Errorf(core.CodeInvalidConfig, "subscribe",
			"OnAssign needs a Group: without one nothing is assigned")
	}
	if err := o.validateReplay(); err != nil {
		return err
	}
	if err := o.validateSnapshot(); err != nil {
		return err
	}
	return o.validateQueue()
}

// Messages delivers messages until ctx ends or the subscription is closed, which end the loop
// without an error. The message is reused by the next step: Clone keeps one. ErrCorrupt and
// ErrFenced are delivered once and end the loop; any other error too.
//
// Leaving the loop with break neither acks nor leaves the group: a later loop goes on behind the
// last message delivered.
func (s *Subscription) Messages(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		m := &Message{sub: s}
		for {
			if err := s.backend.Next(ctx, m); err != nil {
				if !ended(err) {
					yield(nil, err)
				}
				return
			}
			if !yield(m, nil) {
				return
			}
			if s.autoAck {
				if err := m.Ack(); err != nil && !errors.Is(err, ErrStaleAck) {
					if !ended(err) {
						yield(nil, err)
					}
					return
				}
			}
		}
	}
}

// Commit waits until everything acked so far is stored, so that it survives what the level of the
// topic survives.
func (s *Subscription) Commit(ctx context.Context) error { return s.backend.Commit(ctx) }

// Close commits what was acked, leaves the group and ends the loop. It acks nothing.
func (s *Subscription) Close() error { return s.backend.Close() }

// Backend gives what carries the subscription, for package actors.
func (s *Subscription) Backend() SubscriptionBackend { return s.backend }
