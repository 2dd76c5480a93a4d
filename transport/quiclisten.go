package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/quic-go/quic-go"
)

// ListenConfig says how to listen. Its zero value lacks TLS and Protocols.
type ListenConfig struct {
	TLS       *tls.Config // cloned; must have a certificate
	Protocols []string    // ALPN names, the best first

	// ResetKey lets a restarted server tell clients of its earlier run at once that their connections are
	// gone: it must be the same then, and secret. TokenKey is the same for proofs of address. All zero:
	// clients find out by silence, and prove again.
	ResetKey, TokenKey [32]byte

	// IdleTimeout is the silence after which a connection is lost; 0: 10 s. The shorter of both sides counts.
	IdleTimeout time.Duration
	KeepAlive   time.Duration // pause after which this side tells that it lives; 0: 3 s; below 0: never
	MaxStreams  int64         // streams the other side may have open at once per connection; 0: 1024

	// HandshakeRate is the number of handshakes per second beyond which a client has to prove its address
	// first, which costs it a round trip; 0: 200. A handshake costs about 1 ms of CPU.
	HandshakeRate int
	// WindowBudget is how many bytes the receive windows of all connections may grow in sum, beyond the
	// 320 KiB each begins with; 0: 256 MiB. They grow on paths with a round trip above 2 ms only.
	WindowBudget int64

	// Refused is called when this side has refused the TLS of a client, with core.CodeDenied where a
	// certificate is missing and core.CodeUntrusted where it does not verify. It must not block.
	Refused func(error)

	// PacketConn is listened on if not nil, and address ignored. The caller closes it after Close.
	PacketConn net.PacketConn
}

// Listener accepts connections.
type Listener struct {
	carrier *quic.Transport
	inner   *quic.Listener
	socket  net.PacketConn // nil if it is the caller's
	gate    handshakeGate

	stopped context.Context // ended by StopAccepting
	stop    context.CancelCauseFunc
	refuser sync.WaitGroup // of the goroutine that StopAccepting starts

	mu     sync.Mutex // guards the following
	budget int64
	conns  map[*quic.Conn]*acceptedConn
	closed bool
}

// acceptedConn is a connection and what it has of the budget.
type acceptedConn struct {
	quicConn
	window int64
}

// Listen listens on address, as in "127.0.0.1:4740" or ":4740". It fails with core.CodeInvalidConfig if the
// configuration lacks something, and with core.CodeUnavailable if the address cannot be had.
func Listen(address string, cfg ListenConfig) (*Listener, error) {
	op := "listen on " + core.Quote(address)
	if cfg.TLS == nil || len(cfg.Protocols) == 0 {
		return nil, core.Errorf(core.CodeInvalidConfig, op, "ListenConfig wants TLS and Protocols")
	}
	l := &Listener{
		budget: orDefault(cfg.WindowBudget, defaultBudget),
		conns:  make(map[*quic.Conn]*acceptedConn),
		gate:   newHandshakeGate(clock.System, orDefault(cfg.HandshakeRate, defaultRate)),
	}
	l.stopped, l.stop = context.WithCancelCause(context.Background())
	packets := cfg.PacketConn
	if packets == nil {
		var err error
		if packets, err = listenSocket(address); err != nil {
			return nil, core.NewError(core.CodeUnavailable, op, err)
		}
		l.socket = packets
	}
	l.carrier = &quic.Transport{Conn: packets,
		VerifySourceAddress: func(net.Addr) bool { return !l.gate.take() },
		ConnContext:         beginHandshake(cfg.Refused)}
	if cfg.ResetKey != [32]byte{} {
		l.carrier.StatelessResetKey = (*quic.StatelessResetKey)(&cfg.ResetKey)
	}
	if cfg.TokenKey != [32]byte{} {
		l.carrier.TokenGeneratorKey = (*quic.TokenGeneratorKey)(&cfg.TokenKey)
	}
	var err error
	if l.inner, err = l.carrier.Listen(tlsFor(cfg.TLS, cfg.Protocols), l.quicConfig(cfg)); err != nil {
		l.release()
		return nil, core.NewError(core.CodeUnavailable, op, err)
	}
	return l, nil
}

