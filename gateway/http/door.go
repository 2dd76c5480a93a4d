package httpdoor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/net/netutil"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/gateway/push"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport/certs"
)

const (
	defaultListen = "127.0.0.1:4742"
	defaultDrain  = 10 * time.Second

	headerWait  = 5 * time.Second  // for the headers of a request
	requestWait = 90 * time.Second // for the whole of a request, and for its answer, unless it is a stream
	idleWait    = 2 * time.Minute  // between two requests of a connection
	headerBytes = 64 << 10
)

// Config says where and how a bus is opened to HTTP. The zero value serves this machine.
type Config struct {
	Listen string      // TCP address; empty: 127.0.0.1:4742
	TLS    *tls.Config // nil: plain HTTP, loopback only
	Hosts  []string    // names without port by which clients may call the door, besides those of Listen
	// Tokens gives who shows a secret, nil if nobody does; it must not block for long. With it every request
	// needs a token, which is enough beyond this machine; without it everyone may do everything.
	Tokens func(secret string) *core.Principal
	// Push is where push subscriptions are kept and what they may reach; nil: the door has none. Its Logger is
	// that of the door.
	Push *push.Options
	// LoanKey signs the tokens of messages that are pulled, LoanKeyBytes at least. Doors with one key take each
	// other's tokens; nil is a random one, with which they are good as long as this door.
	LoanKey  []byte
	DrainFor time.Duration // how long Close waits for requests under way; 0: 10 s
	Limits   Limits
	Version  string       // of the build, for /openapi.json
	Logger   *slog.Logger // nil: silent
}

// Limits bound what clients can take. What is zero gets its default.
type Limits struct {
	Connections  int   // open at once; 10,000
	Streams      int   // requests at once that end when the client wants, or wait for messages; 1,024
	BodyBytes    int64 // of a request that is no stream, also after decompression; 16 MiB
	PendingBytes int64 // of bodies in memory at once; 256 MiB
}

func (l Limits) withDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, 10_000)
	l.Streams = cmp.Or(l.Streams, 1024)
	l.BodyBytes = cmp.Or(l.BodyBytes, core.MaxRecordBytes)
	l.PendingBytes = cmp.Or(l.PendingBytes, 256<<20)
	return l
}

// Door is an open HTTP door.
type Door struct {
	bus       *leat.Bus
	limits    Limits
	drain     time.Duration
	hosts     map[string]bool // nil: any
	logger    *slog.Logger
	clock     clock.Clock
	heartbeat time.Duration
	pongWait  time.Duration // for a WebSocket to answer a ping
	producers *producers
	jobs      jobs
	pusher    *push.Pusher                        // nil: no push subscriptions
	tokens    func(secret string) *core.Principal // nil: everyone may do everything
	sealer    sealer

	mux      *http.ServeMux
	api      huma.API
	server   *http.Server
	listener net.Listener

	streams atomic.Int64 // open
	sockets sync.WaitGroup
	pending atomic.Int64 // bytes of bodies

	once  sync.Once
	ctx   context.Context // ends when the door closes: streams end then
	stop  context.CancelFunc
	ended chan struct{} // closed when nothing is accepted any more
}

// Open opens a door to a bus. An address that other machines reach needs TLS with a certificate, and Tokens
// or ClientCAs, else ErrInsecure. ErrInvalidConfig names the field. Close the door before the bus.
func Open(bus *leat.Bus, cfg Config) (*Door, error) {
	cfg.Listen = cmp.Or(cfg.Listen, defaultListen)
	if err := cfg.check(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, core.NewError(core.CodeInvalidConfig, "serve HTTP on "+core.Quote(cfg.Listen), err)
	}
	pusher, err := openPusher(bus, &cfg)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	d := newDoor(bus, &cfg, pusher)
	d.listener = listener
	listener = netutil.LimitListener(listener, d.limits.Connections)
	if cfg.TLS != nil {
		tlsConfig := cfg.TLS.Clone()
		tlsConfig.NextProtos = []string{"h2", "http/1.1"}
		listener = tls.NewListener(listener, tlsConfig)
	}
	go func() {
		defer close(d.ended)
		if err := d.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			d.logger.Error("the HTTP door has failed", "error", err)
		}
	}()
	return d, nil
}

