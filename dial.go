package leat

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/dialer"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

const maxTokenBytes = 1024

// dialOptions is the sum of the options of Dial.
type dialOptions struct {
	tls              *tls.Config
	unreachableAfter time.Duration
	name             string
	refusable        bool
	token            string
}

// DialOption is one option of Dial.
type DialOption func(*dialOptions)

// WithTLS sets certificates and trust. Without it a server on this machine is trusted by the development
// CA of this user, any other by the CAs of the system. The configuration is cloned; its ServerName is filled
// from the address if empty.
func WithTLS(cfg *tls.Config) DialOption { return func(o *dialOptions) { o.tls = cfg } }

// WithUnreachableAfter sets how long a call waits for a node that cannot be reached before it fails with
// ErrUnavailable. The default is 1.8 s, so that the answer is there within 2 s. The client goes on trying to
// connect all the same.
func WithUnreachableAfter(d time.Duration) DialOption {
	return func(o *dialOptions) { o.unreachableAfter = d }
}

// WithRefusal makes Dial fail with ErrUnavailable as soon as every address has refused twice, which machines
// do on which nothing listens, rather than wait for a server that starts a moment later.
func WithRefusal() DialOption { return func(o *dialOptions) { o.refusable = true } }

// WithToken shows the secret of a token (leat token create), which servers with tokens ask for. It travels
// encrypted, and is shown again with every connection. Dial fails with ErrUnauthenticated if no token has it,
// or the server wants one and there is none; later a publish or a read does so once the token is taken back,
// and ErrDenied is what it has no scope for. At most 1,024 bytes.
func WithToken(secret string) DialOption { return func(o *dialOptions) { o.token = secret } }

// WithClientName names the program in the server's log.
func WithClientName(name string) DialOption { return func(o *dialOptions) { o.name = name } }

// Dial connects to a server, or to one of several given as "a:4740,b:4740", and learns the other nodes from
// it. ctx bounds connecting only: if no address answers until it ends, Dial fails with ErrUnavailable. The
// bus reconnects by itself from then on.
func Dial(ctx context.Context, address string, options ...DialOption) (*Bus, error) {
	var o dialOptions
	for _, option := range options {
		option(&o)
	}
	if len(o.token) > maxTokenBytes {
		return nil, core.Errorf(core.CodeInvalidConfig, "dial "+core.Quote(address),
			"WithToken: %d bytes, want at most %d", len(o.token), maxTokenBytes)
	}
	dial := dialFunc(o.dialQUIC)
	if simulated := dialer.From(ctx); simulated != nil { // in tests
		dial = dialFunc(simulated)
	}
	return dialBus(ctx, address, dial, o)
}

// dialBus is Dial over any carrier.
func dialBus(ctx context.Context, address string, dial dialFunc, o dialOptions) (*Bus, error) {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, core.NewError(core.CodeInternal, "dial "+core.Quote(address), err)
	}
	c := newClient(address, dial, o, binary.LittleEndian.Uint64(seed[:]))
	if err := c.connect(ctx); err != nil {
		_ = c.Close() // there is nothing to drain
		return nil, err
	}
	return NewBus(c), nil
}

// dialQUIC connects to one address.
func (o *dialOptions) dialQUIC(ctx context.Context, address string) (transport.Conn, error) {
	cfg := transport.DialConfig{TLS: o.tls, Protocol: wire.ALPNClient}
	if cfg.TLS == nil && certs.IsLoopback(address) {
		var err error
		if cfg.TLS, err = certs.DevelopmentClient(""); err != nil {
			return nil, err
		}
	}
	return transport.Dial(ctx, address, cfg)
}
