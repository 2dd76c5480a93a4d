package transport

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"time"

	"github.com/leatbus/leat/core"
)

// Stream is a reliable, ordered stream of bytes in both directions. Read and Write may be called by one
// goroutine each, Close by the one that writes, Reset by any. A stream is done with, and counts no more
// against the limit of streams, when both directions have ended: read it until io.EOF, or reset it.
//
// Read gives io.EOF behind the last byte of a side that called Close. If the stream or its connection ended
// in another way, Read and Write give a *core.Error: the code that the other side gave, or
// core.CodeUnavailable where the connection was lost.
type Stream interface {
	io.Reader
	io.Writer
	// Close ends the sending direction behind what was written. It does not wait.
	Close() error
	// Reset gives up both directions at once. The other side is told code.
	Reset(code core.Code)
}

// Conn is one connection of two sides.
type Conn interface {
	// OpenStream opens a stream. It waits while the other side allows no more streams.
	OpenStream(ctx context.Context) (Stream, error)
	// AcceptStream waits for a stream of the other side.
	AcceptStream(ctx context.Context) (Stream, error)
	// Close ends the connection and all its streams; code 0 is a normal end. Further calls do nothing.
	Close(code core.Code, reason string)
	// Done is closed when the connection has ended, whoever ended it.
	Done() <-chan struct{}
	// Err says why it ended, after Done: core.ErrClosed if this side closed it without a code.
	Err() error
	// Protocol is the ALPN name both sides agreed on.
	Protocol() string
	// RemoteAddr is where the other side is.
	RemoteAddr() net.Addr
	// PeerCertificates are those the other side has shown and TLS has verified, leaf first.
	PeerCertificates() []*x509.Certificate
	// Stats are figures of the moment. They are cheap, but not meant for every message.
	Stats() Stats
}

// Stats are figures of a connection.
type Stats struct {
	RTT         time.Duration // smoothed; 0 if unknown
	SentBytes   uint64
	RecvBytes   uint64
	LostPackets uint64
	Handshake   time.Duration // how long it took; 0 if this side has dialed, or it is unknown
	Resumed     bool          // it went on from an earlier TLS session
}