// openPusher opens the push subscriptions, if there are to be any.
func openPusher(bus *leat.Bus, cfg *Config) (*push.Pusher, error) {
	if cfg.Push == nil {
		return nil, nil
	}
	options := *cfg.Push
	options.Logger = cfg.Logger
	return push.Open(bus, options)
}

func (cfg *Config) check() error {
	op := "serve HTTP on " + core.Quote(cfg.Listen)
	switch l := &cfg.Limits; {
	case cfg.DrainFor < 0:
		return core.Errorf(core.CodeInvalidConfig, op, "DrainFor %v: want 0 or more", cfg.DrainFor)
	case l.Connections < 0 || l.Streams < 0 || l.BodyBytes < 0 || l.PendingBytes < 0:
		return core.Errorf(core.CodeInvalidConfig, op, "Limits %+v: want 0 or more", *l)
	case cfg.LoanKey != nil && len(cfg.LoanKey) < LoanKeyBytes:
		return core.Errorf(core.CodeInvalidConfig, op, "LoanKey of %d bytes: want at least %d", len(cfg.LoanKey),
			LoanKeyBytes)
	}
	if _, _, err := net.SplitHostPort(cfg.Listen); err != nil {
		return core.NewError(core.CodeInvalidConfig, op, fmt.Errorf("Listen: want host:port: %w", err))
	}
	if certs.IsLoopback(cfg.Listen) {
		return nil
	}
	t := cfg.TLS
	if t != nil && (cfg.Tokens != nil || t.ClientCAs != nil && t.ClientAuth == tls.RequireAndVerifyClientCert) {
		return nil
	}
	return core.Errorf(core.CodeInsecure, op,
		"want TLS with a certificate, and Tokens or ClientCAs with RequireAndVerifyClientCert")
}

// newDoor makes a door that listens nowhere.
func newDoor(bus *leat.Bus, cfg *Config, pusher *push.Pusher) *Door {
	d := &Door{
		bus: bus, limits: cfg.Limits.withDefaults(), drain: cmp.Or(cfg.DrainFor, defaultDrain),
		hosts: cfg.hostNames(), logger: cfg.Logger, clock: clock.System,
		heartbeat: heartbeatWait, pongWait: writeWait,
		producers: newProducers(bus), tokens: cfg.Tokens, sealer: newSealer(cfg.LoanKey), pusher: pusher,
		mux: http.NewServeMux(), ended: make(chan struct{}),
	}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	d.jobs.prefix = strconv.FormatInt(d.clock.Now(), 36)
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.api = newAPI(d.mux, cfg.Version)
	d.routes()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	d.server = &http.Server{
		Handler: d, ReadHeaderTimeout: headerWait, ReadTimeout: requestWait, WriteTimeout: requestWait,
		IdleTimeout: idleWait, MaxHeaderBytes: headerBytes, Protocols: &protocols,
		ErrorLog: slog.NewLogLogger(d.logger.Handler(), slog.LevelDebug), // of what clients do wrong
	}
	return d
}

// Addr is where the door listens, with the port that the system chose.
func (d *Door) Addr() net.Addr { return d.listener.Addr() }

// Close ends streams, jobs and push subscriptions, answers what is under way, for DrainFor at most, and frees
// the producers.
// Further calls wait for the first. It returns nil.
func (d *Door) Close() error {
	d.once.Do(func() {
		d.stop()
		ctx, cancel := context.WithTimeout(context.Background(), d.drain)
		defer cancel()
		if d.server.Shutdown(ctx) != nil {
			_ = d.server.Close() // whoever has not finished by now is cut off
		}
		d.sockets.Wait() // their connections are not the server's any more
		<-d.ended
		if d.pusher != nil {
			deadline, _ := ctx.Deadline()
			d.pusher.Close(deadline.Sub(time.Unix(0, d.clock.Now())))
		}
		d.jobs.close()
		d.producers.close()
	})
	return nil
}
