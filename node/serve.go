package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/histogram"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

const defaultListen = "127.0.0.1:4740"

// keepAlive is how long a connection is quiet before one side tells that it lives. The silence after which it
// is lost begins then, so that a member that vanishes is gone when its session ends.
const keepAlive = 3 * time.Second

// ServeConfig says where and how a bus is served. The zero value serves this machine.
type ServeConfig struct {
	Listen    string        // UDP address; empty: 127.0.0.1:4740
	Advertise string        // address that clients are told; empty: Listen, which must not be unspecified then
	TLS       *tls.Config   // nil: one of the user's development CA, or of one in the data folder; loopback only
	DrainFor  time.Duration // how long Close waits for clients; 0: 10 s
	Limits    ServeLimits
	// Tokens tells who shows a secret (leat.WithToken); nil: nobody does. It is called for each connection,
	// stream and request, by several goroutines at once. Without Tokens every client may do everything, else
	// what core.Authorize says; a connection whose token is taken back or changed ends within seconds.
	Tokens func(secret string) *core.Principal

	packets net.PacketConn // in tests: listened on instead of a socket at Listen
}

// ServeLimits bound what clients can take. What is zero gets its default.
type ServeLimits struct {
	Connections     int   // open at once; 10,000
	Streams         int   // per connection; 1,024
	UnansweredBytes int64 // of PRODUCE frames, per connection; 8 MiB
}

func (l ServeLimits) withDefaults() ServeLimits {
	if l.Connections == 0 {
		l.Connections = 10_000
	}
	if l.Streams == 0 {
		l.Streams = 1024
	}
	if l.UnansweredBytes == 0 {
		l.UnansweredBytes = 8 << 20
	}
	return l
}

// Server is the QUIC door of an embedded node.
type Server struct {
	node    *Node
	limits  ServeLimits
	drain   time.Duration
	id      uint16                              // of the node
	version string                              // of the build
	start   string                              // names this run
	tokens  func(secret string) *core.Principal // nil: every client may do everything
	stats   serverStats
	shown   *tls.Config    // has the certificate that clients are shown
	dialed  sync.WaitGroup // connections to other nodes

	shownPeers *tls.Config                           // the same for other nodes; nil if there are none
	peer       func(context.Context, transport.Conn) // serves connections of other nodes; nil if there are none

	listener  *transport.Listener // nil where a test brings the connections
	opening   chan struct{}       // closed when listener and peer are what they will be; nil like it
	closeOnce sync.Once

	ctx  context.Context // ends when nothing is waited for any more
	stop context.CancelFunc
	work sync.WaitGroup // connections and what serves them all

	mu         sync.Mutex // guards the following
	sessions   map[*session]struct{}
	pending    int // sessions without HELLO
	isDraining bool
	producers  map[producerKey]*producerStream
}