// quicConfig refuses who comes after StopAccepting, and lets windows grow.
func (l *Listener) quicConfig(cfg ListenConfig) *quic.Config {
	conf := quicConfig(cfg.IdleTimeout, cfg.KeepAlive, 0)
	conf.MaxIncomingStreams = orDefault(cfg.MaxStreams, defaultStreams)
	conf.AllowConnectionWindowIncrease = l.allowWindow
	each := *conf
	conf.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) {
		if l.stopped.Err() != nil {
			return nil, context.Cause(l.stopped)
		}
		return &each, nil
	}
	return conf
}

// allowWindow gives a connection a part of the budget. One that was not accepted yet gets none.
func (l *Listener) allowWindow(conn *quic.Conn, delta uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conns[conn]
	if c == nil || !c.longPath() || int64(delta) > l.budget {
		return false
	}
	l.budget -= int64(delta)
	c.window += int64(delta)
	return true
}

// Accept waits for a connection. It fails with core.CodeDraining after StopAccepting, with core.CodeClosed
// after Close, and with ctx's error.
func (l *Listener) Accept(ctx context.Context) (Conn, error) {
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.stopped, cancel)()
	for {
		conn, err := l.inner.Accept(bounded)
		switch {
		case err == nil && l.stopped.Err() == nil:
			if c := l.add(conn); c != nil {
				return c, nil
			}
		case err == nil:
			refuse(conn)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case l.stopped.Err() != nil:
			return nil, context.Cause(l.stopped)
		case errors.Is(err, quic.ErrServerClosed), errors.Is(err, quic.ErrTransportClosed):
			return nil, core.NewError(core.CodeClosed, "accept", err)
		default:
			return nil, quicError("accept", err)
		}
	}
}

// add makes a connection ours until it ends; nil if the listener was closed meanwhile.
func (l *Listener) add(conn *quic.Conn) Conn {
	c := &acceptedConn{quicConn: quicConn{released: make(chan struct{})}}
	c.attach(conn)
	c.handshake = handshakeTook(conn.Context())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.conns[conn] = c
	context.AfterFunc(conn.Context(), func() {
		l.mu.Lock()
		delete(l.conns, conn)
		l.budget += c.window
		l.mu.Unlock()
		close(c.released)
	})
	return c
}

func refuse(conn *quic.Conn) {
	_ = conn.CloseWithError(quic.ApplicationErrorCode(core.CodeDraining.QUIC()), "draining")
}

// Addr is the address listened on.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// StopAccepting refuses new connections from now on; those accepted live on. Accept fails with
// core.CodeDraining, clients that dial with core.CodeUnavailable, at once.
func (l *Listener) StopAccepting() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.stopped.Err() != nil {
		return
	}
	l.stop(core.NewError(core.CodeDraining, "accept", nil))
	l.refuser.Go(func() { // those whose handshake was under way
		for {
			conn, err := l.inner.Accept(context.Background())
			if err != nil {
				return // Close was called
			}
			refuse(conn)
		}
	})
}

// Close ends all connections normally and gives the socket back. Further calls do nothing.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	var open []*acceptedConn
	for _, c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	l.stop(core.NewError(core.CodeClosed, "accept", nil))
	var closing sync.WaitGroup
	for _, c := range open {
		closing.Go(func() { c.Close(0, "the listener was closed") })
	}
	closing.Wait()
	_ = l.inner.Close()
	l.release()
	l.refuser.Wait()
	return nil
}

func (l *Listener) release() {
	_ = l.carrier.Close()
	if l.socket != nil {
		_ = l.socket.Close()
	}
}
