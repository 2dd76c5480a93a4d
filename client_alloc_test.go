package leat

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// leanNode is a node that stores nothing and allocates nothing per message: what is measured next to it is
// the client.
type leanNode struct {
	t       testing.TB
	running sync.WaitGroup
	frame   []byte // one log frame, sent again and again to subscriptions
}

func (n *leanNode) dial(context.Context, string) (transport.Conn, error) {
	dialed, accepted := transport.Pipe(wire.ALPNClient)
	n.running.Go(func() {
		for {
			stream, err := accepted.AcceptStream(context.Background())
			if err != nil {
				return
			}
			n.running.Go(func() { n.serve(stream) })
		}
	})
	return dialed, nil
}

func (n *leanNode) serve(stream transport.Stream) {
	r := transport.NewReader(stream, wire.MaxPayload)
	for {
		h, err := r.Next()
		if err != nil {
			return
		}
		var answer []byte
		switch h.Type {
		case wire.Hello:
			answer = wire.Marshal(nil, wire.Header{Type: wire.Welcome}, wire.WelcomeBody{Version: 1})
		case wire.Request:
			answer = wire.Marshal(nil, wire.Header{Type: wire.Response, Arg: h.Arg},
				wire.TopicsAnswer{Topics: []wire.TopicBody{{Name: "t", ID: 16, Partitions: 1, Ack: uint8(core.AckPage)}}})
		case wire.ProducerOpen:
			answer = wire.Marshal(nil, wire.Header{Type: wire.ProducerOK, Arg: 1 << 60},
				wire.ProducerOKBody{TopicID: 16})
			if _, err := stream.Write(answer); err == nil {
				n.produce(stream, r)
			}
			return
		case wire.Subscribe:
			answer = wire.Marshal(nil, wire.Header{Type: wire.Subscribed},
				wire.SubscribedBody{TopicID: 16, Partitions: []wire.SubscribedPartition{{}}})
			if _, err := stream.Write(answer); err == nil {
				n.send(stream, r, h.Arg)
			}
			return
		}
		if _, err := stream.Write(answer); err != nil {
			return
		}
	}
}

func (n *leanNode) produce(stream transport.Stream, r *transport.Reader) {
	var answer []byte
	offset := int64(0)
	for {
		h, err := r.Next()
		if err != nil {
			return
		}
		frame, err := r.Small()
		if err != nil {
			return
		}
		f := core.ParseFrameHeader(frame)
		entry := wire.AckEntry{Partition: h.Aux, Records: f.Records, BaseSeq: f.BaseSeq, Epoch: f.ProducerEpoch,
			Offset: offset, Time: 1}
		offset += int64(f.Records)
		acks := wire.Header{Type: wire.Acks, Length: wire.AckEntrySize}
		answer = acks.Append(answer[:0])
		answer = entry.Append(answer)
		if _, err := stream.Write(answer); err != nil {
			return
		}
	}
}

// send sends the frame without end, one for each that the client can have read.
func (n *leanNode) send(stream transport.Stream, r *transport.Reader, credit uint64) {
	var out []byte
	sent, offset := uint64(0), int64(0)
	for {
		for sent < credit {
			h := wire.Header{Type: wire.Batch, Arg: uint64(offset), Length: uint32(len(n.frame))}
			out = append(h.Append(out[:0]), n.frame...)
			binary.LittleEndian.PutUint64(out[wire.HeaderSize+16:], uint64(offset))
			offset += leanRecords
			sent += uint64(len(out))
			if _, err := stream.Write(out); err != nil {
				return
			}
		}
		h, err := r.Next()
		if err != nil {
			return
		}
		credit = max(credit, h.Arg)
	}
}

const leanRecords = 50

func lean(t testing.TB) *Bus {
	t.Helper()
	n := &leanNode{t: t}
	b := newBatch(&producerPart{})
	for i := range leanRecords {
		m := Message{Key: []byte("key"), Value: fmt.Append(nil, i), Headers: []Header{{Key: "h",
			Value: []byte("v")}}}
		size, err := core.EncodedRecordSize(m.Key, m.Value, m.Headers)
		if err != nil {
			t.Fatal(err)
		}
		b.add(&m, 0, size)
	}
	b.finish(0)
	n.frame = b.buf[wire.HeaderSize:]
	c := newClient("n", n.dial, dialOptions{}, 1)
	if err := c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		n.running.Wait()
	})
	return NewBus(c)
}

func TestRemoteAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	bus := lean(t)
	p := producerOn(t, bus, "t")
	m := Message{Key: []byte("key"), Value: make([]byte, 100), Headers: []Header{{Key: "h", Value: []byte("v")}}}
	ctx := context.Background()
	if n := testing.AllocsPerRun(2000, func() {
		if _, err := p.Publish(ctx, m); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("Publish allocates %.0f times", n)
	}
	const burst = 10_000
	failed := 0
	done := func(_ Receipt, err error) {
		if err != nil {
			failed++
		}
	}
	async := testing.AllocsPerRun(20, func() {
		for range burst {
			p.PublishAsync(m, done)
		}
		if err := p.Flush(ctx); err != nil || failed > 0 {
			t.Fatal(err, failed)
		}
	})
	if async > burst/50 { // the flush, and pools that a collection has emptied
		t.Errorf("%.0f allocations for %d messages and a flush", async, burst)
	}
	sub := subscribeTo(t, bus, "t", From(Earliest)).Backend()
	var got Message
	if n := testing.AllocsPerRun(200_000, func() {
		if err := sub.Next(ctx, &got); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("Next allocates %.0f times", n)
	}
}

func BenchmarkRemotePublish(b *testing.B) {
	bus := lean(b)
	p := producerOn(b, bus, "t")
	m := Message{Value: make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Publish(context.Background(), m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkRemotePublishAsync(b *testing.B) {
	bus := lean(b)
	p := producerOn(b, bus, "t")
	m := Message{Value: make([]byte, 100)}
	done := func(Receipt, error) {}
	b.ReportAllocs()
	for b.Loop() {
		p.PublishAsync(m, done)
	}
	if err := p.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkRemoteNext(b *testing.B) {
	sub := subscribeTo(b, lean(b), "t", From(Earliest)).Backend()
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := sub.Next(context.Background(), &m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
