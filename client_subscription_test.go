package leat

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

func subscribeTo(t testing.TB, bus *Bus, topic string, options ...SubscribeOption) *Subscription {
	t.Helper()
	sub, err := bus.Subscribe(topic, options...)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// takeFrom reads n messages.
func takeFrom(t testing.TB, sub *Subscription, n int) []*Message {
	t.Helper()
	var list []*Message
	if n == 0 {
		return list
	}
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(list), n, err)
		}
		if list = append(list, m.Clone()); len(list) == n {
			return list
		}
	}
	t.Fatalf("the loop ended after %d of %d messages", len(list), n)
	return nil
}

// fillTopic publishes n messages to each partition.
func fillTopic(t testing.TB, bus *Bus, topic string, partitions, n int) {
	t.Helper()
	p := producerOn(t, bus, topic, WithPartitioner(Manual))
	for i := range n {
		for number := range partitions {
			p.PublishAsync(Message{Partition: int32(number), Key: fmt.Append(nil, number), Value: fmt.Append(nil, i),
				Headers: []Header{{Key: "h", Value: []byte("x")}}}, nil)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// inOrder checks that each partition came without a hole, from 0.
func inOrder(t testing.TB, list []*Message) {
	t.Helper()
	next := map[int32]int64{}
	for _, m := range list {
		if m.Offset != next[m.Partition] || string(m.Value) != fmt.Sprint(m.Offset) || m.Topic != "t" ||
			string(m.Key) != fmt.Sprint(m.Partition) || len(m.Headers) != 1 || string(m.Headers[0].Value) != "x" {
			t.Fatalf("%d/%d (%q) where %d is due", m.Partition, m.Offset, m.Value, next[m.Partition])
		}
		next[m.Partition]++
	}
}

func TestRemoteSubscribe(t *testing.T) {
	f := newFake(t, 3)
	f.topic("t", core.TopicConfig{Partitions: 4})
	bus, _ := f.client()
	late := subscribeTo(t, bus, "t")
	fillTopic(t, bus, "t", 4, 500)
	for _, sub := range map[string]*Subscription{
		"latest": late, "earliest": subscribeTo(t, bus, "t", From(Earliest)),
		"spin": subscribeTo(t, bus, "t", From(Earliest), Spin()),
	} {
		list := append(takeFrom(t, sub, 1), takeFrom(t, sub, 1999)...)
		inOrder(t, list)
	}
	if list := takeFrom(t, subscribeTo(t, bus, "t", From(AtOffset(499))), 4); list[0].Offset != 499 {
		t.Errorf("from offset 499: %d", list[0].Offset)
	}
	if _, err := bus.Subscribe("t", From(AtOffset(501))); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("from beyond the end: %v", err)
	}
	if err := late.Close(); err != nil {
		t.Error(err)
	}
	for range late.Messages(soon(t)) {
		t.Error("a closed subscription delivers")
	}
}

// TestRemoteSubscriptionCuts cuts the connection at every frame in turn: nothing is lost or comes twice.
func TestRemoteSubscriptionCuts(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{Partitions: 2})
	bus, _ := f.client()
	fillTopic(t, bus, "t", 2, 100)
	for cutAt := 1; cutAt < 40; cutAt++ {
		sub := subscribeTo(t, bus, "t", From(Earliest))
		list := takeFrom(t, sub, cutAt)
		f.mu.Lock()
		f.cutAt = f.frames + cutAt
		f.mu.Unlock()
		f.cut(0, false)
		inOrder(t, append(list, takeFrom(t, sub, 200-cutAt)...))
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemotePause(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{Partitions: 2})
	bus, _ := f.client()
	sub := subscribeTo(t, bus, "t")
	fillTopic(t, bus, "t", 2, 50)
	list := takeFrom(t, sub, 3)
	paused := list[2].Partition
	sub.Backend().Pause(paused)
	other := 50
	for _, m := range list {
		if m.Partition != paused {
			other--
		}
	}
	rest := takeFrom(t, sub, other)
	for _, m := range rest {
		if m.Partition == paused {
			t.Fatalf("%d/%d of a paused partition", m.Partition, m.Offset)
		}
	}
	list = append(list, rest...)
	f.cut(0, false)
	sub.Backend().Resume(paused)
	inOrder(t, append(list, takeFrom(t, sub, 100-len(list))...))
}

// TestRemoteOvertaken: one that retention overtook is told once, and goes on at what is kept.
func TestRemoteOvertaken(t *testing.T) {
	f := newFake(t, 1)
	topic := f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	sub := subscribeTo(t, bus, "t")
	fillTopic(t, bus, "t", 1, 10)
	takeFrom(t, sub, 1)
	s := sub.Backend().(*remoteSubscription)
	eventually(t, "nothing is on its way", func() bool { // what is would be delivered in spite of the pause
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.cursorOf(0).want == 10
	})
	sub.Backend().Pause(0)
	f.mu.Lock()
	topic.parts[0].start = 5
	f.mu.Unlock()
	fillTopic(t, bus, "t", 1, 1)
	sub.Backend().Resume(0)
	errs := 0
	for _, err := range sub.Messages(soon(t)) {
		if errs++; !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("yielded %v", err)
		}
	}
	if list := takeFrom(t, sub, 1); errs != 1 || list[0].Offset < 5 {
		t.Errorf("%d errors, then offset %d", errs, list[0].Offset)
	}
}

// TestRemoteBadBatches: what a node sends wrong is not delivered.
func TestRemoteBadBatches(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   error // nil: read again over a new stream, or dropped
	}{
		{"payload", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrCorrupt},
		{"hole", func(b []byte) []byte { b[16+16]++; return b }, ErrCorrupt},
		{"length", func(b []byte) []byte { b[16]++; return b }, nil},
		{"short", func(b []byte) []byte { clear(b[:4]); return b[:16] }, nil},
		{"version", func(b []byte) []byte { b[16+63] = 9; return b }, nil},
		{"huge", func(b []byte) []byte { b[3] = 0xff; return b }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, 1)
			f.topic("t", core.TopicConfig{})
			bus, _ := f.client()
			fillTopic(t, bus, "t", 1, 20)
			n := 0
			f.mu.Lock()
			f.garble = func(ty wire.Type, frame []byte) []byte {
				f.mu.Lock()
				defer f.mu.Unlock()
				if ty == wire.Batch {
					if n++; n == 1 {
						return tt.change(slices.Clone(frame))
					}
				}
				return frame
			}
			f.mu.Unlock()
			sub := subscribeTo(t, bus, "t", From(Earliest))
			if tt.want == nil {
				inOrder(t, takeFrom(t, sub, 20))
				return
			}
			errs := 0
			next := int64(0) // a batch has as many frames as the producer made, and those before the bad one are good
			for m, err := range sub.Messages(soon(t)) {
				if err == nil && errs == 0 && m.Offset == next && next < 19 {
					next++
				} else if errs++; !errors.Is(err, tt.want) {
					t.Errorf("yielded %v, want %v", err, tt.want)
				}
			}
			if errs != 1 {
				t.Errorf("%d errors", errs)
			}
		})
	}
}

// TestRemoteCredit: a subscriber that stands still takes no more than its credit, and its neighbours go on.
func TestRemoteCredit(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	slow := subscribeTo(t, bus, "t")
	fast := subscribeTo(t, bus, "t")
	p := producerOn(t, bus, "t")
	const n, size = 300, 16 << 10
	for range n {
		p.PublishAsync(Message{Value: make([]byte, size)}, nil)
	}
	takeFrom(t, fast, n)
	s := slow.Backend().(*remoteSubscription)
	eventually(t, "the credit is used up", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sources[0].received >= s.sources[0].granted
	})
	s.mu.Lock()
	from := s.sources[0]
	if from.buffered > from.window+128<<10 || from.buffered == 0 {
		t.Errorf("%d bytes are buffered, the window is %d", from.buffered, from.window)
	}
	s.mu.Unlock()
	takeFrom(t, slow, n)
}
