package transport

import (
	"context"
	"crypto/x509"
	"net"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/quic-go/quic-go"
)

// quicConn is a Conn over QUIC.
type quicConn struct {
	conn     *quic.Conn
	protocol string
	verified []*x509.Certificate
	released chan struct{} // closed when everything of the connection was given back
	minRTT   atomic.Int64  // nanoseconds; of the last look, for the callback of the window

	handshake time.Duration
	resumed   bool
}

// attach fills c with a connection whose handshake is over.
func (c *quicConn) attach(conn *quic.Conn) {
	state := conn.ConnectionState().TLS
	c.conn, c.protocol, c.resumed = conn, state.NegotiatedProtocol, state.DidResume
	if len(state.VerifiedChains) > 0 {
		c.verified = state.PeerCertificates
	}
	c.look()
}

// look notes the shortest round trip seen so far. The callback of the window may not ask the connection.
func (c *quicConn) look() { c.minRTT.Store(int64(c.conn.ConnectionStats().MinRTT)) }

// longPath reports whether the window may grow. It is the shortest round trip that tells the length of the
// path: the smoothed one rises where a process is busy, and more bytes would make that worse.
func (c *quicConn) longPath() bool { return c.minRTT.Load() > int64(longPath) }

// OpenStream implements Conn.
func (c *quicConn) OpenStream(ctx context.Context) (Stream, error) {
	stream, err := c.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, c.errorOr(ctx, "open stream", err)
	}
	return &quicStream{stream: stream, conn: c}, nil
}

// AcceptStream implements Conn.
func (c *quicConn) AcceptStream(ctx context.Context) (Stream, error) {
	stream, err := c.conn.AcceptStream(ctx)
	if err != nil {
		return nil, c.errorOr(ctx, "accept stream", err)
	}
	return &quicStream{stream: stream, conn: c}, nil
}

func (c *quicConn) errorOr(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return quicError(op, err)
}

// Close implements Conn. It waits until the other side was told, once, and the socket is free.
func (c *quicConn) Close(code core.Code, reason string) {
	_ = c.conn.CloseWithError(quic.ApplicationErrorCode(code.QUIC()), reason)
	<-c.released
}

// Done implements Conn.
func (c *quicConn) Done() <-chan struct{} { return c.conn.Context().Done() }

// Err implements Conn.
func (c *quicConn) Err() error {
	if c.conn.Context().Err() == nil {
		return nil
	}
	return quicError("connection", context.Cause(c.conn.Context()))
}

// Protocol implements Conn.
func (c *quicConn) Protocol() string { return c.protocol }

// RemoteAddr implements Conn.
func (c *quicConn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// PeerCertificates implements Conn.
func (c *quicConn) PeerCertificates() []*x509.Certificate { return c.verified }

// Stats implements Conn.
func (c *quicConn) Stats() Stats {
	s := c.conn.ConnectionStats()
	return Stats{RTT: time.Duration(s.SmoothedRTT), SentBytes: s.BytesSent, RecvBytes: s.BytesReceived,
		LostPackets: s.PacketsLost, Handshake: c.handshake, Resumed: c.resumed}
}

// quicStream is a Stream over QUIC.
type quicStream struct {
	stream   *quic.Stream
	conn     *quicConn
	unlooked int // bytes read since the last look at the round trip; the reader's
}

// lookBytes are well below what is read before a window is renewed, which is when it may grow.
const lookBytes = 32 << 10

// Read implements Stream.
func (s *quicStream) Read(p []byte) (int, error) {
	n, err := s.stream.Read(p)
	if s.unlooked += n; s.unlooked >= lookBytes {
		s.unlooked = 0
		s.conn.look()
	}
	if err != nil {
		err = quicError("read stream", err)
	}
	return n, err
}

// Write implements Stream.
func (s *quicStream) Write(p []byte) (int, error) {
	n, err := s.stream.Write(p)
	if err != nil {
		err = quicError("write stream", err)
	}
	return n, err
}

// Close implements Stream.
func (s *quicStream) Close() error {
	if err := s.stream.Close(); err != nil {
		return quicError("close stream", err)
	}
	return nil
}

// Reset implements Stream.
func (s *quicStream) Reset(code core.Code) {
	s.stream.CancelWrite(quic.StreamErrorCode(code.QUIC()))
	s.stream.CancelRead(quic.StreamErrorCode(code.QUIC()))
}
