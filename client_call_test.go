package leat

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestRequestsNeedTheFeature: a node of a version without requests is asked for none.
func TestRequestsNeedTheFeature(t *testing.T) {
	f := newFake(t, 1) // which has queue groups only
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	if _, err := bus.Request(soon(t), "t", Message{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Request: %v", err)
	}
	if _, err := bus.RequestMany(soon(t), "t", Message{}, 1); !errors.Is(err, ErrUnsupported) {
		t.Errorf("RequestMany: %v", err)
	}
	handler := func(context.Context, *Message) (Message, error) { return Message{}, nil }
	if _, err := bus.Respond("t", handler); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Respond: %v", err)
	}
	if err := Respond(soon(t), bus, "t", handler); !errors.Is(err, ErrUnsupported) {
		t.Errorf("leat.Respond: %v", err)
	}
}

// TestCallRecords: what is encoded is decoded, with what is null and what is empty kept apart.
func TestCallRecords(t *testing.T) {
	for _, m := range []Message{{}, {Key: []byte{}, Value: []byte{}},
		{Key: []byte("k"), Value: []byte("v"), Headers: []Header{{Key: "h", Value: []byte("w")}, {Key: "h"}}}} {
		record, err := EncodeCall(&m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeCall(record, "t")
		if err != nil || got.Topic != "t" || string(got.Key) != string(m.Key) ||
			string(got.Value) != string(m.Value) ||
			(got.Key == nil) != (m.Key == nil) || (got.Value == nil) != (m.Value == nil) ||
			len(got.Headers) != len(m.Headers) {
			t.Errorf("%+v came back as %+v, %v", m, got, err)
		}
		if err := CheckCallSize("t", record, len(record)-1); !errors.Is(err, ErrRecordTooLarge) {
			t.Errorf("CheckCallSize: %v", err)
		}
	}
	if _, err := EncodeCall(&Message{Key: make([]byte, core.MaxKeyBytes+1)}); !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("a key that is too long: %v", err)
	}
	if _, err := DecodeCall([]byte("no record"), "t"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("what is no record: %v", err)
	}
}

// TestRequestManyAsksAgain: while nodes drain, all are asked again, unless somebody has answered: to those
// who have it would be another request.
func TestRequestManyAsksAgain(t *testing.T) {
	tests := []struct {
		name    string
		says    [2][]core.Code // of each node, in turn; the last stays
		replies int
		err     error
		asked   int // each node
	}{
		{"one has answered", [2][]core.Code{{0}, {core.CodeDraining, 0}}, 1, ErrDraining, 1},
		{"nobody has", [2][]core.Code{{core.CodeNoResponders, 0}, {core.CodeDraining, 0}}, 2, nil, 2},
		{"somebody may have been asked", [2][]core.Code{{core.CodeInternal, 0}, {core.CodeDraining, 0}}, 0,
			core.NewError(core.CodeInternal, "", nil), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, 2)
			f.features |= wire.FeatureCalls
			f.topic("t", core.TopicConfig{Partitions: 2})
			var mu sync.Mutex // guards the following
			var asked [2]int
			f.calling = func(node uint16) core.Code {
				mu.Lock()
				defer mu.Unlock()
				says := tt.says[node-1]
				code := says[min(asked[node-1], len(says)-1)]
				asked[node-1]++
				return code
			}
			bus, _ := f.client()
			replies, err := bus.RequestMany(soon(t), "t", Message{}, 0)
			mu.Lock()
			defer mu.Unlock()
			if len(replies) != tt.replies || !errors.Is(err, tt.err) || asked != [2]int{tt.asked, tt.asked} {
				t.Errorf("RequestMany = %d replies, %v; asked %v; want %d, %v, %d each", len(replies), err, asked,
					tt.replies, tt.err, tt.asked)
			}
		})
	}
}

// TestCancelledRequestsDoNotCount: handlers that go on after CALL_CANCEL are no reason to end the stream.
func TestCancelledRequestsDoNotCount(t *testing.T) {
	var taken []*Call
	s := &responderSession{held: map[uint64]*Call{}, source: &responderSource{responder: &remoteResponder{
		topic: &clientTopic{name: "t"}, window: 1, take: func(c *Call) { taken = append(taken, c) }}}}
	record, err := EncodeCall(&Message{})
	if err != nil {
		t.Fatal(err)
	}
	head := wire.CallHead{Timeout: time.Hour, Partition: wire.AnyPartition}
	payload := wire.AppendCall(nil, 0, &head, record)[wire.HeaderSize:]
	id := uint64(0)
	call := func() error { id++; return s.call(id, payload) }
	for range 20 {
		if err := call(); err != nil {
			t.Fatalf("CALL %d: %v", id, err)
		}
		s.cancel(id)
		s.cancel(id) // which is over
	}
	for _, c := range taken {
		if c.ctx.Err() == nil {
			t.Error("a handler does not hear of CALL_CANCEL")
		}
	}
	for range 6 {
		err = call()
	}
	if !errors.Is(err, core.ErrProtocol) {
		t.Errorf("the sixth under way with a window of 1: %v", err)
	}
}
