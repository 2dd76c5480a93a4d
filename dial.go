package leat

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/leatbus/leat/core"
)

// dialOptions is the sum of the options of Dial.
type dialOptions struct {
	tls              *tls.Config
	unreachableAfter time.Duration
	name             string
}

// DialOption is one option of Dial.
type DialOption func(*dialOptions)

// WithTLS sets certificates and trust. Without it a server on this machine is trusted by the development
// CA of this user, any other by the CAs of the system. The configuration is cloned; its ServerName is filled
// from the address if empty.
func WithTLS(cfg *tls.Config) DialOption { return func(o *dialOptions) { o.tls = cfg } }

// WithUnreachableAfter sets how long a call waits for a node that cannot be reached before it fails with
// ErrUnavailable. The default is 2 s. The client goes on trying to connect all the same.
func WithUnreachableAfter(d time.Duration) DialOption {
	return func(o *dialOptions) { o.unreachableAfter = d }
}

// WithClientName names the program in the server's log.
func WithClientName(name string) DialOption { return func(o *dialOptions) { o.name = name } }

// Dial connects to a server, or to one of several given as "a:4740,b:4740", and learns the other nodes from
// it. ctx bounds connecting only: if no address answers until it ends, Dial fails with ErrUnavailable. The
// bus reconnects by itself from then on.
func Dial(ctx context.Context, address string, options ...DialOption) (*Bus, error) {
	return nil, core.NewError(core.CodeUnsupported, "dial "+core.Quote(address), nil)
}
