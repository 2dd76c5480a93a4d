package node

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// door is a server without a listener: its clients come over pipes.
type door struct {
	*bed
	server *Server
	serve  sync.WaitGroup
}

// newDoor serves a bus with one topic "t" of two partitions.
func newDoor(t testing.TB, cfg leat.TopicConfig, opts ...Option) *door {
	t.Helper()
	return doorOf(one(t, cfg, opts...), ServeConfig{Advertise: "here:1"})
}

func doorOf(b *bed, cfg ServeConfig) *door {
	d := &door{bed: b, server: newServer(b.node, cfg)}
	b.node.nodes.set(aloneMap(cfg.Advertise))
	b.t.Cleanup(func() {
		if err := d.server.Close(); err != nil {
			b.t.Errorf("Server.Close: %v", err)
		}
		d.serve.Wait()
		d.serverIsEmpty()
	})
	return d
}

// serverIsEmpty checks that nothing of any client is left.
func (d *door) serverIsEmpty() {
	d.t.Helper()
	s := d.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) != 0 || s.pending != 0 || len(s.producers) != 0 {
		d.t.Errorf("left: %d sessions, %d without HELLO, %d producers",
			len(s.sessions), s.pending, len(s.producers))
	}
}

// rawClient is a connection that a test writes frames to.
type rawClient struct {
	t       testing.TB
	conn    transport.Conn
	control *rawStream
	welcome wire.WelcomeBody
}

// dial connects without a word.
func (d *door) dial(protocol string) transport.Conn {
	here, there := transport.Pipe(protocol)
	d.serve.Go(func() { d.server.serveConn(d.server.ctx, there) })
	return here
}

// connect says HELLO.
func (d *door) connect() *rawClient {
	d.t.Helper()
	return d.greet(d.dial(wire.ALPNClient))
}

// greet says HELLO on a connection.
func (d *door) greet(conn transport.Conn) *rawClient {
	d.t.Helper()
	c := &rawClient{t: d.t, conn: conn}
	d.t.Cleanup(func() { c.conn.Close(0, "") })
	c.control = c.open()
	c.control.json(wire.Header{Type: wire.Hello}, wire.HelloBody{Version: 1, Client: "test"})
	c.control.wantJSON(wire.Welcome, &c.welcome)
	return c
}

// rawStream is a stream of a rawClient.
type rawStream struct {
	transport.Stream
	t testing.TB
	r *transport.Reader
}

func (c *rawClient) open() *rawStream {
	c.t.Helper()
	s, err := c.conn.OpenStream(soon(c.t))
	if err != nil {
		c.t.Fatalf("OpenStream: %v", err)
	}
	return &rawStream{Stream: s, t: c.t, r: transport.NewReader(s, wire.MaxPayload)}
}

// wantClosed waits for the end of the connection with a code.
func wantClosed(t testing.TB, what string, conn transport.Conn, code core.Code) {
	t.Helper()
	receive(t, what+": the end of the connection", conn.Done())
	if got := core.CodeOf(conn.Err()); got != code {
		t.Errorf("%s: closed with %v (%v), want %v", what, got, conn.Err(), code)
	}
}

func (s *rawStream) json(h wire.Header, body any) {
	s.t.Helper()
	s.send(wire.Marshal(nil, h, body))
}

func (s *rawStream) send(raw []byte) {
	s.t.Helper()
	if _, err := s.Write(raw); err != nil {
		s.t.Fatalf("Write: %v", err)
	}
}

func (s *rawStream) frame(h wire.Header, payload ...byte) {
	s.t.Helper()
	h.Length = uint32(len(payload))
	s.send(append(h.Append(nil), payload...))
}

// got is a frame that came.
type got struct {
	wire.Header
	payload []byte
	err     error
}

// next reads a frame, which must come within patience.
func (s *rawStream) next() got {
	s.t.Helper()
	frames := make(chan got, 1)
	go func() {
		var g got
		if g.Header, g.err = s.r.Next(); g.err == nil {
			g.payload, g.err = s.r.Payload(nil)
		}
		frames <- g
	}()
	return receive(s.t, "a frame", frames)
}

// want reads a frame of a type.
func (s *rawStream) want(t wire.Type) got {
	s.t.Helper()
	g := s.next()
	if g.err != nil {
		s.t.Fatalf("reading, want %v: %v", t, g.err)
	}
	if g.Type != t {
		s.t.Fatalf("got %v (aux %d, arg %d, %s), want %v", g.Type, g.Aux, g.Arg, g.payload, t)
	}
	return g
}

func (s *rawStream) wantJSON(t wire.Type, body any) got {
	s.t.Helper()
	g := s.want(t)
	if err := json.Unmarshal(g.payload, body); err != nil {
		s.t.Fatalf("%v: %v", t, err)
	}
	return g
}

// wantEnd reads until the stream has ended, with a code; 0 is a normal end.
func (s *rawStream) wantEnd(what string, code core.Code) {
	s.t.Helper()
	for {
		g := s.next()
		if g.err == nil {
			continue
		}
		if code == 0 && errors.Is(g.err, io.EOF) {
			return
		}
		if got := core.CodeOf(g.err); got != code {
			s.t.Errorf("%s: stream ended with %v, want code %v", what, g.err, code)
		}
		return
	}
}

// call sends a request and gives the code of its answer, which is read into answer if that is 0.
func (c *rawClient) call(op wire.Op, body, answer any) (core.Code, wire.ErrorBody) {
	c.t.Helper()
	c.control.json(wire.Header{Type: wire.Request, Aux: uint16(op), Arg: 7}, body)
	g := c.control.want(wire.Response)
	if g.Arg != 7 {
		c.t.Errorf("answer to request %d, want 7", g.Arg)
	}
	var failed wire.ErrorBody
	target := answer
	if g.Aux != 0 {
		target = &failed
	}
	if err := json.Unmarshal(g.payload, target); err != nil {
		c.t.Fatalf("answer %q: %v", g.payload, err)
	}
	return core.Code(g.Aux), failed
}
