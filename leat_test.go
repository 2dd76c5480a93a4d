package leat_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// fakeBackend is a backend that notes what it is asked and answers what a test wants.
type fakeBackend struct {
	leat.Backend
	producer  leat.ProducerOptions
	subscribe leat.SubscribeOptions
	opened    int
	err       error
	next      []any // a leat.Message or an error, in order; then ErrClosed
	acks      []int64
	ackErr    error
}

func (f *fakeBackend) OpenProducer(_ string, o leat.ProducerOptions) (leat.ProducerBackend, error) {
	f.opened++
	f.producer = o
	return nil, f.err
}

func (f *fakeBackend) OpenSubscription(_ string, o leat.SubscribeOptions) (leat.SubscriptionBackend, error) {
	f.opened++
	f.subscribe = o
	return fakeSubscription{f}, f.err
}

// fakeSubscription is the subscription half of a fakeBackend.
type fakeSubscription struct{ *fakeBackend }

func (f fakeSubscription) Next(_ context.Context, m *leat.Message) error {
	if len(f.next) == 0 {
		return leat.ErrClosed
	}
	item := f.next[0]
	f.next = f.next[1:]
	if err, ok := item.(error); ok {
		return err
	}
	from := item.(leat.Message)
	m.Key, m.Value, m.Headers = from.Key, from.Value, from.Headers
	m.Offset, m.Partition = from.Offset, from.Partition
	return nil
}

func (f fakeSubscription) NextBatch(context.Context, *leat.BatchRun) error {
	if len(f.next) == 0 {
		return leat.ErrClosed
	}
	item := f.next[0]
	f.next = f.next[1:]
	err, _ := item.(error)
	return err
}

func (f fakeSubscription) Ack(_ int32, offset int64) error {
	f.acks = append(f.acks, offset)
	return f.ackErr
}

func (f fakeSubscription) Commit(context.Context) error { return f.err }
func (f fakeSubscription) Pause(int32)                  {}
func (f fakeSubscription) Resume(int32)                 {}
func (f fakeSubscription) Close() error                 { return f.err }

func TestProducerOptions(t *testing.T) {
	f := &fakeBackend{}
	bus := leat.NewBus(f)
	if _, err := bus.Producer("t"); err != nil || f.producer != (leat.ProducerOptions{}) {
		t.Errorf("defaults %+v, error %v", f.producer, err)
	}
	_, err := bus.Producer("t", leat.WithAck(leat.AckDisk), leat.WithPartitioner(leat.Manual),
		leat.WithFullPolicy(leat.DropNewest))
	want := leat.ProducerOptions{Ack: leat.AckDisk, Partitioner: leat.Manual, Full: leat.DropNewest}
	if err != nil || f.producer != want {
		t.Errorf("options %+v, error %v; want %+v", f.producer, err, want)
	}
	if _, err := bus.Producer("t", leat.WithID("feed-1")); err != nil || f.producer.ID != "feed-1" {
		t.Errorf("id %q, error %v; want feed-1", f.producer.ID, err)
	}
	f.opened = 0
	if _, err := bus.Producer("t", leat.WithID("a/b")); !errors.Is(err, leat.ErrInvalidName) {
		t.Errorf("WithID(a/b): error %v, want ErrInvalidName", err)
	}
	_, err = bus.Producer("t", leat.WithID("x"), leat.WithAck(leat.AckNone))
	if !errors.Is(err, leat.ErrInvalidConfig) {
		t.Errorf("WithID at level none: error %v, want ErrInvalidConfig", err)
	}
	for _, level := range []leat.Ack{leat.AckRing, leat.AckQuorumPage, leat.AckQuorum, 99} {
		if _, err := bus.Producer("t", leat.WithAck(level)); !errors.Is(err, leat.ErrLevelUnavailable) {
			t.Errorf("level %v: error %v, want ErrLevelUnavailable", level, err)
		}
	}
	if f.opened != 0 {
		t.Error("a level that cannot be given reached the backend")
	}
	f.err = leat.ErrTopicNotFound
	if p, err := bus.Producer("t"); p != nil || !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("producer %v, error %v; want the backend's", p, err)
	}
}

func TestSubscribeOptions(t *testing.T) {
	f := &fakeBackend{}
	bus := leat.NewBus(f)
	at := time.Unix(5, 6)
	_, err := bus.Subscribe("t", leat.Group("g"), leat.From(leat.AtTime(at)), leat.AutoAck(),
		leat.ReadAt(leat.AckPage), leat.Spin())
	want := leat.SubscribeOptions{Group: "g", From: leat.AtTime(at), AutoAck: true, ReadAt: leat.AckPage,
		Spin: true}
	if err != nil || !reflect.DeepEqual(f.subscribe, want) {
		t.Errorf("options %+v, error %v; want %+v", f.subscribe, err, want)
	}
	each := map[int32]leat.Position{2: leat.AtOffset(7)}
	if _, err := bus.Subscribe("t", leat.FromEach(each)); err != nil || !reflect.DeepEqual(f.subscribe.Each,
		each) {
		t.Errorf("places %v, error %v; want %v", f.subscribe.Each, err, each)
	}
	if _, err := bus.Subscribe("t", leat.Group("g"), leat.FromEach(each)); !errors.Is(err,
		leat.ErrInvalidConfig) {
		t.Errorf("FromEach with a group: error %v, want ErrInvalidConfig", err)
	}
	called := false
	_, err = bus.Subscribe("t", leat.Group("g"), leat.OnAssign(func(_, _ []int32) { called = true }))
	if err != nil || f.subscribe.OnAssign == nil {
		t.Fatalf("OnAssign did not reach the backend, error %v", err)
	}
	if f.subscribe.OnAssign(nil, nil); !called {
		t.Error("the backend got another function than OnAssign was given")
	}
	f.opened = 0
	for _, tt := range []struct {
		name   string
		option leat.SubscribeOption
		want   error
	}{
		{"bad group", leat.Group("a/b"), leat.ErrInvalidName},
		{"internal group", leat.Group("__g"), leat.ErrInvalidName},
		{"ReadAt none", leat.ReadAt(leat.AckNone), leat.ErrLevelUnavailable},
		{"ReadAt ring", leat.ReadAt(leat.AckRing), leat.ErrLevelUnavailable},
		{"ReadAt quorum", leat.ReadAt(leat.AckQuorum), leat.ErrLevelUnavailable},
		{"AutoAck alone", leat.AutoAck(), leat.ErrInvalidConfig},
		{"FromEach of none", leat.FromEach(map[int32]leat.Position{}), leat.ErrInvalidConfig},
		{"OnAssign alone", leat.OnAssign(func(_, _ []int32) {}), leat.ErrInvalidConfig},
	} {
		_, err := bus.Subscribe("t", tt.option)
		if !errors.Is(err, tt.want) || leat.HintFor(err) == "" {
			t.Errorf("%s: error %v with hint %q, want %v", tt.name, err, leat.HintFor(err), tt.want)
		}
	}
	if f.opened != 0 {
		t.Error("options that make no sense reached the backend")
	}
}

