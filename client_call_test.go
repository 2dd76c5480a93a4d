package leat

import (
	"context"
	"errors"
	"testing"

	"github.com/leatbus/leat/core"
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
