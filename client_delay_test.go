package leat_test

import (
	"errors"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestDialDelayed: a client refuses what it cannot do, and a server gets none of it.
func TestDialDelayed(t *testing.T) {
	s, bus := serve(t)
	if err := s.bus.CreateTopic(soon(t), "t", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	p, err := bus.Producer("t")
	if err != nil {
		t.Fatal(err)
	}
	unsupported := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, leat.ErrUnsupported) {
			t.Errorf("%s: %v, want %v", what, err, leat.ErrUnsupported)
		}
	}
	for what, m := range map[string]leat.Message{"Delay": {Delay: time.Hour},
		"DeliverAt": {DeliverAt: time.Now().Add(time.Hour)}, "the past": {DeliverAt: time.Unix(1, 0)},
		"with a TTL": {TTL: time.Hour, Delay: time.Millisecond}} {
		_, err := p.Publish(soon(t), m)
		unsupported(what+", Publish", err)
		unsupported(what+", TryPublish", p.TryPublish(m))
		answer := make(chan error, 1)
		p.PublishAsync(m, func(_ leat.Receipt, err error) { answer <- err })
		select {
		case err := <-answer:
			unsupported(what+", PublishAsync", err)
		case <-soon(t).Done():
			t.Fatalf("%s, PublishAsync: no answer", what)
		}
		if _, err := p.PublishBatch(soon(t), []leat.Message{m}); !errors.Is(err, leat.ErrInvalidRecord) {
			t.Errorf("%s, PublishBatch: %v, want %v", what, err, leat.ErrInvalidRecord)
		}
	}
	here, err := s.bus.Producer("t")
	if err != nil {
		t.Fatal(err)
	}
	waits, err := here.Publish(soon(t), leat.Message{Delay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bus.Delayed(soon(t), leat.DelayFilter{})
	unsupported("Delayed", err)
	_, err = bus.CancelDelayed(soon(t), waits.Handle)
	unsupported("CancelDelayed", err)
	_, _, err = bus.Reschedule(soon(t), waits.Handle, time.Now())
	unsupported("Reschedule", err)
	page, err := s.bus.Delayed(soon(t), leat.DelayFilter{})
	if err != nil || len(page.Messages) != 1 || page.Messages[0].Handle != waits.Handle {
		t.Errorf("in the server %+v wait, %v; want the one of the server", page.Messages, err)
	}
}
