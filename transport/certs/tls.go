package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

// Option is an option of ServerTLS and ClientTLS.
type Option func(*reloader)

// WithLogger reports files that were taken up, and replacements that are broken. Without it the package is
// silent, as it has no other place to say so.
func WithLogger(logger *slog.Logger) Option {
	return func(r *reloader) {
		if logger != nil {
			r.logger = logger
		}
	}
}

// ServerTLS is the TLS configuration of a server from PEM files. With a clientCAFile every client has to
// show a certificate of one of its CAs; without ("") none is asked for. Files that change are read again at
// the next handshake, at most every 2 s: new connections get the new certificate and trust, open ones stay.
//
// Set NextProtos with ForProtocols: on a mere clone it would be missing once clientCAFile has changed.
func ServerTLS(certFile, keyFile, clientCAFile string, options ...Option) (*tls.Config, error) {
	r, err := newReloader(certFile, keyFile, clientCAFile, clock.System, options,
		x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	return r.server(), nil
}

// ClientTLS is the TLS configuration of a client from PEM files: the CAs to trust ("": those of the system)
// and the client's own certificate and key (both or neither ""). The certificate is read again after it
// changed, as for ServerTLS; the CAs are read once. The caller sets NextProtos and ServerName.
func ClientTLS(caFile, certFile, keyFile string, options ...Option) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	if caFile != "" {
		pool, err := readPool(caFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if certFile == "" && keyFile == "" {
		return cfg, nil
	}
	r, err := newReloader(certFile, keyFile, "", clock.System, options, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = r.clientCertificate
	return cfg, nil
}

// PeerTLS is the TLS configuration of a node towards the other nodes of its cluster, for both sides. It shows
// the certificate, which has to be for servers and clients, and trusts the CAs of caFile alone. As a server
// it takes up changed files as ServerTLS does; as a client it does so for the certificate only.
func PeerTLS(certFile, keyFile, caFile string, options ...Option) (*tls.Config, error) {
	if caFile == "" {
		return nil, invalid("load certificates of peers", "name the file with the CAs of the other nodes",
			errors.New("no CA is given"))
	}
	r, err := newReloader(certFile, keyFile, caFile, clock.System, options,
		x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	cfg := r.server()
	cfg.RootCAs, cfg.GetClientCertificate = cfg.ClientCAs, r.clientCertificate
	return cfg, nil
}

func (r *reloader) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return r.latest().certificate, nil
}

// ForProtocols returns a copy of cfg that speaks only protocols (ALPN), also where its GetConfigForClient
// answers another configuration.
func ForProtocols(cfg *tls.Config, protocols ...string) *tls.Config {
	clone := cfg.Clone()
	clone.NextProtos = slices.Clone(protocols)
	if inner := cfg.GetConfigForClient; inner != nil {
		clone.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := inner(hello)
			if other == nil || err != nil {
				return nil, err
			}
			other = other.Clone()
			other.NextProtos = clone.NextProtos
			return other, nil
		}
	}
	return clone
}

// material is what the files held when they were last good.
type material struct {
	certificate *tls.Certificate
	clients     *x509.CertPool // nil without a client CA
}

// server gives the configuration. While the client CA is the one read at first, the base configuration
// serves every handshake, with whatever the caller added to it.
func (r *reloader) server() *tls.Config {
	first := r.current.Load()
	base := &tls.Config{MinVersion: tls.VersionTLS13}
	base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return r.latest().certificate, nil
	}
	if first.clients == nil {
		return base
	}
	base.ClientAuth, base.ClientCAs = tls.RequireAndVerifyClientCert, first.clients
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := r.latest()
		if now.clients == first.clients {
			return nil, nil
		}
		changed := base.Clone()
		changed.ClientCAs, changed.GetConfigForClient = now.clients, nil
		return changed, nil
	}
	return base
}

// readMaterial reads the files and checks that the other side has a chance to accept them.
func (r *reloader) readMaterial() (*material, error) {
	op := "load certificate " + strconv.Quote(r.certFile)
	if r.certFile == "" || r.keyFile == "" {
		return nil, invalid(op, "give both the certificate and its key (leat cert issue makes them)",
			fmt.Errorf("certificate file %s, key file %s", strconv.Quote(r.certFile), strconv.Quote(r.keyFile)))
	}
	certPEM, err := readFile(op, r.certFile, trustBits)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(op, r.keyFile, keyBits)
	if err != nil {
		return nil, err
	}
	pair, err := keyPair(certPEM, keyPEM)
	if err == nil {
		err = usable(pair.Leaf, r.usages, wall(r.clock))
	}
	if err != nil {
		return nil, invalid(op, "give a valid PEM certificate and the key it was made for "+
			"(leat cert show FILE tells what it is)", err)
	}
	m := &material{certificate: &pair}
	if r.clientCAFile != "" {
		if m.clients, err = readPool(r.clientCAFile); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// usable says what keeps the other side from accepting a certificate. One without usages is for all of them.
func usable(leaf *x509.Certificate, usages []x509.ExtKeyUsage, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	case len(leaf.ExtKeyUsage) == 0 || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return nil
	}
	for _, usage := range usages {
		switch {
		case slices.Contains(leaf.ExtKeyUsage, usage):
		case usage == x509.ExtKeyUsageServerAuth:
			return errors.New("it is not for servers")
		default:
			return errors.New("it is not for clients")
		}
	}
	return nil
}
