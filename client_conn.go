package leat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

const (
	// While something is waited for, a connection is looked at this often. One from which nothing came for
	// pingAfter looks is asked, and given up after deadAfter looks: within 2 s.
	lookEvery = 190 * time.Millisecond
	pingAfter = 4
	deadAfter = 9

	maxRequests  = 64       // unanswered at once, as the protocol has it
	controlBound = 16 << 20 // of requests not yet written
	streamBound  = 1 << 20  // of other small frames not yet written
)

// clientConn is one connection to a node, with its control stream.
type clientConn struct {
	client  *client
	node    *clientNode // set by adopt
	address string      // that was dialed
	conn    transport.Conn
	welcome wire.WelcomeBody
	control *transport.Lane
	reader  *transport.Reader
	tokens  chan struct{} // one per unanswered request
	heard   atomic.Uint32 // counts frames of all streams
	silent  atomic.Bool   // given up because nothing came
	nudge   chan struct{} // wakes the watch; capacity 1

	mu      sync.Mutex // guards the following
	calls   map[uint64]*clientCall
	nextID  uint64
	streams map[*clientStream]struct{}
	nonce   uint64
	err     error // of the control stream

	callStream *callStream // for requests of users; nil until there is one
}

// clientCall is a request that waits for its answer.
type clientCall struct {
	done   chan struct{}
	code   core.Code
	body   []byte
	failed error // the connection ended
}

// greet dials and says HELLO. It starts no goroutine.
func (c *client) greet(ctx context.Context, address string) (*clientConn, error) {
	conn, err := c.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	// Closing the connection is what ends a Read that hangs.
	stop := context.AfterFunc(ctx, func() { conn.Close(0, "no WELCOME in time") })
	cc, err := c.hello(ctx, conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close(0, "no WELCOME")
		return nil, err
	}
	cc.address = address
	return cc, nil
}

func (c *client) hello(ctx context.Context, conn transport.Conn) (*clientConn, error) {
	stream, err := conn.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	hello := wire.HelloBody{Version: wire.Version, Features: wire.Features, Client: c.options.name,
		Token: c.options.token}
	if _, err := stream.Write(wire.Marshal(nil, wire.Header{Type: wire.Hello}, hello)); err != nil {
		return nil, err
	}
	cc := &clientConn{
		client: c, conn: conn, control: transport.NewLane(stream, controlBound),
		reader: transport.NewReader(stream, wire.MaxPayload), tokens: make(chan struct{}, maxRequests),
		nudge: make(chan struct{}, 1), calls: map[uint64]*clientCall{}, streams: map[*clientStream]struct{}{},
	}
	h, err := cc.reader.Next()
	if err == nil && h.Type != wire.Welcome {
		err = wire.Errorf("%v where WELCOME was due", h.Type)
	}
	if err != nil {
		return nil, ended0(err)
	}
	payload, err := cc.reader.Small()
	if err == nil {
		err = wire.Unmarshal(h.Type, payload, &cc.welcome)
	}
	if err == nil && cc.welcome.Version < 1 {
		err = core.Errorf(core.CodeUnsupported, "say hello", "protocol version %d", cc.welcome.Version)
	}
	return cc, ended0(err)
}

// ended0 makes the normal end of a stream an error: nobody ends one that is in use.
func ended0(err error) error {
	if errors.Is(err, io.EOF) {
		return core.Errorf(core.CodeUnavailable, "read frame", "the node ended the stream")
	}
	return err
}

// start begins to read and to watch. It reports false where the client has closed. client.mu must be held.
func (c *clientConn) start() bool {
	if !c.client.goTaskLocked(c.readControl) {
		c.conn.Close(0, "the client closes")
		return false
	}
	c.client.goTaskLocked(c.watch)
	return true
}