// TestMessagesEnd: which errors end a loop silently, and which are yielded, once.
func TestMessagesEnd(t *testing.T) {
	for _, tt := range []struct {
		err    error
		silent bool
	}{
		{leat.ErrClosed, true},
		{fmt.Errorf("read: %w", leat.ErrClosed), true},
		{context.Canceled, true},
		{context.DeadlineExceeded, true},
		{leat.ErrCorrupt, false},
		{leat.ErrFenced, false},
		{leat.ErrOffsetOutOfRange, false},
		{leat.ErrTopicNotFound, false},
		{errors.New("anything else"), false},
	} {
		f := &fakeBackend{next: []any{leat.Message{Offset: 1}, tt.err, leat.Message{Offset: 2}}}
		sub, err := leat.NewBus(f).Subscribe("t")
		if err != nil {
			t.Fatal(err)
		}
		var yielded []error
		messages := 0
		for m, err := range sub.Messages(t.Context()) {
			if err != nil {
				yielded = append(yielded, err)
				if m != nil {
					t.Errorf("%v: a message came with the error", tt.err)
				}
				continue
			}
			messages++
		}
		if messages != 1 || tt.silent != (len(yielded) == 0) || !tt.silent && !errors.Is(yielded[0], tt.err) ||
			len(yielded) > 1 {
			t.Errorf("%v: %d messages, yielded %v; want silent %t", tt.err, messages, yielded, tt.silent)
		}
	}
}

// TestAutoAckAcksWhenTheNextIsAsked: not the message that the loop was left with.
func TestAutoAckAcksWhenTheNextIsAsked(t *testing.T) {
	f := &fakeBackend{next: []any{leat.Message{Offset: 4}, leat.Message{Offset: 5}, leat.Message{Offset: 6}}}
	sub, err := leat.NewBus(f).Subscribe("t", leat.Group("g"), leat.AutoAck())
	if err != nil {
		t.Fatal(err)
	}
	for m := range sub.Messages(t.Context()) {
		if want := []int64{4, 5}[:m.Offset-4]; !slices.Equal(f.acks, want) {
			t.Errorf("while %d is handled, acked %v, want %v", m.Offset, f.acks, want)
		}
		if m.Offset == 6 {
			break
		}
	}
	if !slices.Equal(f.acks, []int64{4, 5}) {
		t.Errorf("acked %v after break, want 4 and 5", f.acks)
	}
	f.next, f.ackErr = []any{leat.Message{Offset: 7}, leat.Message{Offset: 8}}, leat.ErrFenced
	var yielded []error
	for _, err := range sub.Messages(t.Context()) {
		yielded = append(yielded, err)
	}
	if len(yielded) != 2 || yielded[0] != nil || !errors.Is(yielded[1], leat.ErrFenced) {
		t.Errorf("a failing ack yielded %v, want a message and ErrFenced", yielded)
	}
}

// TestClone: a clone shares no memory, and nil stays apart from empty.
func TestClone(t *testing.T) {
	m := leat.Message{Key: []byte("k"), Value: []byte("v"), Topic: "t", Partition: 3, Offset: 4,
		Headers: []leat.Header{{Key: "h", Value: []byte("x")}, {Key: "nil"}}}
	c := m.Clone()
	m.Key[0], m.Value[0], m.Headers[0].Value[0] = '!', '!', '!'
	m.Headers[1].Key = "changed"
	if string(c.Key) != "k" || string(c.Value) != "v" || string(c.Headers[0].Value) != "x" ||
		c.Headers[1].Key != "nil" || c.Headers[1].Value != nil {
		t.Errorf("the clone changed with the message: %+v", c)
	}
	if c.Topic != "t" || c.Partition != 3 || c.Offset != 4 {
		t.Errorf("the clone is of another place: %+v", c)
	}
	for _, b := range [][]byte{nil, {}} {
		c := (&leat.Message{Key: b, Value: b}).Clone()
		if (c.Key == nil) != (b == nil) || (c.Value == nil) != (b == nil) {
			t.Errorf("clone of %#v: %#v %#v", b, c.Key, c.Value)
		}
	}
	if err := (&leat.Message{}).Ack(); !errors.Is(err, leat.ErrInvalidRecord) || leat.HintFor(err) == "" {
		t.Errorf("Ack of a message made by hand: %v", err)
	}
}
