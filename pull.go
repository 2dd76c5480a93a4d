package leat

import (
	"context"
	"time"

	"github.com/leatbus/leat/core"
)

// Bounds of Bus.Pull and Bus.Answer.
const (
	PullMost    = 1000             // messages of one pull, and loans of one answer
	PullWaitMax = 30 * time.Second // that a pull waits
)

// PullConfig says how to pull. The zero value takes up to 100 messages, without waiting.
type PullConfig struct {
	// Mode is GroupQueue or GroupKeyShared; 0 is that of the members that are there, GroupQueue if none are.
	Mode GroupMode
	// Queue is as in Queue: whoever comes first decides, and who asks for something else gets
	// ErrConfigMismatch.
	Queue QueueConfig
	// From is where the group begins if nothing is known of it; Earliest by default.
	From Position
	// Max is how many messages to take at most, up to PullMost; 0 for 100.
	Max int
	// Wait is how long to wait for a first message, up to PullWaitMax.
	Wait time.Duration
}

// Lent is a message that was pulled.
type Lent struct {
	Message
	Loan Loan
}

// Loan names one delivery of a message that was pulled: whoever has it may answer, until the lease is over.
// Its numbers are for the bus. It may be kept outside of the process.
type Loan struct {
	Partition int32
	Offset    int64
	Slot      int32
	Epoch     int64
}

// AnswerKind is what is said of messages that were pulled.
type AnswerKind uint8

// The kinds of answers. They are what the methods of Message of these names say.
const (
	AnswerAck AnswerKind = iota + 1
	AnswerNack
	AnswerReject
	AnswerExtend
)

var answerKindNames = [...]string{AnswerAck: "ack", AnswerNack: "nack", AnswerReject: "reject",
	AnswerExtend: "extend"}

// String is the name of the kind.
func (k AnswerKind) String() string {
	if k == 0 || int(k) >= len(answerKindNames) {
		return "unknown"
	}
	return answerKindNames[k]
}

// Answer is what is said of messages that were pulled.
type Answer struct {
	Kind   AnswerKind
	Delay  time.Duration // of AnswerNack; below 0: that of the group
	Reason string        // of AnswerReject and AnswerNack, as in Message.Reject and NackBecause
}

// Pull borrows messages of a queue group, or key-shared group, for somebody who is no member: there is no
// session, nothing to be closed, and Answer takes what becomes of the messages, from any process, until their
// lease is over. Those that nobody answers for are delivered again then, and it counts as an attempt.
//
// It returns as soon as there is a message, with at most Max, of which each node gives not much more than
// 1 MiB, or with none when Wait is over. Until a minute after the last pull, and while messages are out,
// the group has a member, "pull", on each node. Errors are those of Subscribe with Queue.
func (b *Bus) Pull(ctx context.Context, topic, group string, cfg PullConfig) ([]Lent, error) {
	bad := func(format string, args ...any) error {
		return core.Errorf(core.CodeInvalidConfig, "pull", format, args...)
	}
	switch {
	case cfg.Mode > GroupKeyShared:
		return nil, bad("Mode %d: want GroupQueue or GroupKeyShared, or 0", cfg.Mode)
	case cfg.Max < 0 || cfg.Max > PullMost:
		return nil, bad("Max %d: want 1 to %d, or 0 for %d", cfg.Max, PullMost, pullDefault)
	case cfg.Wait < 0 || cfg.Wait > PullWaitMax:
		return nil, bad("Wait %v: want 0 to %v", cfg.Wait, PullWaitMax)
	}
	if cfg.Max == 0 {
		cfg.Max = pullDefault
	}
	if err := core.ValidateName("group", group); err != nil {
		return nil, err
	}
	if err := core.ValidateName("topic", topic); err != nil {
		return nil, err
	}
	if _, err := core.DeadLetterName(topic, group); err != nil {
		return nil, err
	}
	p := Pull{Group: group, Mode: cfg.Mode, Queue: cfg.Queue.policy(cfg.Mode), From: cfg.From, Max: cfg.Max,
		Wait: cfg.Wait}
	if err := p.Queue.Validate(group); err != nil {
		return nil, err
	}
	return b.backend.Pull(ctx, topic, p)
}

// pullDefault is how many messages a pull takes that does not say.
const pullDefault = 100

// Answer says what became of messages that were pulled, up to PullMost of them. Each has an error of its own,
// or nil: ErrStaleAck where the lease is over, or something was said of it before; ErrUnavailable where the
// node that lent it cannot be reached, so that it may have heard of it or not. Acks are stored as those of
// members are, within 10 ms.
func (b *Bus) Answer(ctx context.Context, topic, group string, a Answer, loans []Loan) ([]error, error) {
	bad := func(format string, args ...any) ([]error, error) {
		return nil, core.Errorf(core.CodeInvalidConfig, "answer", format, args...)
	}
	switch {
	case a.Kind < AnswerAck || a.Kind > AnswerExtend:
		return bad("Kind %d: want one of AnswerAck to AnswerExtend", a.Kind)
	case len(loans) > PullMost:
		return bad("%d loans: want at most %d", len(loans), PullMost)
	case a.Delay != 0 && a.Kind != AnswerNack:
		return bad("Delay with %v: it is for nack", a.Kind)
	case a.Reason != "" && a.Kind != AnswerReject && a.Kind != AnswerNack:
		return bad("Reason with %v: it is for nack and reject", a.Kind)
	}
	if err := core.ValidateName("group", group); err != nil {
		return nil, err
	}
	if err := core.ValidateName("topic", topic); err != nil {
		return nil, err
	}
	a.Delay = max(a.Delay, -1)
	return b.backend.Answer(ctx, topic, group, a, loans)
}

// Pull is what a backend is asked to lend; it has been checked. In Queue what is zero was not asked for.
type Pull struct {
	Group string
	Mode  GroupMode // 0: that of the members
	Queue core.QueueConfig
	From  Position
	Max   int
	Wait  time.Duration
}
