package leat

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestDelaysOfAnOldNode: a node that knows no delayed messages gets none, and nothing about them.
func TestDelaysOfAnOldNode(t *testing.T) {
	f := newFake(t, 1) // it fails the test when it gets what it does not know
	topic := f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	p := producerOn(t, bus, "t")
	unsupported := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrUnsupported) || err != nil && !strings.Contains(err.Error(), "delayed message") &&
			!strings.Contains(err.Error(), "features") {
			t.Errorf("%s: %v, want %v", what, err, ErrUnsupported)
		}
	}
	for what, m := range map[string]Message{"Delay": {Delay: time.Hour},
		"DeliverAt": {DeliverAt: time.Unix(1, 0)}, "with a TTL": {TTL: time.Hour, Delay: time.Millisecond}} {
		_, err := p.Publish(soon(t), m)
		unsupported(what+", Publish", err)
		unsupported(what+", TryPublish", p.TryPublish(m))
		answer := make(chan error, 1)
		p.PublishAsync(m, func(_ Receipt, err error) { answer <- err })
		select {
		case err := <-answer:
			unsupported(what+", PublishAsync", err)
		case <-soon(t).Done():
			t.Fatalf("%s, PublishAsync: no answer", what)
		}
	}
	_, err := bus.Delayed(soon(t), DelayFilter{})
	unsupported("Delayed", err)
	handle := core.DelayHandle{Topic: topic.id}.String()
	_, err = bus.CancelDelayed(soon(t), handle)
	unsupported("CancelDelayed", err)
	_, _, err = bus.Reschedule(soon(t), handle, time.Now())
	unsupported("Reschedule", err)
	if r, err := p.Publish(soon(t), Message{Value: []byte("at once")}); err != nil || r.Offset != 0 {
		t.Errorf("other messages: %+v, %v", r, err)
	}
}

// page is what a node says, as due times with the place up to which it has looked.
func page(node uint16, next int64, due ...int64) delayedPart {
	place := func(due int64) string { return core.DelayPlace{Due: due, Node: node, Offset: due}.String() }
	var part delayedPart
	for _, at := range due {
		part.answer.Messages = append(part.answer.Messages,
			wire.DelayedMessageBody{Place: place(at), Handle: fmt.Sprint(node, ":", at)})
	}
	if next > 0 {
		part.answer.Next = place(next)
	}
	return part
}

func TestPagesOfNodesAreMerged(t *testing.T) {
	missing := delayedPart{err: core.NewError(core.CodeTopicNotFound, "test", nil)}
	tests := []struct {
		name  string
		parts []delayedPart
		limit int
		want  string
		next  string
	}{
		{"nothing", []delayedPart{page(1, 0), page(2, 0)}, 10, "", ""},
		{"all", []delayedPart{page(1, 0, 1, 3), page(2, 0, 2, 4)}, 10, "1:1 2:2 1:3 2:4", ""},
		{"all, and no more", []delayedPart{page(1, 0, 1, 3), page(2, 0, 2, 4)}, 4, "1:1 2:2 1:3 2:4", ""},
		{"cut by the limit", []delayedPart{page(1, 0, 1, 3), page(2, 0, 2, 4)}, 3, "1:1 2:2 1:3", "3.1.3"},
		{"one has more", []delayedPart{page(1, 3, 1, 3), page(2, 0, 2, 4)}, 10, "1:1 2:2 1:3", "3.1.3"},
		{"one has looked in vain", []delayedPart{page(1, 2), page(2, 0, 2, 4)}, 10, "", "2.1.2"},
		{"both have more", []delayedPart{page(1, 9, 1, 9), page(2, 5, 2, 5)}, 2, "1:1 2:2", "2.2.2"},
		{"by node at one time", []delayedPart{page(2, 0, 5), page(1, 0, 5)}, 10, "1:5 2:5", ""},
		{"one does not know the topic", []delayedPart{missing, page(2, 0, 2)}, 10, "2:2", ""},
	}
	for _, tt := range tests {
		got, err := mergeDelayed(tt.parts, tt.limit)
		var list []string
		for _, m := range got.Messages {
			list = append(list, m.Handle)
		}
		if text := strings.Join(list, " "); err != nil || text != tt.want || got.Next != tt.next {
			t.Errorf("%s: %s, next %s, %v; want %s, next %s", tt.name, text, got.Next, err, tt.want, tt.next)
		}
	}
	for name, tt := range map[string]struct {
		parts []delayedPart
		want  error
	}{
		"nobody knows the topic": {[]delayedPart{missing, missing}, ErrTopicNotFound},
		"a node is away": {[]delayedPart{page(1, 0, 1), {err: core.NewError(core.CodeUnavailable, "test", nil)}},
			ErrUnavailable},
		"a place that is none": {[]delayedPart{{answer: wire.DelayedAnswer{Next: "x"}}}, core.ErrProtocol},
		"a message without place": {[]delayedPart{{answer: wire.DelayedAnswer{Messages: []wire.DelayedMessageBody{
			{Place: "1.2"}}}}}, core.ErrProtocol},
	} {
		if got, err := mergeDelayed(tt.parts, 10); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, tt.want)
		}
	}
}
