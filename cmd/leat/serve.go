package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/cmd/leat/internal/observe"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/node"
	"github.com/leatbus/leat/transport/certs"
)

func newServe(a *app) *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node that clients reach over QUIC",
		Long: "Opens the bus in a folder and serves it until SIGTERM or SIGINT, which drain: members give their\n" +
			"partitions back, what is in flight is answered, and the exit code is 0. A second signal ends it at\n" +
			"once. When it serves, one line with the word ready is on standard error.\n\n" +
			"With --node and --peers it is one of several nodes that share the partitions of all topics; each is\n" +
			"given the same --peers and --cluster.\n\n" +
			"Without certificates only this machine is served, with a certificate of the development CA of this\n" +
			"user; beyond it --tls-cert and --tls-key are needed, and --tls-client-ca or --tokens (leat cert and\n" +
			"leat token make them).\n" +
			"--gateway opens the HTTP door for messages; /openapi.json there describes it.\n" +
			"On --http there are /metrics, /livez, and /readyz, which is 503 with reasons while it does not serve.\n" +
			"Flags win over LEAT_ variables, which win over the file of --config.",
		Example: examples("leat serve", "leat serve --data orders --listen 127.0.0.1:4750 --http off",
			"leat serve --gateway 127.0.0.1:4742",
			"leat serve --node 1 --peers 1=127.0.0.1:4740,2=127.0.0.1:4742,3=127.0.0.1:4744"),
		Args: noArguments,
	}
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, _, err := flags.load(cmd, os.Environ())
		if err != nil {
			return err
		}
		return a.serve(cmd.Context(), &cfg)
	}
	return cmd
}

// logger writes text for people on a terminal, JSON for programs elsewhere.
func (a *app) logger(level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if a.stderrTerminal {
		return slog.New(slog.NewTextHandler(a.stderr, options))
	}
	return slog.New(slog.NewJSONHandler(a.stderr, options))
}

// serve runs a node until ctx ends.
func (a *app) serve(ctx context.Context, cfg *serveConfig) error {
	logger := a.logger(cfg.Log.Level)
	start := a.clock.Mono()
	build := thisBuild()
	observer := observe.New(observe.Config{Data: cfg.Node.Data, Clock: a.clock,
		Version: build.Version, Revision: build.Commit, Go: build.Go})
	// The door for health opens first, so that it can tell that the node starts. That it cannot be opened
	// counts only once the folder is ours: a second process should be told about the folder.
	door, doorErr := openHTTP(cfg, observer.Handler(certs.IsLoopback(cfg.Listen.HTTP)), logger)
	defer door.close()
	bus, err := openNode(ctx, cfg, logger)
	if err != nil {
		return quietly(ctx, err)
	}
	server, err := openServer(ctx, bus, cfg, logger, doorErr)
	if err != nil {
		return quietly(ctx, errors.Join(err, bus.Close()))
	}
	messages, err := openGateway(ctx, bus, cfg, logger)
	if err != nil {
		return quietly(ctx, errors.Join(err, server.Close(), bus.Close()))
	}
	for _, warning := range warnings(cfg) {
		logger.Warn(warning)
	}
	observer.Serves(bus)
	took := time.Duration(a.clock.Mono() - start).Round(time.Millisecond)
	// Whatever the level: scripts wait for this line.
	a.logger(min(cfg.Log.Level, slog.LevelInfo)).Info("ready", "listen", server.Addr().String(),
		"http", door.address(), "gateway", messages.address(), "data", cfg.Node.Data, "took", took.String(),
		"version", build.Version)
	<-ctx.Done()
	observer.Drains()
	logger.Info("draining; a second signal ends at once")
	err = errors.Join(messages.close(), server.Close(), bus.Close())
	if err == nil {
		logger.Info("stopped")
	}
	return err
}

// openNode opens the folder, of a node that is alone or of one of several.
func openNode(ctx context.Context, cfg *serveConfig, logger *slog.Logger) (*leat.Bus, error) {
	options := []node.Option{node.WithLogger(logger), node.WithScrubEvery(cfg.Log.ScrubEvery)}
	if cfg.Log.OnDamage == "skip" {
		options = append(options, node.WithOnDamage(mmaplog.SkipWithGap))
	}
	if c := &cfg.Cluster; len(c.Peers) > 0 {
		cluster := node.ClusterConfig{
			Node: uint16(cfg.Node.ID), Name: c.Name, Peers: c.Peers, Advertise: c.Advertise,
		}
		if c.PeerCA != "" {
			var err error
			if cluster.PeerTLS, err = certs.PeerTLS(cfg.TLS.Cert, cfg.TLS.Key, c.PeerCA); err != nil {
				return nil, err
			}
		}
		options = append(options, node.WithCluster(cluster))
	}
	return node.Open(ctx, cfg.Node.Data, options...)
}

// quietly makes the end of ctx no failure: whoever starts a server may also stop it before it serves.
func quietly(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// openServer opens the QUIC door; doorErr says why there is no other one.
func openServer(
	ctx context.Context, bus *leat.Bus, cfg *serveConfig, logger *slog.Logger, doorErr error,
) (*node.Server, error) {
	if doorErr != nil {
		return nil, doorErr
	}
	c := node.ServeConfig{
		Listen: cfg.Listen.QUIC, Advertise: cfg.Cluster.Advertise,
		Limits: node.ServeLimits{Connections: cfg.Limits.Connections, Streams: cfg.Limits.Streams},
	}
	if cfg.TLS.Cert != "" {
		var err error
		if c.TLS, err = certs.ServerTLS(cfg.TLS.Cert, cfg.TLS.Key, cfg.TLS.ClientCA); err != nil {
			return nil, err
		}
	}
	if cfg.Listen.Tokens != "" {
		tokens, err := openTokens(cfg.Listen.Tokens, clock.System, logger)
		if err != nil {
			return nil, err
		}
		c.Tokens = tokens.principal
	}
	return node.Serve(ctx, bus, c)
}
