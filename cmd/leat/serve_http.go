package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/leatbus/leat/core"
)

// httpOff as an address means that there is no HTTP door.
const httpOff = "off"

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
	config, err := doorTLS(cfg, "--http", address)
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
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
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
