package node

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

const (
	helloWait     = 5 * time.Second // for the first frame of a connection, and of a stream
	maxPending    = 1024            // connections without HELLO
	controlBytes  = 1 << 20         // queued on a control stream
	clientNameMax = 128
)

// session is one connection of a client.
//
//	accept ──▶ HELLO, WELCOME ──▶ accept streams ──▶ one goroutine each
//	                         └──▶ control stream: requests, one goroutine each
//
// All its goroutines are in work, and serveConn waits for them.
type session struct {
	server  *Server
	node    *Node
	conn    transport.Conn
	ctx     context.Context // ends with the connection
	control *transport.Lane
	budget  budget
	work    sync.WaitGroup
	streams atomic.Int32

	requests quota // of the control stream
	calls    quota // of call streams

	greeted bool // guarded by Server.mu
	// What HELLO showed; not written after it.
	secret string
	scopes []core.Scope

	mu     sync.Mutex // guards the following
	client string
	open   map[drainer]struct{}
}

// drainer is a stream that has something to bring to an end when the node drains.
type drainer interface {
	// drain returns when it has, or ctx ends.
	drain(ctx context.Context)
}

// serveConn serves one connection until it has ended, and waits for everything it started. When ctx ends
// it closes the connection.
func (s *Server) serveConn(ctx context.Context, conn transport.Conn) {
	s.stats.conns.begin(conn)
	defer s.stats.conns.end(conn)
	switch conn.Protocol() {
	case wire.ALPNClient:
		s.serveClient(ctx, conn)
		return
	case wire.ALPNPeer:
		if s.peer != nil {
			s.peer(ctx, conn)
			return
		}
	}
	conn.Close(core.CodeUnsupported, "this node is part of no cluster")
}

func (s *Server) serveClient(ctx context.Context, conn transport.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &session{
		server: s, node: s.node, conn: conn, ctx: ctx, open: make(map[drainer]struct{}),
		budget:   budget{free: s.limits.UnansweredBytes},
		requests: quota{most: maxRequests, mostBytes: wire.MaxOpenPayload},
		calls:    quota{most: wire.MaxCalls, mostBytes: wire.MaxCallBytes},
	}
	if err := s.admit(c); err != nil {
		s.stats.refused.Add(1)
		c.end(err)
		return
	}
	defer s.forget(c)
	reader, told, err := c.greet()
	s.greeted(c, err == nil)
	if err == nil {
		s.catchUp(c, told)
		c.work.Go(func() { c.end(c.runControl(reader)) })
		err = c.acceptStreams()
	}
	c.end(err)
	cancel()
	c.work.Wait()
	if c.control != nil {
		c.control.Wait()
	}
}

// greet takes HELLO on the first stream and answers it. The client has been told the map of that epoch.
func (c *session) greet() (r *transport.Reader, mapEpoch uint64, err error) {
	greeted := make(chan struct{})
	defer close(greeted)
	c.deadline(greeted, func() { c.conn.Close(core.CodeProtocol, "no HELLO within 5 s") })
	stream, err := c.conn.AcceptStream(c.ctx)
	if err != nil {
		return nil, 0, err
	}
	r = transport.NewReader(stream, wire.MaxHelloPayload)
	h, err := nextFrame(r)
	if err != nil {
		return nil, 0, endedEarly(err)
	}
	if h.Type != wire.Hello {
		return nil, 0, unexpected(&h, "before HELLO")
	}
	var hello wire.HelloBody
	if err := readBody(r, &h, &hello); err != nil {
		return nil, 0, err
	}
	if hello.Version < 1 {
		return nil, 0, wire.Errorf("HELLO of version %d", hello.Version)
	}
	c.named(hello.Client)
	if err := c.identify(hello.Token); err != nil {
		return nil, 0, err
	}
	r.SetLimit(wire.MaxOpenPayload)
	c.control = transport.NewLane(stream, controlBytes)
	welcome := c.server.welcome()
	return r, welcome.Map.Epoch, c.control.Send(wire.Marshal(nil, wire.Header{Type: wire.Welcome}, welcome))
}

// named keeps what the client calls itself.
func (c *session) named(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = name[:min(len(name), clientNameMax)]
}