// readControl reads the control stream until it ends, and the connection with it.
func (c *clientConn) readControl() {
	err := c.readFrames()
	if core.CodeOf(err) == core.CodeProtocol {
		c.conn.Close(core.CodeProtocol, err.Error())
	}
	c.conn.Close(0, "the control stream ended")
	<-c.conn.Done()
	c.control.Wait()
	c.mu.Lock()
	c.err = err
	calls := c.calls
	c.calls = nil
	c.mu.Unlock()
	for _, call := range calls {
		call.failed = lost(err)
		close(call.done)
	}
	cl := c.client
	cl.mu.Lock()
	delete(c.node.conns, c)
	c.node.detachLocked(c, err)
	cl.mu.Unlock()
}

// lost is the error of whoever waited for an answer on a connection that ended.
func lost(cause error) error {
	return core.NewError(core.CodeUnavailable, "wait for an answer", fmt.Errorf("%w: %w", errUnanswered, cause))
}

func (c *clientConn) readFrames() error {
	for {
		h, err := c.reader.Next()
		if err != nil {
			return ended0(err)
		}
		c.heard.Add(1)
		switch h.Type {
		case wire.Ping:
			pong := wire.Header{Type: wire.Pong, Arg: h.Arg}
			err = c.control.Queue(pong.Append(nil))
		case wire.Pong:
		case wire.GoAway:
			c.client.mu.Lock()
			c.node.detachLocked(c, core.NewError(core.CodeDraining, c.node.opLocked(), nil))
			c.client.mu.Unlock()
		case wire.Map:
			err = c.readMap(h)
		case wire.Response:
			err = c.readResponse(h)
		default:
			err = unexpected(h)
		}
		if err != nil {
			return err
		}
	}
}

func (c *clientConn) readMap(h wire.Header) error {
	var m wire.MapBody
	payload, err := c.reader.Small()
	if err == nil {
		err = wire.Unmarshal(h.Type, payload, &m)
	}
	if err != nil {
		return err
	}
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	c.client.takeMapLocked(&m)
	c.client.broadcastLocked()
	return nil
}

func (c *clientConn) readResponse(h wire.Header) error {
	body, err := c.reader.Payload(nil)
	if err != nil {
		return err
	}
	c.mu.Lock()
	call := c.calls[h.Arg]
	delete(c.calls, h.Arg)
	c.mu.Unlock()
	if call != nil { // else its caller has gone
		call.code, call.body = core.Code(h.Aux), body
		close(call.done)
	}
	return nil
}

// unexpected judges a frame that its reader has no use for. nil: skip it.
func unexpected(h wire.Header) error {
	switch {
	case h.Type >= wire.Hello && h.Type <= wire.Map, h.Type >= wire.ProducerOpen && h.Type <= wire.Credit,
		h.Type >= wire.Subscribe && h.Type <= wire.Remove, h.Type >= wire.Join && h.Type <= wire.Left,
		h.Type >= wire.PeerHello && h.Type <= wire.CatalogueOK, h.Type >= wire.QueueOpen && h.Type <= wire.Stale,
		h.Type >= wire.CallOpen && h.Type <= wire.Resign:
		return wire.Errorf("%v on the wrong stream or at the wrong time", h.Type)
	case h.Flags&wire.FlagMustUnderstand != 0:
		return core.Errorf(core.CodeUnsupported, "read frame", "%v", h.Type)
	}
	return nil
}

