package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/certs"
)

// httpOff as an address means that there is no HTTP door.
const httpOff = "off"

// newHTTP is everything the HTTP door answers.
func newHTTP(h *health) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"live": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		doc, status := h.state(r.Context()), http.StatusOK
		if !doc.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, doc)
	})
	return mux
}

func answer(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc) // the client may be gone, and nobody else wants to know
}

// healthDoc is the answer of /readyz; the keys are stable.
type healthDoc struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"` // why not
}

// health knows how far the node is.
type health struct {
	mu     sync.Mutex // guards the following
	bus    *leat.Bus  // nil before it serves
	reason string     // why it does not serve, empty if it does
}

func newHealth() *health { return &health{reason: "starting"} }

func (h *health) serves(bus *leat.Bus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bus, h.reason = bus, ""
}

func (h *health) drains() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bus, h.reason = nil, "draining"
}

// state tells whether all partitions of this node can be published to.
func (h *health) state(ctx context.Context) healthDoc {
	h.mu.Lock()
	bus, reason := h.bus, h.reason
	h.mu.Unlock()
	if reason != "" {
		return healthDoc{Reasons: []string{reason}}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	topics, err := bus.Topics(ctx)
	if err != nil {
		return healthDoc{Reasons: []string{err.Error()}}
	}
	var reasons []string
	for i := range topics {
		for _, p := range topics[i].Partitions {
			if p.Err != nil && !errors.Is(p.Err, leat.ErrNotLeader) {
				reasons = append(reasons, p.Err.Error())
			}
		}
	}
	return healthDoc{Ready: reasons == nil, Reasons: reasons}
}

// httpDoor is an open HTTP door, or none where it is nil or off.
type httpDoor struct {
	listener net.Listener
	server   *http.Server
	ended    chan struct{}
}

// openHTTP serves handler. Beyond this machine it wants certificates of both sides, as the QUIC door does.
func openHTTP(cfg *serveConfig, handler http.Handler, logger *slog.Logger) (*httpDoor, error) {
	address := cfg.Listen.HTTP
	if address == httpOff {
		return nil, nil
	}
	config, err := httpTLS(cfg)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &inputError{
			err:  fmt.Errorf("leat: serve HTTP on %s: %w", core.Quote(address), err),
			hint: "give another address with --http, or --http off",
		}
	}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	d := &httpDoor{listener: listener, ended: make(chan struct{}), server: &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}}
	go func() {
		defer close(d.ended)
		if err := d.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the HTTP door has failed", "error", err)
		}
	}()
	return d, nil
}

// httpTLS is nil on this machine.
func httpTLS(cfg *serveConfig) (*tls.Config, error) {
	if certs.IsLoopback(cfg.Listen.HTTP) {
		return nil, nil
	}
	if cfg.TLS.Cert == "" || cfg.TLS.ClientCA == "" {
		return nil, core.Errorf(core.CodeInsecure, "serve HTTP on "+core.Quote(cfg.Listen.HTTP),
			"want --tls-cert, --tls-key and --tls-client-ca beyond this machine, or --http off")
	}
	return certs.ServerTLS(cfg.TLS.Cert, cfg.TLS.Key, cfg.TLS.ClientCA)
}

// address is where the door is, with the port that the system chose.
func (d *httpDoor) address() string {
	if d == nil {
		return httpOff
	}
	return d.listener.Addr().String()
}

// close ends what is under way: nothing of it takes long or changes anything.
func (d *httpDoor) close() {
	if d == nil {
		return
	}
	_ = d.server.Close() // the listener is closed, and that is all
	<-d.ended
}