// deadline calls expired if nothing comes from met for helloWait.
func (c *session) deadline(met <-chan struct{}, expired func()) {
	c.work.Go(func() {
		timer := c.node.clock.NewTimer(helloWait)
		defer timer.Stop()
		select {
		case <-timer.C():
			expired()
		case <-met:
		case <-c.conn.Done():
		}
	})
}

// endedEarly makes the end of a stream that has said nothing a fault of the other side.
func endedEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return wire.Errorf("the stream ended before its first frame")
	}
	return err
}

// acceptStreams starts what clients open until the connection ends.
func (c *session) acceptStreams() error {
	for {
		stream, err := c.conn.AcceptStream(c.ctx)
		switch {
		case err != nil:
			return err
		case c.server.draining():
			stream.Reset(core.CodeDraining)
		case int(c.streams.Load()) >= c.server.limits.Streams:
			stream.Reset(core.CodeLimited)
		default:
			c.streams.Add(1)
			c.work.Go(func() {
				defer c.streams.Add(-1)
				err := c.serveStream(stream)
				c.server.stats.note(err)
				endStream(stream, err)
			})
		}
	}
}

func (c *session) serveStream(stream transport.Stream) error {
	r := transport.NewReader(stream, wire.MaxOpenPayload)
	arrived := make(chan struct{})
	c.deadline(arrived, func() { stream.Reset(core.CodeProtocol) })
	h, err := nextFrame(r)
	close(arrived)
	if err != nil {
		return endedEarly(err)
	}
	if c.server.draining() { // it was opened before, and nothing waits for it to end
		return core.NewError(core.CodeDraining, "open stream", nil)
	}
	switch h.Type {
	case wire.ProducerOpen:
		return c.serveProducer(stream, r, &h)
	case wire.Subscribe:
		return c.serveSubscription(stream, r, &h)
	case wire.Join:
		return c.serveMember(stream, r, &h)
	case wire.QueueOpen:
		return c.serveQueue(stream, r, &h)
	case wire.CallOpen:
		return c.serveCalls(stream, r)
	case wire.Respond:
		return c.serveResponder(stream, r, &h)
	}
	return unexpected(&h, "at the start of a stream")
}

// end closes the connection for a reason; only the first one counts.
func (c *session) end(err error) {
	if err == nil || errors.Is(err, io.EOF) {
		c.conn.Close(0, "")
		return
	}
	c.server.stats.note(err)
	err = outward(err)
	c.conn.Close(core.CodeOf(err), reason(err))
}

// reason is what goes with the code that ends a connection.
func reason(err error) string {
	var e *core.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// note counts what broke the protocol.
func (s *serverStats) note(err error) {
	if err != nil && errors.Is(err, core.ErrProtocol) {
		s.protocolErrs.Add(1)
	}
}

// opened and closed keep the list of streams to drain.
func (c *session) opened(d drainer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[d] = struct{}{}
}

func (c *session) closed(d drainer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, d)
}

// budget shares what the producer streams of a connection may have unanswered.
type budget struct {
	mu    sync.Mutex // guards the following
	free  int64
	large int64 // bytes of frames beyond their stream's window
}

// Bounds of the window of one producer stream. The sum of all may be over the limit only by the least
// that each gets.
const (
	leastWindow = 16 << 10
	mostWindow  = 1 << 20
	windowShare = 4 // of what is free
)

// takeWindow gives a stream its window.
func (b *budget) takeWindow() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	window := min(max(b.free/windowShare, leastWindow), mostWindow)
	b.free -= window
	return uint64(window)
}

func (b *budget) giveWindow(window uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += int64(window)
}

// takeLarge makes room for a frame beyond its stream's window. One always has it; several have it as
// long as they are below the largest frame together.
func (b *budget) takeLarge(size int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.large > 0 && b.large+int64(size) > wire.MaxPayload {
		return core.Errorf(core.CodeLimited, "read frame", "large frames of %d bytes on one connection, at most %d",
			b.large+int64(size), wire.MaxPayload)
	}
	b.large += int64(size)
	return nil
}

func (b *budget) giveLarge(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.large -= int64(size)
}
