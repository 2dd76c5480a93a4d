package leat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

func producerOn(t testing.TB, bus *Bus, topic string, options ...ProducerOption) *Producer {
	t.Helper()
	p, err := bus.Producer(topic, options...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRemotePublish(t *testing.T) {
	f := newFake(t, 1)
	topic := f.topic("t", core.TopicConfig{Partitions: 3})
	bus, _ := f.client()
	p := producerOn(t, bus, "t", WithPartitioner(Manual))
	for i := range 5 {
		r, err := p.Publish(soon(t), Message{Partition: 1, Value: fmt.Append(nil, i)})
		if err != nil || r.Offset != int64(i) || r.Partition != 1 || r.Topic != "t" || r.Duplicate ||
			r.Time.IsZero() {
			t.Fatalf("publish %d: %+v, %v", i, r, err)
		}
	}
	r, err := p.PublishBatch(soon(t), []Message{{Partition: 1, Value: []byte("a")}, {Partition: 1,
		Value: []byte("b")}})
	if err != nil || r.Offset != 5 {
		t.Errorf("batch: %+v, %v", r, err)
	}
	if err := p.TryPublish(Message{Partition: 1, Value: []byte("c")}); err != nil {
		t.Error(err)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Error(err)
	}
	want := []string{"0", "1", "2", "3", "4", "a", "b", "c"}
	if got := f.values(topic.parts[1]); !slices.Equal(got, want) {
		t.Errorf("log has %q, want %q", got, want)
	}
	for _, m := range []Message{{Partition: 3}, {Partition: -1}} {
		if _, err := p.Publish(soon(t), m); !errors.Is(err, ErrPartitionUnknown) {
			t.Errorf("partition %d: %v", m.Partition, err)
		}
	}
	if _, err := p.Publish(soon(t), Message{Value: make([]byte, 2<<20)}); !errors.Is(err, ErrRecordTooLarge) {
		t.Errorf("2 MiB: %v", err)
	}
	if _, err := p.PublishBatch(soon(t), []Message{{Partition: 1}, {Partition: 2}}); !errors.Is(err,
		ErrMixedPartitions) {
		t.Errorf("mixed: %v", err)
	}
	if _, err := bus.Producer("nothing"); !errors.Is(err, ErrTopicNotFound) {
		t.Errorf("unknown topic: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Publish(soon(t), Message{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// answers collects callbacks and checks that they come in order.
type answersOf struct {
	mu    sync.Mutex
	t     testing.TB
	got   map[int32][]int64
	count int
	errs  []error
}

func (a *answersOf) done(r Receipt, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	if err != nil {
		a.errs = append(a.errs, err)
		return
	}
	if a.got == nil {
		a.got = map[int32][]int64{}
	}
	a.got[r.Partition] = append(a.got[r.Partition], r.Offset)
}

func TestRemotePublishAsync(t *testing.T) {
	f := newFake(t, 3)
	topic := f.topic("t", core.TopicConfig{Partitions: 4})
	bus, _ := f.client()
	p := producerOn(t, bus, "t", WithPartitioner(Manual))
	a := &answersOf{t: t}
	const n = 20_000
	for i := range n {
		p.PublishAsync(Message{Partition: int32(i % 4), Value: fmt.Append(nil, i)}, a.done)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	if a.count != n || len(a.errs) > 0 {
		t.Fatalf("%d callbacks, errors %v", a.count, a.errs)
	}
	for number, part := range topic.parts {
		for i, offset := range a.got[int32(number)] {
			if offset != int64(i) {
				t.Fatalf("partition %d: callback %d has offset %d", number, i, offset)
			}
		}
		values := f.values(part)
		for i, v := range values {
			if v != fmt.Sprint(i*4+number) {
				t.Fatalf("partition %d: record %d is %q", number, i, v)
			}
		}
		if len(values) != n/4 {
			t.Errorf("partition %d has %d records", number, len(values))
		}
		if frames := len(part.frames); frames > n/8 {
			t.Errorf("partition %d: %d frames for %d records: nothing is batched", number, frames, n/4)
		}
	}
}

// TestRemoteCuts cuts the connection at every frame of a run in turn. Each message must be stored once, in
// order, and answered once with its offset.
func TestRemoteCuts(t *testing.T) {
	for cutAt := 3; cutAt < 60; cutAt++ {
		f := newFake(t, 1)
		topic := f.topic("t", core.TopicConfig{Partitions: 2})
		bus, _ := f.client()
		f.mu.Lock()
		f.cutAt = f.frames + cutAt
		f.mu.Unlock()
		p := producerOn(t, bus, "t", WithPartitioner(Manual))
		a := &answersOf{t: t}
		for i := range 60 {
			if i%3 == 0 {
				if r, err := p.Publish(soon(t), Message{Partition: 0, Value: fmt.Append(nil, i/3)}); err != nil {
					t.Fatalf("cut at %d: publish: %v", cutAt, err)
				} else if r.Offset != int64(i/3) {
					t.Fatalf("cut at %d: message %d has offset %d", cutAt, i/3, r.Offset)
				}
				continue
			}
			p.PublishAsync(Message{Partition: 1, Value: fmt.Append(nil, i-i/3-1)}, a.done)
		}
		if err := p.Flush(soon(t)); err != nil {
			t.Fatalf("cut at %d: %v", cutAt, err)
		}
		for number, n := range []int{20, 40} {
			values := f.values(topic.parts[number])
			if len(values) != n {
				t.Fatalf("cut at %d: partition %d has %q", cutAt, number, values)
			}
			for i, v := range values {
				if v != fmt.Sprint(i) {
					t.Fatalf("cut at %d: partition %d has %q", cutAt, number, values)
				}
			}
		}
		if len(a.errs) > 0 || a.count != 40 {
			t.Fatalf("cut at %d: %d callbacks, errors %v", cutAt, a.count, a.errs)
		}
		if err := bus.Close(); err != nil {
			t.Fatalf("cut at %d: close: %v", cutAt, err)
		}
		f.stop()
	}
}

// TestRemoteRefusals: a batch that is refused is answered; what was sent behind it is stored all the same,
// in order, once.
func TestRemoteRefusals(t *testing.T) {
	for _, code := range []core.Code{core.CodeStorageFull, core.CodeUnavailable, core.CodeDraining,
		core.CodeLogFenced} {
		f := newFake(t, 1)
		topic := f.topic("t", core.TopicConfig{})
		n := 0
		f.answer = func(*fakePart, *core.FrameHeader) core.Code {
			if n++; n == 3 || n == 9 {
				return code
			}
			return 0
		}
		bus, _ := f.client()
		p := producerOn(t, bus, "t")
		a := &answersOf{t: t}
		for i := range 40 {
			p.PublishAsync(Message{Value: append(make([]byte, 20_000), fmt.Sprintf("%03d", i)...)}, a.done)
		}
		if err := p.Flush(soon(t)); err != nil {
			t.Fatal(err)
		}
		values := f.values(topic.parts[0])
		if !slices.IsSorted(values) || len(slices.Compact(slices.Clone(values))) != len(values) {
			t.Errorf("%v: stored in wrong order or twice", code)
		}
		if a.count != 40 || len(values) != 40-len(a.errs) {
			t.Errorf("%v: %d callbacks, %d errors, %d stored", code, a.count, len(a.errs), len(values))
		}
		inside := code == core.CodeUnavailable || code == core.CodeDraining
		if inside != (len(a.errs) == 0) {
			t.Errorf("%v: errors %v", code, a.errs)
		}
		for i, offset := range a.got[0] {
			if offset != int64(i) {
				t.Fatalf("%v: receipts %v", code, a.got[0])
			}
		}
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
		f.stop()
	}
}

func TestRemoteNoneAndFullPolicy(t *testing.T) {
	f := newFake(t, 1)
	topic := f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	p := producerOn(t, bus, "t", WithAck(AckNone))
	r, err := p.Publish(soon(t), Message{Value: []byte("a")})
	if err != nil || r.Offset != -1 || r.Topic != "t" || !r.Time.IsZero() {
		t.Errorf("level none: %+v, %v", r, err)
	}
	a := &answersOf{t: t}
	p.PublishAsync(Message{Value: []byte("b")}, a.done)
	if err := p.Close(); err != nil || a.count != 1 {
		t.Errorf("close: %v, %d callbacks", err, a.count)
	}
	eventually(t, "what nobody is told of is stored", func() bool { return len(f.values(topic.parts[0])) >= 2 })
	if got := f.values(topic.parts[0]); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("log has %q", got)
	}
	hold := make(chan struct{})
	f.mu.Lock()
	f.answer = func(*fakePart, *core.FrameHeader) core.Code {
		f.mu.Unlock()
		<-hold
		f.mu.Lock()
		return 0
	}
	f.mu.Unlock()
	full := producerOn(t, bus, "t", WithFullPolicy(Fail))
	b := &answersOf{t: t}
	n := core.MaxInFlightBytes/(1<<20) + 3
	for range n {
		full.PublishAsync(Message{Value: make([]byte, 1<<20-64)}, b.done)
	}
	if err := full.TryPublish(Message{}); !errors.Is(err, ErrFull) {
		t.Errorf("TryPublish: %v", err)
	}
	ctx, cancel := context.WithCancel(soon(t))
	cancel()
	if _, err := full.Publish(ctx, Message{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish without room: %v", err)
	}
	if err := full.Flush(ctx); !errors.Is(err, context.Canceled) ||
		!strings.Contains(err.Error(), "published and not answered") {
		t.Errorf("Flush while nothing is answered: %v", err)
	}
	close(hold)
	if err := full.Flush(soon(t)); err != nil {
		t.Error(err)
	}
	full.PublishAsync(Message{}, b.done)
	if err := full.Flush(soon(t)); err != nil || b.count != n+1 || len(b.errs) == 0 || !errors.Is(b.errs[0],
		ErrFull) {
		t.Errorf("%d of %d callbacks, errors %v, flush %v", b.count, n+1, b.errs, err)
	}
}

func TestRemoteNamedProducers(t *testing.T) {
	f := newFake(t, 2)
	topic := f.topic("t", core.TopicConfig{Partitions: 2})
	bus, _ := f.client()
	first := producerOn(t, bus, "t", WithID("x"), WithPartitioner(Manual))
	if _, err := first.Publish(soon(t), Message{Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	f.cut(1, false)
	if _, err := first.Publish(soon(t), Message{Value: []byte("2")}); err != nil {
		t.Fatalf("after a cut: %v", err)
	}
	second := producerOn(t, bus, "t", WithID("x"), WithPartitioner(Manual))
	for range 2 {
		if _, err := first.Publish(soon(t), Message{Value: []byte("zombie")}); !errors.Is(err, ErrProducerFenced) {
			t.Errorf("the older one: %v", err)
		}
	}
	if _, err := second.Publish(soon(t), Message{Value: []byte("3")}); err != nil {
		t.Error(err)
	}
	if got := f.values(topic.parts[0]); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("log has %q", got)
	}
}

func TestRemoteTailLost(t *testing.T) {
	f := newFake(t, 1)
	topic := f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	p := producerOn(t, bus, "t")
	for i := range 3 {
		if _, err := p.Publish(soon(t), Message{Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	topic.parts[0].lose = func() (int32, int32) { return 1, 3 }
	f.mu.Unlock()
	f.cut(0, false)
	for i := range 3 {
		if _, err := p.Publish(soon(t), Message{Value: fmt.Append(nil, i+3)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(soon(t)); !errors.Is(err, ErrTailLost) {
		t.Errorf("flush: %v", err)
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Errorf("second flush: %v", err)
	}
	if got := f.values(topic.parts[0]); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5"}) {
		t.Errorf("log has %q", got)
	}
}

func TestRemoteDeletedTopic(t *testing.T) {
	f := newFake(t, 2)
	f.topic("t", core.TopicConfig{Partitions: 2})
	bus, _ := f.client()
	p := producerOn(t, bus, "t")
	if _, err := p.Publish(soon(t), Message{}); err != nil {
		t.Fatal(err)
	}
	sub, err := bus.Subscribe("t")
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Publish(soon(t), Message{}); !errors.Is(err, ErrTopicNotFound) {
			t.Errorf("publish: %v", err)
		}
	}
	for _, err := range sub.Messages(soon(t)) {
		if !errors.Is(err, ErrTopicNotFound) {
			t.Errorf("loop: %v", err)
		}
	}
}

// TestRemoteMovedPartition: NOT_LEADER costs one retry.
func TestRemoteMovedPartition(t *testing.T) {
	f := newFake(t, 2)
	topic := f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	p := producerOn(t, bus, "t")
	if _, err := p.Publish(soon(t), Message{Value: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.placed = func(int32) uint16 { return 2 }
	f.mu.Unlock()
	for _, v := range []string{"b", "c"} {
		if _, err := p.Publish(soon(t), Message{Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	f.placed = func(int32) uint16 { return 1 }
	f.mu.Unlock()
	f.cut(2, false) // found out while the stream is opened
	if _, err := p.Publish(soon(t), Message{Value: []byte("d")}); err != nil {
		t.Fatal(err)
	}
	if got := f.values(topic.parts[0]); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("log has %q", got)
	}
}

// TestRemoteMisbehaviour: a node that breaks the protocol costs a new stream, and no message.
func TestRemoteMisbehaviour(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"length":    func(frame []byte) []byte { frame[3] = 0xff; return frame },
		"type":      func(frame []byte) []byte { frame[4] = byte(wire.Batch); return frame },
		"partition": func(frame []byte) []byte { frame[wire.HeaderSize] = 77; return frame },
		"sequence":  func(frame []byte) []byte { frame[wire.HeaderSize+8]++; return frame },
		"records":   func(frame []byte) []byte { frame[wire.HeaderSize+4]++; return frame },
		"size":      func(frame []byte) []byte { frame[0]--; return frame[:len(frame)-1] },
		"twice":     func(frame []byte) []byte { return append(frame, frame...) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 1)
			topic := f.topic("t", core.TopicConfig{})
			n := 0
			f.garble = func(ty wire.Type, frame []byte) []byte {
				f.mu.Lock()
				defer f.mu.Unlock()
				if ty == wire.Acks {
					if n++; n == 2 {
						return change(frame)
					}
				}
				return frame
			}
			bus, _ := f.client()
			p := producerOn(t, bus, "t")
			var want []string
			for i := range 5 {
				want = append(want, fmt.Sprint(i))
				if r, err := p.Publish(soon(t), Message{Value: fmt.Append(nil, i)}); err != nil || r.Offset != int64(i) {
					t.Fatalf("%+v, %v", r, err)
				}
			}
			if got := f.values(topic.parts[0]); !slices.Equal(got, want) {
				t.Errorf("log has %q", got)
			}
		})
	}
}
