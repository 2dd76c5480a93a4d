package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/quic-go/quic-go"
)

// DialConfig says how to dial. Its zero value lacks only Protocol.
type DialConfig struct {
	TLS      *tls.Config // cloned; ServerName is filled from the address if empty; nil trusts the system's CAs
	Protocol string      // the ALPN name

	// IdleTimeout is the silence after which the connection is lost; 0: 10 s. The shorter of both sides counts.
	IdleTimeout      time.Duration
	KeepAlive        time.Duration // pause after which one side tells that it lives; 0: 3 s
	HandshakeTimeout time.Duration // per address that the name has; 0: 2 s

	// PacketConn carries the connection if not nil. The caller closes it, after the connection has ended.
	// By default the connection has a UDP socket of its own, which is closed with it.
	PacketConn net.PacketConn
}

// Dial connects to address, as in "host:4740", trying the addresses of a name in turn. Only the dialing side
// opens streams. ctx bounds connecting.
//
// Errors: core.CodeUnavailable if nothing answers, or the name has no address; core.CodeUntrusted if the
// certificate of the other side does not verify; core.CodeDenied if it wants a certificate that this side
// does not have; core.CodeUnsupported if it does not speak the protocol. The other side judges this
// side's certificate after Dial has returned: CodeDenied comes from Conn.Err and the streams then.
func Dial(ctx context.Context, address string, cfg DialConfig) (Conn, error) {
	op := "dial " + core.Quote(address)
	if cfg.Protocol == "" {
		return nil, core.Errorf(core.CodeInvalidConfig, op, "DialConfig.Protocol is empty")
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, core.NewError(core.CodeInvalidConfig, op, err)
	}
	tlsConfig := tlsFor(cfg.TLS, []string{cfg.Protocol})
	if tlsConfig.ServerName == "" {
		tlsConfig.ServerName = host
	}
	targets, err := resolve(ctx, address)
	if err != nil {
		return nil, core.NewError(core.CodeUnavailable, op, err)
	}
	for _, target := range targets {
		var conn Conn
		conn, err = dialOne(ctx, op, target, tlsConfig, cfg)
		if err == nil || ctx.Err() != nil || core.CodeOf(err) != core.CodeUnavailable {
			return conn, err
		}
	}
	return nil, err
}

// resolve gives at least one address, IPv4 first.
func resolve(ctx context.Context, address string) ([]*net.UDPAddr, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(ips, func(a, b netip.Addr) int {
		return cmp.Compare(a.Unmap().BitLen(), b.Unmap().BitLen())
	})
	var targets []*net.UDPAddr
	for _, ip := range ips {
		targets = append(targets, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(port))))
	}
	return targets, nil
}

// dialOne connects to one address.
func dialOne(ctx context.Context, op string, target *net.UDPAddr, tlsConfig *tls.Config, cfg DialConfig) (
	Conn, error) {
	timeout := orDefault(cfg.HandshakeTimeout, defaultHandshake)
	quicCfg := quicConfig(cfg.IdleTimeout, cfg.KeepAlive, timeout)
	c := &quicConn{released: make(chan struct{})}
	quicCfg.AllowConnectionWindowIncrease = func(*quic.Conn, uint64) bool { return c.longPath() }

	socket, owned := cfg.PacketConn, false
	if socket == nil {
		var err error
		if socket, err = dialSocket(target); err != nil {
			return nil, core.NewError(core.CodeUnavailable, op, err)
		}
		owned = true
	}
	carrier := &quic.Transport{Conn: socket}
	release := func() {
		_ = carrier.Close()
		if owned {
			_ = socket.Close()
		}
		close(c.released)
	}

	bounded, cancel := context.WithTimeoutCause(ctx, timeout,
		core.Errorf(core.CodeUnavailable, op, "%v did not answer within %v", target, timeout))
	defer cancel()
	conn, err := carrier.Dial(bounded, target, tlsConfig, quicCfg)
	if err != nil {
		release()
		if ctx.Err() != nil { // the caller's patience, not ours
			return nil, core.NewError(core.CodeUnavailable, op, context.Cause(ctx))
		}
		return nil, quicError(op, err)
	}
	c.attach(conn)
	context.AfterFunc(conn.Context(), release)
	return c, nil
}
