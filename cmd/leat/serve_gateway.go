package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	httpdoor "github.com/leatbus/leat/gateway/http"
	"github.com/leatbus/leat/gateway/push"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport/certs"
)

// gateway is the open HTTP door for messages, or none where it is nil.
type gateway struct {
	door *httpdoor.Door
	bus  *leat.Bus // dialed, to be closed with the door; nil where it is the node's
}

// openGateway opens the HTTP door for messages. Embedded buses do not forward, so a node of a cluster reaches
// the partitions of the others as a client of its own.
func openGateway(
	ctx context.Context, bus *leat.Bus, cfg *serveConfig, logger *slog.Logger,
) (*gateway, error) {
	if cfg.Listen.Gateway == httpOff {
		return nil, nil
	}
	config, err := gatewayTLS(cfg)
	if err != nil {
		return nil, err
	}
	g := &gateway{}
	door := httpdoor.Config{Listen: cfg.Listen.Gateway, TLS: config, Logger: logger,
		Version: thisBuild().Version, Limits: httpdoor.Limits{Connections: cfg.Limits.Connections},
		Push: &push.Options{Dir: filepath.Join(cfg.Node.Data, "push"), AllowHTTP: cfg.Push.AllowHTTP,
			Guard: push.Guard{Allow: cfg.Push.Allow}}}
	if door.LoanKey, err = loanKey(cfg.Listen.GatewayKey, cfg.Node.Data); err != nil {
		return nil, err
	}
	if cfg.Listen.GatewayTokens != "" {
		tokens, err := openTokens(cfg.Listen.GatewayTokens, clock.System, logger)
		if err != nil {
			return nil, err
		}
		door.Tokens = tokens.principal
	}
	if len(cfg.Cluster.Peers) > 0 {
		if g.bus, err = dialSelf(ctx, cfg); err != nil {
			return nil, fmt.Errorf("leat: reach the cluster for --gateway: %w", err)
		}
		bus = g.bus
	}
	g.door, err = httpdoor.Open(bus, door)
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// dialSelf connects to the address of this node that clients are told.
func dialSelf(ctx context.Context, cfg *serveConfig) (*leat.Bus, error) {
	address := cmp.Or(cfg.Cluster.Advertise, cfg.Cluster.Peers[uint16(cfg.Node.ID)])
	options := []leat.DialOption{leat.WithClientName("the HTTP door of node " + fmt.Sprint(cfg.Node.ID))}
	if cfg.Cluster.PeerCA != "" {
		config, err := certs.ClientTLS(cfg.Cluster.PeerCA, cfg.TLS.Cert, cfg.TLS.Key)
		if err != nil {
			return nil, err
		}
		options = append(options, leat.WithTLS(config))
	}
	if cfg.Listen.GatewaySecret != "" {
		secret, err := readSecret(cfg.Listen.GatewaySecret)
		if err != nil {
			return nil, err
		}
		options = append(options, leat.WithToken(secret))
	}
	return leat.Dial(ctx, address, options...)
}

// gatewayTLS is doorTLS, but tokens do for certificates of clients.
func gatewayTLS(cfg *serveConfig) (*tls.Config, error) {
	if cfg.Listen.GatewayTokens == "" || cfg.TLS.Cert == "" || certs.IsLoopback(cfg.Listen.Gateway) {
		return doorTLS(cfg, "--gateway", cfg.Listen.Gateway)
	}
	return certs.ServerTLS(cfg.TLS.Cert, cfg.TLS.Key, cfg.TLS.ClientCA)
}

// doorTLS is nil on this machine; beyond it there are certificates of both sides, as at the QUIC door.
func doorTLS(cfg *serveConfig, flag, address string) (*tls.Config, error) {
	if certs.IsLoopback(address) {
		return nil, nil
	}
	if cfg.TLS.Cert == "" || cfg.TLS.ClientCA == "" {
		return nil, core.Errorf(core.CodeInsecure, "serve HTTP on "+core.Quote(address),
			"want --tls-cert, --tls-key and --tls-client-ca beyond this machine, or %s off", flag)
	}
	return certs.ServerTLS(cfg.TLS.Cert, cfg.TLS.Key, cfg.TLS.ClientCA)
}

// address is where the door is, with the port that the system chose.
func (g *gateway) address() string {
	if g == nil {
		return httpOff
	}
	return g.door.Addr().String()
}

// close answers what is under way.
func (g *gateway) close() error {
	if g == nil {
		return nil
	}
	var err error
	if g.door != nil {
		err = g.door.Close()
	}
	if g.bus != nil {
		err = errors.Join(err, g.bus.Close())
	}
	return err
}
