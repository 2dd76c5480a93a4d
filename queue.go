package leat

import (
	"time"

	"github.com/leatbus/leat/core"
)

// GroupMode is how the members of a group share a topic.
type GroupMode = core.GroupMode

// The modes of a group.
const (
	GroupStream    = core.GroupStream
	GroupQueue     = core.GroupQueue
	GroupKeyShared = core.GroupKeyShared
)

// Backoff is how long a message that failed waits for its next delivery.
type Backoff = core.Backoff

// QueueConfig says how a queue group, or a key-shared group, treats its messages. What is zero gets its
// default, or what the members that are there have set. The members of a group have to agree: the first one
// decides, and one that asks for something else gets ErrConfigMismatch, which names the field.
type QueueConfig struct {
	// Lease is how long a member has for a message, from the moment it was handed out, before it is delivered
	// again; up to 24 h, 30 s by default. Message.Extend begins it anew.
	Lease time.Duration
	// MaxUnsettled is how many messages of a partition may be out, delayed or failed before nothing new of it
	// is handed out; 131,072 by default.
	MaxUnsettled int64
	// MaxAttempts is how often a message is delivered before it becomes a dead letter; 16 by default,
	// negative for no bound.
	MaxAttempts int32
	// Retry is how long a message waits after an attempt that failed: 100 ms, doubling up to 1 min, by default.
	Retry Backoff
	// Rate bounds the messages that the group is handed in a second; 0 is no bound. The nodes of a cluster
	// share it by the partitions they have.
	Rate int64
}

// policy is the configuration as core has it.
func (c *QueueConfig) policy(mode GroupMode) core.QueueConfig {
	return core.QueueConfig{Ordered: mode == GroupKeyShared, Lease: c.Lease, MaxUnsettled: c.MaxUnsettled,
		MaxAttempts: c.MaxAttempts, Retry: c.Retry, Rate: c.Rate}
}

// Queue makes the group one whose members share the messages and not the partitions: each message is lent to
// one of them, which says by Ack that it is done. What is not acked within the lease, or refused by Nack, is
// delivered again, perhaps to another member, and after too many attempts it becomes a dead letter. Members
// come and go without moving anything. It needs Group. A group is either this or a stream group on a topic.
func Queue(cfg ...QueueConfig) SubscribeOption {
	return queueOption(GroupQueue, cfg)
}

// KeyShared is Queue with the order of each key kept: of its messages one is out at a time, and the next
// comes when that is acked, or a dead letter. A message that fails, or takes long, holds up its key and no
// other. Messages without a key are in no order.
func KeyShared(cfg ...QueueConfig) SubscribeOption {
	return queueOption(GroupKeyShared, cfg)
}

func queueOption(mode GroupMode, cfg []QueueConfig) SubscribeOption {
	return func(o *SubscribeOptions) {
		o.Mode = mode
		if len(cfg) > 0 {
			o.Queue = cfg[0].policy(mode)
		} else {
			o.Queue.Ordered = mode == GroupKeyShared
		}
	}
}

// MaxHeld bounds the messages of a queue group that a member has: those it was handed and has not answered,
// also those that wait in its process for the loop; 1,000 by default. A small number shares few messages out
// more evenly, a large one is faster.
func MaxHeld(n int) SubscribeOption { return func(o *SubscribeOptions) { o.MaxHeld = n } }

// maxHeldMost bounds MaxHeld: messages that are out take memory on the node.
const maxHeldMost = 1 << 20

// validateQueue checks the options of queue groups, and sets what is left out.
func (o *SubscribeOptions) validateQueue() error {
	bad := func(format string, args ...any) error {
		return core.Errorf(core.CodeInvalidConfig, "subscribe", format, args...)
	}
	if o.Mode == GroupStream {
		if o.MaxHeld != 0 {
			return bad("MaxHeld needs Queue or KeyShared: a stream group has no such bound")
		}
		return nil
	}
	switch {
	case o.Group == "":
		return bad("%v needs a Group", o.Mode)
	case o.OnAssign != nil:
		return bad("OnAssign with %v: its members share messages, nothing is assigned", o.Mode)
	case o.ReadAt != AckDefault:
		return bad("ReadAt with %v: its members read at the level of the topic", o.Mode)
	case o.MaxHeld < 0 || o.MaxHeld > maxHeldMost:
		return bad("MaxHeld(%d): want 1 to %d, or 0 for %d", o.MaxHeld, maxHeldMost, core.QueueMaxHeld)
	}
	if o.MaxHeld == 0 {
		o.MaxHeld = core.QueueMaxHeld
	}
	return o.Queue.Validate(o.Group)
}

// Delivery is what a backend lends a member of a queue group: one or more messages of a partition, named by
// their offsets. Its methods do not wait; they answer ErrStaleAck where the lease of the message is over, or
// something was said of it before, and ErrClosed once the subscription is closed. They may be called from any
// goroutine.
type Delivery interface {
	// Ack says that a message is done.
	Ack(offset int64) error
	// Nack says that an attempt failed; the message comes again after delay, below 0 for that of the group. If
	// it was the last one the dead letter has the reason; "" says none.
	Nack(offset int64, delay time.Duration, reason string) error
	// Reject says that a message is not to be tried again.
	Reject(offset int64, reason string) error
	// Extend begins the lease of a message anew.
	Extend(offset int64) error
}

// SetDelivery makes m a message that was lent: its attempt, from 1 on, and where its answers go. It is for
// packages that implement the bus.
func SetDelivery(m *Message, attempt int32, d Delivery) { m.Attempt, m.delivery = attempt, d }

// Nack says that the work on a message of a queue group failed: it is delivered again after delay, below 0
// for that of the group's Retry, and is counted as an attempt. It does not block. ErrStaleAck says that the
// lease is over. Messages that were not lent by a queue group answer ErrUnsupported.
func (m *Message) Nack(delay time.Duration) error { return m.NackBecause(delay, "") }

// NackBecause is Nack with the reason, of which at most 1,024 bytes are kept: if this was the last attempt,
// the dead letter that the message becomes has it. It does not block; errors are those of Nack, and
// ErrUnsupported where the node is of a version that takes no reasons: then nothing was said of the message.
func (m *Message) NackBecause(delay time.Duration, reason string) error {
	if m.delivery == nil {
		return m.notLent("nack")
	}
	return m.delivery.Nack(m.Offset, delay, reason)
}

// Reject says that a message of a queue group is not worth another attempt: it becomes a dead letter, with
// the reason, of which at most 1,024 bytes are kept. It does not block; errors are those of Nack.
func (m *Message) Reject(reason string) error {
	if m.delivery == nil {
		return m.notLent("reject")
	}
	return m.delivery.Reject(m.Offset, reason)
}

// Extend begins the lease of a message of a queue group anew, for work that takes longer. Messages that were
// lent with it may be extended, too. It does not block; errors are those of Nack.
func (m *Message) Extend() error {
	if m.delivery == nil {
		return m.notLent("extend")
	}
	return m.delivery.Extend(m.Offset)
}

func (m *Message) notLent(op string) error {
	return core.Errorf(core.CodeUnsupported, op, "this message was not lent by a queue group")
}