// request asks and waits for the answer, into which it decodes. The error of a connection that ended
// meanwhile is ErrUnavailable, because of errUnanswered.
func (c *clientConn) request(ctx context.Context, op wire.Op, body, answer any) error {
	select {
	case c.tokens <- struct{}{}:
		defer func() { <-c.tokens }()
	case <-ctx.Done():
		return ctx.Err()
	}
	call := &clientCall{done: make(chan struct{})}
	c.mu.Lock()
	if c.calls == nil {
		defer c.mu.Unlock()
		return core.NewError(core.CodeDraining, "ask", c.err)
	}
	c.nextID++
	id := c.nextID
	c.calls[id] = call
	c.mu.Unlock()
	c.wakeWatch()
	frame := wire.Marshal(nil, wire.Header{Type: wire.Request, Aux: uint16(op), Arg: id}, body)
	// An error of the lane ends the connection, and the call with it.
	_ = c.control.Queue(frame)
	select {
	case <-call.done:
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
		return ctx.Err()
	}
	if call.failed != nil {
		return call.failed
	}
	if call.code != 0 {
		var e wire.ErrorBody
		if err := wire.Unmarshal(wire.Response, call.body, &e); err != nil {
			return err
		}
		return e.Error(call.code)
	}
	return wire.Unmarshal(wire.Response, call.body, answer)
}

// waiting reports whether anybody needs the node to answer.
func (c *clientConn) waiting() (using, waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.streams {
		if s.busy() {
			return true, true
		}
	}
	return len(c.streams)+len(c.calls) > 0, len(c.calls) > 0
}

func (c *clientConn) wakeWatch() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// watch notices a node that is gone without a word: QUIC would only after many seconds.
func (c *clientConn) watch() {
	timer := c.client.clock.NewTimer(lookEvery)
	defer timer.Stop()
	seen, quiet := c.heard.Load(), 0
	for armed, looked := true, false; ; {
		using, waits := c.waiting()
		heard := c.heard.Load()
		if !waits || heard != seen {
			seen, quiet = heard, 0
		}
		switch {
		case !looked:
		case quiet == pingAfter:
			c.nonce++
			ping := wire.Header{Type: wire.Ping, Arg: c.nonce}
			_ = c.control.Queue(ping.Append(nil)) // no answer will come then
		case quiet == deadAfter:
			c.silent.Store(true)
			c.conn.Close(core.CodeUnavailable, "no answer to PING")
		}
		if using && !armed { // calls that come one after the other do not put the next look off
			timer.Reset(lookEvery)
			armed = true
		}
		looked = false
		select {
		case <-timer.C():
			armed, looked = false, true
			quiet++
		case <-c.nudge:
		case <-c.conn.Done():
			return
		}
	}
}

// clientStream is a stream of a producer, subscription or member.
type clientStream struct {
	transport.Stream
	conn   *clientConn
	reader *transport.Reader
	busy   func() bool // whether the node owes it an answer
}

// open opens a stream. busy is called from any goroutine and must not block.
func (c *clientConn) open(ctx context.Context, busy func() bool) (*clientStream, error) {
	stream, err := c.conn.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	s := &clientStream{Stream: stream, conn: c, reader: transport.NewReader(stream, wire.MaxPayload), busy: busy}
	c.mu.Lock()
	c.streams[s] = struct{}{}
	c.mu.Unlock()
	c.wakeWatch()
	return s, nil
}

// next reads the next header.
func (s *clientStream) next() (wire.Header, error) {
	h, err := s.reader.Next()
	if err == nil {
		s.conn.heard.Add(1)
	}
	return h, ended0(err)
}

// answer reads the frame that a stream is opened by, and its body.
func (s *clientStream) answer(want wire.Type, body any) (wire.Header, error) {
	for {
		h, err := s.next()
		if err != nil {
			return h, err
		}
		if h.Type != want {
			if err := unexpected(h); err != nil {
				return h, err
			}
			continue
		}
		payload, err := s.reader.Payload(nil)
		if err == nil {
			err = wire.Unmarshal(h.Type, payload, body)
		}
		return h, err
	}
}

// drop gives the stream up; err is what this side found, if it is about the protocol.
func (s *clientStream) drop(err error) {
	code := core.Code(0)
	switch found := core.CodeOf(err); found {
	case core.CodeProtocol, core.CodeUnsupported, core.CodeCorrupt:
		code = found
	}
	s.Reset(code)
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	delete(s.conn.streams, s)
}
