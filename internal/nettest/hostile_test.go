package nettest

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

// TestHostileInput: garbage, half handshakes, wrong frames in every state, floods and clients that never
// read, before and after HELLO. The server lives, serves others meanwhile without an error, and its memory
// and goroutines are back where they were.
func TestHostileInput(t *testing.T) {
	random := seeded(t)
	s := newServer(t)
	const topic = "target"
	bus := s.dial(leat.WithUnreachableAfter(30 * time.Second))
	createTopic(t, bus, topic, 2)
	good := startGoodClient(t, bus, topic)
	h := &hostile{t: t, s: s, random: random, topic: topic}
	h.frames(20) // warm up: buffers and goroutines that stay
	h.settle()
	memory, goroutines := s.resident(), s.metric("go_goroutines")
	h.inputs = 0
	scale := pick(1, 5)
	h.datagrams(300 * scale)
	h.halfHandshakes(50 * scale)
	h.silent(30)
	h.beforeHello(200 * scale)
	h.frames(600 * scale)
	h.streamFlood()
	h.requestFlood()
	h.neverRead(20)
	h.settle()
	if h.inputs < 1000 {
		t.Errorf("%d hostile inputs, want at least 1,000", h.inputs)
	}
	if n := good.stop(); n == 0 {
		t.Error("the good client published nothing meanwhile")
	}
	grownMemory, grownGoroutines := s.resident()-memory, s.metric("go_goroutines")-goroutines
	t.Logf("%d inputs; afterwards %+d MB and %+.0f goroutines", h.inputs, grownMemory>>20, grownGoroutines)
	if grownMemory > 64<<20 {
		t.Errorf("the server's memory grew by %d MB", grownMemory>>20)
	}
	if grownGoroutines > 20 {
		t.Errorf("the server has %.0f goroutines more than before", grownGoroutines)
	}
}

// goodClient publishes all the time and reads what it published.
type goodClient struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	count  atomic.Int64
}

func startGoodClient(t *testing.T, bus *leat.Bus, topic string) *goodClient {
	t.Helper()
	p, err := bus.Producer(topic)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := bus.Subscribe(topic, leat.From(leat.Latest))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g := &goodClient{cancel: cancel}
	g.done.Go(func() {
		defer sub.Close()
		for ctx.Err() == nil {
			n := g.count.Load()
			if _, err := p.Publish(soon(t, 30*time.Second), leat.Message{Value: fmt.Append(nil, n)}); err != nil {
				t.Errorf("the good client: publish %d: %v", n, err)
				return
			}
			for m, err := range sub.Messages(soon(t, 30*time.Second)) {
				if err != nil || string(m.Value) != fmt.Sprint(n) {
					t.Errorf("the good client: got %v, %v, want %d", m, err, n)
					return
				}
				break
			}
			g.count.Add(1)
		}
	})
	return g
}

func (g *goodClient) stop() int64 {
	g.cancel()
	g.done.Wait()
	return g.count.Load()
}

// hostile is what attacks.
type hostile struct {
	t      *testing.T
	s      *server
	random *rand.Rand
	topic  string
	inputs int
}

func (h *hostile) bytes(most int) []byte {
	b := make([]byte, 1+h.random.IntN(most))
	for i := range b {
		b[i] = byte(h.random.Uint32())
	}
	return b
}

// settle waits until the server has dropped what it will drop: its connections are gone after the idle time.
func (h *hostile) settle() {
	h.t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-ticker.C {
		if h.s.metric(`leat_quic_connections{kind="client"}`) <= 1 {
			return
		}
	}
	h.t.Errorf("after 20 s the server still has %v connections", h.s.metric(`leat_quic_connections{kind="client"}`))
}

// datagrams sends what is not QUIC, and what looks like it.
func (h *hostile) datagrams(n int) {
	conn, err := net.Dial("udp", h.s.address)
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	for i := range n {
		b := h.bytes(1500)
		if i%2 == 0 {
			b[0] |= 0xc0 // a long header
			if len(b) > 5 {
				copy(b[1:], []byte{0, 0, 0, 1}) // of QUIC version 1
			}
		}
		_, _ = conn.Write(b) // the answer, if any, is the server's affair
		h.inputs++
	}
}

// dial connects as a client does, without saying hello.
func (h *hostile) dial(timeout time.Duration) (transport.Conn, error) {
	cfg, err := certs.DevelopmentClient(configDir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), timeout)
	defer cancel()
	return transport.Dial(ctx, h.s.address, transport.DialConfig{TLS: cfg, Protocol: wire.ALPNClient})
}

func (h *hostile) mustDial() transport.Conn {
	h.t.Helper()
	conn, err := h.dial(30 * time.Second)
	if err != nil {
		h.t.Fatalf("the server does not take connections any more: %v", err)
	}
	return conn
}