// newServer makes a server without a listener.
func newServer(n *Node, cfg ServeConfig) *Server {
	s := &Server{
		node: n, limits: cfg.Limits.withDefaults(), drain: cfg.DrainFor, start: newRunName(), tokens: cfg.Tokens,
		sessions: make(map[*session]struct{}), producers: make(map[producerKey]*producerStream),
	}
	s.stats.ackPage, s.stats.ackDisk = histogram.Durations(), histogram.Durations()
	s.stats.conns = connStats{client: newCarried(), peer: newCarried()}
	if s.drain == 0 {
		s.drain = closeWait
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.work.Go(s.pushMaps)
	if s.tokens != nil {
		s.work.Go(s.watchTokens)
	}
	return s
}

// Serve opens the door of a bus that node.Open returned; ErrNotEmbedded for any other. An address that
// other machines reach needs TLS with a certificate, and ClientCAs or Tokens, else ErrInsecure; a cluster
// that spans machines needs certificates of the nodes. A node of a cluster looks for the others from then on.
// ctx bounds opening only. Close the server before the bus, which has one at a time.
func Serve(ctx context.Context, bus *leat.Bus, cfg ServeConfig) (*Server, error) {
	n, ok := bus.Backend().(*Node)
	if !ok {
		return nil, core.NewError(core.CodeNotEmbedded, "serve", nil)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if n.cluster != nil {
		cfg.Advertise = cmp.Or(cfg.Advertise, n.cluster.Advertise)
	}
	if err := cfg.complete(n.certsDir()); err != nil {
		return nil, err
	}
	shown := cfg.TLS
	dial, peers, err := n.joinTLS(&cfg)
	if err != nil {
		return nil, err
	}
	reset, token, err := n.serverKeys()
	if err != nil {
		return nil, err
	}
	s := newServer(n, cfg)
	s.opening = make(chan struct{})
	s.shown, s.shownPeers = shown, peers
	if err := n.serveWith(s); err != nil {
		s.stop()
		s.work.Wait()
		return nil, err
	}
	if err := s.open(cfg, dial, reset, token); err != nil {
		_ = s.Close() // always nil
		return nil, err
	}
	return s, nil
}

// open listens. Close waits for the end of it, so that it finds everything that there is to give back.
func (s *Server) open(cfg ServeConfig, dial dialPeer, reset, token [32]byte) (err error) {
	defer close(s.opening)
	n := s.node
	s.listener, err = transport.Listen(cfg.Listen, transport.ListenConfig{
		TLS: cfg.TLS, Protocols: []string{wire.ALPNClient, wire.ALPNPeer}, ResetKey: reset, TokenKey: token,
		MaxStreams: int64(s.limits.Streams) + 1, // and the control stream
		Refused:    s.stats.distrust,
		// Clients tell that they live; that the server does so too would cost a thousand idle ones twice.
		KeepAlive: -1, IdleTimeout: time.Duration(core.SessionTimeoutNanos) - keepAlive,
		PacketConn: cfg.packets,
	})
	if err != nil {
		return err
	}
	if cfg.Advertise == "" {
		cfg.Advertise = s.listener.Addr().String() // with the port that the system chose
	}
	if n.cluster == nil {
		n.nodes.set(aloneMap(cfg.Advertise))
	} else {
		s.startPeers(dial, cfg.Advertise)
	}
	s.work.Go(s.acceptConns)
	return nil
}

// complete checks a configuration and fills what is empty. certsDir has the development CA.
func (cfg *ServeConfig) complete(certsDir string) error {
	if cfg.Listen == "" {
		cfg.Listen = defaultListen
	}
	op := "serve on " + core.Quote(cfg.Listen)
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return core.NewError(core.CodeInvalidConfig, op, fmt.Errorf("Listen: want host:port: %w", err))
	}
	if ip := net.ParseIP(host); cfg.Advertise == "" && (host == "" || ip != nil && ip.IsUnspecified()) {
		return core.Errorf(core.CodeInvalidConfig, op,
			"Advertise is empty: clients must be told an address that is not all of them")
	}
	switch l := &cfg.Limits; {
	case cfg.DrainFor < 0:
		return core.Errorf(core.CodeInvalidConfig, op, "DrainFor %v: want 0 or more", cfg.DrainFor)
	case l.Connections < 0 || l.Streams < 0 || l.UnansweredBytes < 0:
		return core.Errorf(core.CodeInvalidConfig, op, "Limits %+v: want 0 or more", *l)
	}
	if t := cfg.TLS; !certs.IsLoopback(cfg.Listen) && (t == nil || cfg.Tokens == nil &&
		(t.ClientCAs == nil || t.ClientAuth != tls.RequireAndVerifyClientCert)) {
		return core.Errorf(core.CodeInsecure, op,
			"TLS must have a certificate, and ClientCAs and RequireAndVerifyClientCert unless there are Tokens")
	}
	if cfg.TLS == nil {
		cfg.TLS, err = certs.DevelopmentServer(certsDir, hostOf(cfg.Listen)...)
	}
	return err
}

// acceptConns serves connections until Close.
func (s *Server) acceptConns() {
	for {
		conn, err := s.listener.Accept(s.ctx)
		if err != nil {
			return
		}
		s.work.Go(func() { s.serveConn(s.ctx, conn) })
	}
}

// serveWith makes s the server of the node.
func (n *Node) serveWith(s *Server) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unserved {
		return core.NewError(core.CodeClosed, "serve", nil)
	}
	if n.server != nil {
		return core.Errorf(core.CodeInvalidConfig, "serve", "the bus has a server already: close it first")
	}
	n.server = s
	return nil
}

func (n *Node) serverClosed(s *Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == s {
		n.server = nil
	}
}

// closeServer ends the server that is still open when the bus closes. No other comes after it.
func (n *Node) closeServer() {
	n.mu.Lock()
	n.unserved = true
	n.mu.Unlock()
	if s := n.serverNow(); s != nil {
		_ = s.Close() // always nil
	}
}

// serverNow is the open server of the node, nil if there is none.
func (n *Node) serverNow() *Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }
