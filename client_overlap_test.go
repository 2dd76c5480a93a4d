package leat

import (
	"errors"
	"math"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestRemoteResumeOvertakes: what was on its way when a partition was paused and resumed at once is read
// once, and the partition goes on behind it.
func TestRemoteResumeOvertakes(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	held, release := make(chan struct{}), make(chan struct{})
	first := true // used by the sending half alone
	f.mu.Lock()
	f.garble = func(ty wire.Type, frame []byte) []byte {
		if ty == wire.Batch && first {
			first = false
			close(held)
			<-release
		}
		return frame
	}
	f.mu.Unlock()
	sub := subscribeTo(t, bus, "t")
	p := producerOn(t, bus, "t")
	publish := func(n int) {
		for range n {
			if _, err := p.Publish(soon(t), Message{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(1)
	<-held // [0, 1) is on its way
	f.mu.Lock()
	before := f.frames
	f.mu.Unlock()
	sub.Backend().Pause(0)
	sub.Backend().Resume(0)
	eventually(t, "REMOVE and ADD arrive", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.frames >= before+2
	})
	publish(5)
	close(release)
	for i, m := range takeFrom(t, sub, 6) {
		if m.Offset != int64(i) {
			t.Fatalf("offset %d where %d is due", m.Offset, i)
		}
	}
}

// TestRemoteCreditAfterCuts: each new stream counts what is buffered from the ones before.
func TestRemoteCreditAfterCuts(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	slow := subscribeTo(t, bus, "t")
	p := producerOn(t, bus, "t")
	const n, size = 300, 16 << 10
	for range n {
		p.PublishAsync(Message{Value: make([]byte, size)}, nil)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	s := slow.Backend().(*remoteSubscription)
	buffered := func() (int64, int64, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		from := s.sources[0]
		return from.buffered, from.window, from.stream != nil && from.received >= from.granted
	}
	stream := func() *clientStream {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sources[0].stream
	}
	for range 12 {
		eventually(t, "the credit is used up", func() bool { _, _, used := buffered(); return used })
		cut := stream()
		f.cut(0, false)
		eventually(t, "the stream is lost", func() bool { return stream() != cut }) // another may be there already
	}
	if have, window, _ := buffered(); have > window+128<<10 {
		t.Errorf("%d bytes are buffered after some cuts, the window is %d", have, window)
	}
	takeFrom(t, slow, n)
}

// TestRemoteGivenBackUnplaced: a partition that had no place yet when the stream was lost starts at what the
// group has committed meanwhile.
func TestRemoteGivenBackUnplaced(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	fillTopic(t, bus, "t", 1, 10)
	refuse := true
	f.mu.Lock()
	f.opening = func(_ uint16, ty wire.Type) core.Code {
		f.mu.Lock()
		defer f.mu.Unlock()
		if ty == wire.Subscribe && refuse {
			return core.CodeUnavailable
		}
		return 0
	}
	f.mu.Unlock()
	sub := subscribeTo(t, bus, "t", Group("g"), From(Latest))
	s := sub.Backend().(*remoteSubscription)
	eventually(t, "it is assigned", func() bool { return s.cursorOf(0) != nil })
	f.mu.Lock()
	f.groups["g"].committed[0] = 5 // by another member
	f.mu.Unlock()
	f.cut(0, false)
	eventually(t, "it joins again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		owner := f.groups["g"].owner[0]
		return owner != nil && owner.name == "m2"
	})
	eventually(t, "it is assigned again", func() bool { return !s.cursorOf(0).revoking.Load() })
	f.mu.Lock()
	refuse = false
	f.mu.Unlock()
	eventually(t, "it has a place", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.cursorOf(0)
		return c != nil && c.resolved
	})
	fillTopic(t, bus, "t", 1, 1)
	if m := takeFrom(t, sub, 1)[0]; m.Offset != 5 {
		t.Errorf("goes on at offset %d, committed is 5", m.Offset)
	}
}

// TestRemoteWrongPartitions: a number of partitions that no topic has is an error of the node.
func TestRemoteWrongPartitions(t *testing.T) {
	f := newFake(t, 1)
	topic := f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	for _, n := range []int{math.MaxInt/2 + 2, math.MaxInt32, -1, 1 << 20} {
		f.mu.Lock()
		topic.cfg.Partitions = n
		f.mu.Unlock()
		if _, err := bus.Producer("t"); !errors.Is(err, ErrProtocol) {
			t.Errorf("producer on %d partitions: %v", n, err)
		}
		if _, err := bus.Subscribe("t"); !errors.Is(err, ErrProtocol) {
			t.Errorf("subscription on %d partitions: %v", n, err)
		}
	}
}
