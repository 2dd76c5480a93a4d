package transport

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"sync"

	"github.com/leatbus/leat/core"
)

// pipeBytes is what one direction of a stream in memory holds.
const pipeBytes = 256 << 10

// pipeBacklog is how many streams wait to be accepted.
const pipeBacklog = 64

// Pipe makes a connection in memory, for tests and for use within a process. Closing either side ends both.
func Pipe(protocol string) (dialed, accepted Conn) {
	shared := &pipeState{protocol: protocol, done: make(chan struct{})}
	a := &pipeConn{state: shared, incoming: make(chan *pipeStream, pipeBacklog)}
	b := &pipeConn{state: shared, incoming: make(chan *pipeStream, pipeBacklog), other: a}
	a.other = b
	return a, b
}

type pipeState struct {
	protocol string
	done     chan struct{}

	mu      sync.Mutex // guards the following
	closed  *pipeConn  // who closed it
	code    core.Code
	reason  string
	streams []*pipeStream
}

type pipeConn struct {
	state    *pipeState
	other    *pipeConn
	incoming chan *pipeStream
}

// OpenStream implements Conn.
func (c *pipeConn) OpenStream(ctx context.Context) (Stream, error) {
	there, back := newPipeHalf(), newPipeHalf()
	mine, theirs := &pipeStream{in: back, out: there}, &pipeStream{in: there, out: back}
	c.state.mu.Lock()
	if c.state.closed != nil {
		c.state.mu.Unlock()
		return nil, c.Err()
	}
	c.state.streams = append(c.state.streams, mine, theirs)
	c.state.mu.Unlock()
	select {
	case c.other.incoming <- theirs:
		return mine, nil
	case <-c.state.done:
		return nil, c.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// AcceptStream implements Conn.
func (c *pipeConn) AcceptStream(ctx context.Context) (Stream, error) {
	select {
	case s := <-c.incoming:
		return s, nil
	case <-c.state.done:
		return nil, c.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close implements Conn.
func (c *pipeConn) Close(code core.Code, reason string) {
	s := c.state
	s.mu.Lock()
	if s.closed != nil {
		s.mu.Unlock()
		return
	}
	s.closed, s.code, s.reason = c, code, reason
	streams := s.streams
	s.streams = nil
	s.mu.Unlock()
	for _, stream := range streams {
		stream.in.fail(pipeEnd(code, reason))
	}
	close(s.done)
}

// Done implements Conn.
func (c *pipeConn) Done() <-chan struct{} { return c.state.done }

// Err implements Conn.
func (c *pipeConn) Err() error {
	s := c.state
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed == nil:
		return nil
	case s.closed == c && s.code == 0:
		return core.NewError(core.CodeClosed, "connection", nil)
	}
	return pipeEnd(s.code, s.reason)
}

// pipeEnd is what both sides see of a connection that ended with a code.
func pipeEnd(code core.Code, reason string) error {
	if code == 0 {
		code = core.CodeUnavailable
	}
	return core.Errorf(code, "connection", "closed: %s", core.Quote(reason))
}

// Protocol implements Conn.
func (c *pipeConn) Protocol() string { return c.state.protocol }

// RemoteAddr implements Conn.
func (c *pipeConn) RemoteAddr() net.Addr { return pipeAddr{} }

// PeerCertificates implements Conn.
func (c *pipeConn) PeerCertificates() []*x509.Certificate { return nil }

// Stats implements Conn.
func (c *pipeConn) Stats() Stats { return Stats{} }

type pipeAddr struct{}

// Network implements net.Addr.
func (pipeAddr) Network() string { return "pipe" }

// String implements net.Addr.
func (pipeAddr) String() string { return "pipe" }

type pipeStream struct{ in, out *pipeHalf }

// Read implements Stream.
func (s *pipeStream) Read(p []byte) (int, error) { return s.in.read(p) }

// Write implements Stream.
func (s *pipeStream) Write(p []byte) (int, error) { return s.out.write(p) }

// Close implements Stream.
func (s *pipeStream) Close() error {
	s.out.fail(io.EOF)
	return nil
}

// Reset implements Stream.
func (s *pipeStream) Reset(code core.Code) {
	if code == 0 {
		code = core.CodeUnavailable // as over QUIC: 0 is no code of an error
	}
	err := core.Errorf(code, "stream", "reset")
	s.in.abort(err)
	s.out.abort(err)
}

// pipeHalf is one direction of a stream.
type pipeHalf struct {
	mu      sync.Mutex // guards the following
	changed sync.Cond
	buf     []byte
	err     error
}

func newPipeHalf() *pipeHalf {
	h := &pipeHalf{}
	h.changed.L = &h.mu
	return h
}

func (h *pipeHalf) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && h.err == nil && len(p) > 0 {
		h.changed.Wait()
	}
	if len(h.buf) == 0 {
		return 0, h.err
	}
	n := copy(p, h.buf)
	h.buf = h.buf[:copy(h.buf, h.buf[n:])]
	h.changed.Broadcast()
	return n, nil
}

func (h *pipeHalf) write(p []byte) (written int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 {
		for len(h.buf) >= pipeBytes && h.err == nil {
			h.changed.Wait()
		}
		if h.err != nil {
			return written, h.err
		}
		n := min(len(p), pipeBytes-len(h.buf))
		h.buf = append(h.buf, p[:n]...)
		p, written = p[n:], written+n
		h.changed.Broadcast()
	}
	return written, nil
}

// fail ends the direction behind what was written.
func (h *pipeHalf) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	h.changed.Broadcast()
}

// abort ends it at once.
func (h *pipeHalf) abort(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err, h.buf = err, nil
	h.changed.Broadcast()
}
