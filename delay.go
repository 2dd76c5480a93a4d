package leat

import (
	"context"
	"math"
	"time"

	"github.com/leatbus/leat/core"
)

// DelayOutcome is what became of a delayed message.
type DelayOutcome = core.DelayOutcome

// The outcomes that Bus.CancelDelayed answers.
const (
	// DelayUnknown: no such message waits, and none that ended lately has this handle.
	DelayUnknown = core.DelayUnknown
	// DelayFired: the message is in its topic already, or about to be.
	DelayFired = core.DelayFired
	// DelayCancelled: the message will not be delivered, now or by an earlier call.
	DelayCancelled = core.DelayCancelled
	// DelayMoved: Bus.Reschedule has given the message another handle.
	DelayMoved = core.DelayMoved
	// DelayDropped: the topic was deleted, and what waited for it.
	DelayDropped = core.DelayDropped
)

// MaxDelayedPage is the most messages that Bus.Delayed gives at once.
const MaxDelayedPage = 1000

// DelayFilter says which delayed messages Bus.Delayed lists. The zero value is all of them.
type DelayFilter struct {
	Topic string    // empty: of all topics
	Key   []byte    // nil: of all keys
	From  time.Time // due at or after; zero: no bound
	To    time.Time // due before; zero: no bound
	Limit int       // 1 to MaxDelayedPage; 0 means 100
	After string    // DelayedPage.Next of the page before; empty for the first one
}

// Span gives the due times that fit, as [from, to) in nanoseconds since 1970.
func (f *DelayFilter) Span() (from, to int64) {
	first, last := time.Unix(0, 0), time.Unix(0, math.MaxInt64)
	clamp := func(at time.Time) int64 {
		switch {
		case at.Before(first):
			return 0
		case at.After(last):
			return math.MaxInt64
		}
		return at.UnixNano()
	}
	to = math.MaxInt64
	if !f.From.IsZero() {
		from = clamp(f.From)
	}
	if !f.To.IsZero() {
		to = clamp(f.To)
	}
	return from, to
}

// limit gives the limit, or says why it is none.
func (f *DelayFilter) limit() (int, error) {
	if f.Limit < 0 || f.Limit > MaxDelayedPage {
		return 0, core.Errorf(core.CodeInvalidConfig, "list delayed messages",
			"Limit %d: want 1 to %d, or 0 for 100",
			f.Limit, MaxDelayedPage)
	}
	if f.Limit == 0 {
		return 100, nil
	}
	return f.Limit, nil
}

// DelayedPage is a page of delayed messages, by due time.
type DelayedPage struct {
	Messages []DelayedMessage
	// Next is DelayFilter.After of the next page; empty if there is none. A page may be short, or empty, with
	// a next one: so many messages were looked at.
	Next string
}

// DelayedMessage is a message that waits.
type DelayedMessage struct {
	Handle    string
	Topic     string
	Partition int32
	Due       time.Time
	Stored    time.Time // when it was published, or rescheduled
	Key       []byte    // nil for a null key
	Bytes     int       // of the record that will be delivered
}

// Delayed lists messages that wait, by due time, a page at a time. It changes nothing. While pages are read
// messages may come and go: what waits from the first page to the last is in exactly one of them.
//
// Over a server, nodes that cannot be asked are ErrUnavailable.
func (b *Bus) Delayed(ctx context.Context, filter DelayFilter) (DelayedPage, error) {
	limit, err := filter.limit()
	if err != nil {
		return DelayedPage{}, err
	}
	filter.Limit = limit
	return b.backend.Delayed(ctx, filter)
}

// CancelDelayed ends a delayed message by its handle (Receipt.Handle), durably at the level of its topic: it
// answers DelayCancelled, or what became of the message before. Calling it again answers the same for the
// last 65,536 messages of a node that ended.
func (b *Bus) CancelDelayed(ctx context.Context, handle string) (DelayOutcome, error) {
	return b.backend.CancelDelayed(ctx, handle)
}

// Reschedule makes a delayed message due at another time, at most ten years from now; one that has passed is
// now. It answers DelayMoved and the new handle of the message, durably at the level of its topic; or,
// without a handle, what became of the message before.
func (b *Bus) Reschedule(ctx context.Context, handle string, at time.Time) (string, DelayOutcome, error) {
	return b.backend.Reschedule(ctx, handle, at)
}

// Deferred reports whether the message is to be delivered later: DeliverAt or Delay is set.
func (m *Message) Deferred() bool { return m.Delay != 0 || !m.DeliverAt.IsZero() }

// DelayedRecord wraps a message, which Deferred, for __delay, but for its record: see core.Delayed. now is
// the time by the clock of the caller. Both DeliverAt and Delay, or a time out of bounds, are
// ErrInvalidRecord.
func (m *Message) DelayedRecord(now time.Time) (core.Delayed, error) {
	const op = "publish a delayed message"
	d := core.Delayed{Partition: m.Partition, Replaces: -1}
	if m.ID != "" {
		return d, core.Errorf(core.CodeInvalidRecord, op, "a message with an ID cannot be delayed")
	}
	if m.Delay != 0 {
		switch {
		case !m.DeliverAt.IsZero():
			return d, core.Errorf(core.CodeInvalidRecord, op,
				"both Delay %v and DeliverAt: want one of them", m.Delay)
		case m.Delay < core.MinDelay || m.Delay > core.MaxDelay:
			return d, core.Errorf(core.CodeInvalidRecord, op, "Delay %v: want %v to %v", m.Delay,
				core.MinDelay,
				core.MaxDelay)
		}
		d.Relative, d.Due = true, int64(m.Delay)
		return d, nil
	}
	due, err := DueTime(op, m.DeliverAt, now)
	d.Due = due
	return d, err
}

// DueTime gives a time in nanoseconds since 1970: now where it has passed, ErrInvalidRecord where it is more
// than ten years ahead. op is for the error.
func DueTime(op string, at, now time.Time) (int64, error) {
	switch ahead := at.Sub(now); {
	case ahead > core.MaxDelay:
		return 0, core.Errorf(core.CodeInvalidRecord, op, "due at %v: want at most %v from now", at,
			core.MaxDelay)
	case ahead < 0:
		return now.UnixNano(), nil
	}
	return at.UnixNano(), nil
}
