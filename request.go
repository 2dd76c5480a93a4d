package leat

import (
	"context"
	"errors"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// RequestTimeout is how long Bus.Request and Bus.RequestMany wait where their context has no deadline.
const RequestTimeout = 10 * time.Second

// CallRequest is a request as a Backend is asked it.
type CallRequest struct {
	Topic  string
	Key    []byte // as in the record
	Record []byte // EncodeCall gave it
	Every  bool   // it goes to every responder, not to one
}

// EncodeCall gives a request or a reply as it is carried: the record of Key, Value and Headers. It is for
// implementations of Backend, as DecodeCall.
func EncodeCall(m *Message) ([]byte, error) {
	if m.extras() != (core.Extras{}) || m.Delay != 0 || !m.DeliverAt.IsZero() {
		return nil, core.Errorf(core.CodeInvalidRecord, "request", "a request or reply has no TTL, ID, Delay or "+
			"DeliverAt: it is not stored, and its context has the deadline")
	}
	size, err := core.EncodedRecordSize(m.Key, m.Value, m.Headers)
	if err != nil {
		return nil, err
	}
	hash := uint64(0)
	if m.Key != nil {
		hash = routing.Hash(m.Key)
	}
	record := make([]byte, size)
	core.PutRecord(record, m.Key, m.Value, m.Headers, hash, 0)
	return record, nil
}

// DecodeCall gives what EncodeCall was given; the message points into record.
func DecodeCall(record []byte, topic string) (Message, error) {
	r, _, err := core.DecodeRecord(record)
	if err != nil {
		return Message{}, err
	}
	m := Message{Key: r.Key, Value: r.Value, Topic: topic}
	if len(r.RawHeaders) > 0 {
		var names core.HeaderDecoder
		if m.Headers, err = names.Decode(r.RawHeaders, nil); err != nil {
			return Message{}, err
		}
	}
	return m, nil
}

// CheckCallSize refuses a record that is larger than its topic allows. It is for implementations of Backend.
func CheckCallSize(topic string, record []byte, most int) error {
	if len(record) <= most {
		return nil
	}
	return core.Errorf(core.CodeRecordTooLarge, "request on topic "+core.Quote(topic),
		"%d bytes with key and headers, at most %d", len(record), most)
}

// Request gives a message to one responder of a topic and waits for its reply, which belongs to the caller.
// It is not stored and nobody else sees it. With a Key it goes to the node that has the key's partition,
// without one to any node that has a responder. The deadline of ctx, or RequestTimeout, goes with it, and
// when ctx ends the responder is told; what it replies later is dropped.
//
// ErrNoResponders, at once, if nobody answers requests there. ErrResponderLost if the responder ended before
// it replied, ErrUnavailable if the connection did: it may have been done or not. ErrRequestFailed has what
// the handler of the responder has failed with. ErrLimited if all responders are busy and 1,024 requests wait
// for them. ErrTopicNotFound, ErrRecordTooLarge. ErrInvalidRecord for what a request cannot have.
func (b *Bus) Request(ctx context.Context, topic string, m Message) (Message, error) {
	ctx, cancel := requestContext(ctx)
	defer cancel()
	record, err := encodeRequest(ctx, &m)
	if err != nil {
		return Message{}, err
	}
	var reply Message
	request := CallRequest{Topic: topic, Key: m.Key, Record: record}
	var failed error
	err = b.backend.Call(ctx, request, func(record []byte, err error) bool {
		if failed = err; err == nil {
			reply, failed = DecodeCall(record, topic)
		}
		return false
	})
	if err == nil {
		err = failed
	}
	return reply, err
}

// RequestMany gives a message to every responder of a topic, once, and waits for n replies; for those of all
// responders if n is 0. It returns as soon as it has n, or everybody has answered. Where there is less than n
// because somebody failed, was lost, or has not answered when ctx ended, that error is beside the replies
// there are. Errors are those of Request. The key is not looked at.
func (b *Bus) RequestMany(ctx context.Context, topic string, m Message, n int) ([]Message, error) {
	if n < 0 {
		return nil, core.Errorf(core.CodeInvalidConfig, "request on topic "+core.Quote(topic),
			"%d replies: want 0 or more", n)
	}
	ctx, cancel := requestContext(ctx)
	defer cancel()
	record, err := encodeRequest(ctx, &m)
	if err != nil {
		return nil, err
	}
	var replies []Message
	var failures []error
	request := CallRequest{Topic: topic, Key: m.Key, Record: record, Every: true}
	err = b.backend.Call(ctx, request, func(record []byte, err error) bool {
		var reply Message
		if err == nil {
			reply, err = DecodeCall(record, topic)
		}
		if err != nil {
			failures = append(failures, err)
		} else {
			replies = append(replies, reply)
		}
		return n == 0 || len(replies) < n
	})
	if err != nil {
		failures = append(failures, err)
	}
	switch {
	case len(failures) == 0 || n > 0 && len(replies) >= n:
		return replies, nil
	case len(failures) == 1:
		return replies, failures[0]
	}
	return replies, errors.Join(failures...)
}

// requestContext gives ctx a deadline if it has none.
func requestContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, RequestTimeout)
}

// encodeRequest is EncodeCall, unless ctx has ended.
func encodeRequest(ctx context.Context, m *Message) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return EncodeCall(m)
}