// halfHandshakes give up at a random moment.
func (h *hostile) halfHandshakes(n int) {
	for range n {
		ctx, cancel := context.WithTimeout(h.t.Context(), time.Duration(h.random.IntN(3000))*time.Microsecond)
		conn, err := transport.Dial(ctx, h.s.address, transport.DialConfig{Protocol: wire.ALPNClient,
			TLS: &tls.Config{InsecureSkipVerify: true}})
		if err == nil {
			conn.Close(0, "")
		}
		cancel()
		h.inputs++
	}
}

// silent connections say nothing; the server ends them by itself.
func (h *hostile) silent(n int) {
	var conns []transport.Conn
	for i := range n {
		conn := h.mustDial()
		if i%2 == 0 {
			stream, err := conn.OpenStream(h.t.Context())
			if err == nil {
				_, _ = stream.Write([]byte{1, 2, 3}) // and never more
			}
		}
		conns = append(conns, conn)
		h.inputs++
	}
	for _, conn := range conns {
		select {
		case <-conn.Done():
		case <-time.After(30 * time.Second):
			h.t.Error("a connection that never said hello is open after 30 s")
			conn.Close(0, "")
		}
	}
}

// beforeHello sends frames that are none of HELLO.
func (h *hostile) beforeHello(n int) {
	for i := range n {
		conn := h.mustDial()
		stream, err := conn.OpenStream(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		header := wire.Header{Length: h.random.Uint32(), Type: wire.Type(h.random.IntN(80)),
			Aux: uint16(h.random.Uint32())}
		switch i % 4 {
		case 0:
			header.Type = wire.Hello
		case 1:
			header.Type, header.Length = wire.Hello, uint32(h.random.IntN(200))
		case 2:
			header.Flags = wire.FlagMustUnderstand
		}
		_, _ = stream.Write(append(header.Append(nil), h.bytes(5000)...))
		_ = stream.Close()
		h.drain(stream)
		conn.Close(0, "")
		h.inputs++
	}
}

// drain reads until the server ends the stream.
func (h *hostile) drain(stream transport.Stream) {
	timer := time.AfterFunc(10*time.Second, func() { stream.Reset(0) })
	defer timer.Stop()
	buf := make([]byte, 4096)
	for {
		if _, err := stream.Read(buf); err != nil {
			return
		}
	}
}

// greet opens a connection as a client of version 1.
func (h *hostile) greet() (transport.Conn, transport.Stream) {
	h.t.Helper()
	conn := h.mustDial()
	control, err := conn.OpenStream(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	body := wire.HelloBody{Version: wire.Version, Client: "hostile"}
	hello := wire.Marshal(nil, wire.Header{Type: wire.Hello}, body)
	if _, err := control.Write(hello); err != nil {
		h.t.Fatal(err)
	}
	header, err := transport.NewReader(control, wire.MaxPayload).Next()
	if err != nil || header.Type != wire.Welcome {
		h.t.Fatalf("HELLO was answered with %v, %v", header.Type, err)
	}
	return conn, control
}

// opening gives the first frame of a stream, and one that follows.
func (h *hostile) opening(kind int) (first, second []byte) {
	switch kind {
	case 0:
		body := wire.ProducerOpenBody{Topic: h.topic, Ack: uint8(core.AckPage),
			ProducerID: 1 + h.random.Int64N(1<<40), Instance: 7}
		first = wire.Marshal(nil, wire.Header{Type: wire.ProducerOpen}, body)
		second = produceFrame(h.random)
	case 1:
		first = wire.Marshal(nil, wire.Header{Type: wire.Subscribe, Arg: 1 << 20}, h.subscription())
		add := wire.Header{Type: wire.Add, Aux: uint16(h.random.IntN(4)), Arg: uint64(h.random.IntN(10))}
		second = add.Append(nil)
	case 2:
		first = wire.Marshal(nil, wire.Header{Type: wire.Join}, wire.JoinBody{Group: "hostile", Topic: h.topic})
		entry := wire.AckedEntry{Partition: int32(h.random.IntN(4)), Generation: 1, Offset: h.random.Int64N(1000)}
		second = (&wire.Header{Type: wire.MemberAck, Length: wire.AckedEntrySize}).Append(nil)
		second = entry.Append(second)
	default:
		first = wire.Marshal(nil, wire.Header{Type: wire.Request, Aux: uint16(h.random.IntN(12)), Arg: 1},
			wire.TopicsRequest{Name: "nothing", Detail: true}) // one of the operations deletes what is named
		second = (&wire.Header{Type: wire.Ping, Arg: 3}).Append(nil)
	}
	return first, second
}

func (h *hostile) subscription() wire.SubscribeBody {
	return wire.SubscribeBody{Topic: h.topic,
		Partitions: []wire.SubscribePartition{{Kind: uint8(core.PositionEarliest)}}}
}

// produceFrame is a PRODUCE frame with one record.
func produceFrame(random *rand.Rand) []byte {
	size, _ := core.EncodedRecordSize(nil, []byte("value"), nil) // within the limits
	frame := make([]byte, wire.HeaderSize+core.FrameHeaderSize+size)
	payload := frame[wire.HeaderSize+core.FrameHeaderSize:]
	core.PutRecord(payload, nil, []byte("value"), nil, 0, 0)
	h := core.FrameHeader{Length: uint32(core.FrameHeaderSize + size), ProducerID: 5, Records: 1,
		PayloadCRC: core.Checksum(payload), Version: core.FrameVersion, BaseSeq: int32(random.IntN(3))}
	h.Encode(frame[wire.HeaderSize:], 0)
	outer := wire.Header{Type: wire.Produce, Length: uint32(len(frame) - wire.HeaderSize),
		Aux: uint16(random.IntN(3))}
	outer.Put(frame)
	return frame
}

// frames sends every kind of stream, damaged in one of many ways.
func (h *hostile) frames(n int) {
	for done := 0; done < n; {
		conn, control := h.greet()
		for range min(20, n-done) {
			kind := h.random.IntN(4)
			stream := control
			if kind != 3 {
				var err error
				if stream, err = conn.OpenStream(soon(h.t, 30*time.Second)); err != nil {
					break // a mutation before ended the connection
				}
			}
			first, second := h.opening(kind)
			both := append(append([]byte{}, first...), second...)
			_, err := stream.Write(h.mutate(both, len(first)))
			if stream != control {
				_ = stream.Close()
				h.drain(stream)
			}
			done++
			h.inputs++
			if err != nil {
				break
			}
		}
		conn.Close(0, "")
	}
}

// mutate damages one or two frames; the second begins at at.
func (h *hostile) mutate(b []byte, at int) []byte {
	switch h.random.IntN(10) {
	case 0:
		return b[:h.random.IntN(len(b))]
	case 1:
		return append(b, h.bytes(100)...)
	case 2: // a length
		from := []int{0, at}[h.random.IntN(2)]
		length := []uint32{0, 1, 0xffffffff, 0x7fffffff, wire.MaxPayload, wire.MaxPayload + 1}[h.random.IntN(6)]
		header := wire.ParseHeader(b[from:])
		header.Length = length
		header.Put(b[from:])
	case 3: // a type
		b[[]int{0, at}[h.random.IntN(2)]+4] = byte(h.random.Uint32())
	case 4: // must understand
		b[at+4], b[at+5] = 200, wire.FlagMustUnderstand
	case 5: // twice
		return append(b, b...)
	case 6: // in the wrong order
		return append(append([]byte{}, b[at:]...), b[:at]...)
	default:
		for range 1 + h.random.IntN(8) {
			b[h.random.IntN(len(b))] ^= 1 << h.random.IntN(8)
		}
	}
	return b
}

// streamFlood opens streams until it may open no more, and says nothing on them.
func (h *hostile) streamFlood() {
	conn, _ := h.greet()
	defer conn.Close(0, "")
	for range 5000 {
		ctx, cancel := context.WithTimeout(h.t.Context(), 50*time.Millisecond)
		stream, err := conn.OpenStream(ctx)
		cancel()
		if err != nil {
			break
		}
		_, _ = stream.Write([]byte{9})
		h.inputs++
	}
}

// requestFlood asks and never reads the answers.
func (h *hostile) requestFlood() {
	conn, control := h.greet()
	defer conn.Close(0, "")
	request := wire.Marshal(nil, wire.Header{Type: wire.Request, Aux: uint16(wire.OpTopics)},
		wire.TopicsRequest{Detail: true})
	timer := time.AfterFunc(2*time.Second, func() { conn.Close(0, "") }) // it blocks in the end
	defer timer.Stop()
	for range 10_000 {
		if _, err := control.Write(request); err != nil {
			return
		}
		h.inputs++
	}
}

// neverRead subscribes with all the credit there is, and reads nothing.
func (h *hostile) neverRead(n int) {
	conn, _ := h.greet()
	for range n {
		stream, err := conn.OpenStream(soon(h.t, 30*time.Second))
		if err != nil {
			h.t.Fatal(err)
		}
		_, _ = stream.Write(wire.Marshal(nil, wire.Header{Type: wire.Subscribe, Arg: 1 << 62}, h.subscription()))
		h.inputs++
	}
	<-time.After(time.Second)
	conn.Close(0, "")
}
