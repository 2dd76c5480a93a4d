package node

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// ServeConfig says where and how a bus is served. The zero value serves this machine.
type ServeConfig struct {
	Listen    string        // UDP address; empty: 127.0.0.1:4740
	Advertise string        // address that clients are told; empty: Listen, which must not be unspecified then
	TLS       *tls.Config   // nil: a certificate of the user's development CA, for loopback only
	DrainFor  time.Duration // how long Close waits for clients; 0: 10 s
	Limits    ServeLimits
}

// ServeLimits bound what clients can take. What is zero gets its default.
type ServeLimits struct {
	Connections     int   // open at once; 10,000
	Streams         int   // per connection; 1,024
	UnansweredBytes int64 // of PRODUCE frames, per connection; 8 MiB
}

// Server is the QUIC door of an embedded node.
type Server struct{}

// Serve opens the door of a bus that node.Open returned; ErrNotEmbedded for any other. An address that
// other machines reach needs TLS with a certificate and ClientCAs, else ErrInsecure. ctx bounds opening
// only. Close the server before the bus.
func Serve(ctx context.Context, bus *leat.Bus, cfg ServeConfig) (*Server, error) {
	return nil, core.NewError(core.CodeUnsupported, "serve", nil)
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return nil }

// Close drains: it takes nothing new, lets members give their partitions back, answers what is in flight,
// and ends all connections, after DrainFor at the latest. The bus stays open.
func (s *Server) Close() error { return nil }
