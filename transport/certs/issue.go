package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/leatbus/leat/core"
)

// ValidMax bounds the life of an issued certificate: one year, a leap day included.
const ValidMax = 366 * day

// validDefault is how long a certificate lives unless its Spec says otherwise or its CA ends before.
const validDefault = 365 * day

// Spec describes a certificate to issue.
type Spec struct {
	CommonName string        // for people; it grants nothing to servers
	Hosts      []string      // DNS names and IP addresses it is valid for
	URIs       []string      // identities; a peer has leat://<cluster>/<node>
	Server     bool          // may serve
	Client     bool          // may connect; a peer does both
	Valid      time.Duration // from now, at most ValidMax; 0: one year, or what the CA has left
}

// Certificate is an issued certificate with its private key.
type Certificate struct {
	CertPEM []byte
	KeyPEM  []byte
	pair    tls.Certificate
}

// TLS is the certificate as crypto/tls takes it, with Leaf set.
func (c *Certificate) TLS() tls.Certificate { return c.pair }

// Issue makes a key and a certificate for it. ErrInvalidConfig names what the spec lacks, or what the
// authority may not sign.
func (a *Authority) Issue(spec Spec) (*Certificate, error) {
	op := "issue certificate " + core.Quote(spec.CommonName)
	template, err := a.template(op, spec)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, core.NewError(core.CodeInternal, op, err)
	}
	certPEM, err := sign(template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, core.NewError(core.CodeInvalidConfig, op, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, core.NewError(core.CodeInternal, op, err)
	}
	pair, err := keyPair(certPEM, keyPEM)
	if err != nil {
		return nil, core.NewError(core.CodeInternal, op, err)
	}
	// What every other side would refuse, constraints of the CA included, is refused here already.
	_, err = pair.Leaf.Verify(x509.VerifyOptions{
		Roots: a.Pool(), CurrentTime: wall(a.clock), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, invalid(op, "ask for names that this CA may sign; "+
			"the development CA signs for localhost and loopback addresses only", err)
	}
	return &Certificate{CertPEM: certPEM, KeyPEM: keyPEM, pair: pair}, nil
}

func (a *Authority) template(op string, spec Spec) (*x509.Certificate, error) {
	now := wall(a.clock)
	left := a.cert.NotAfter.Sub(now)
	valid := spec.Valid
	if valid == 0 {
		valid = min(validDefault, left)
	}
	switch {
	case !spec.Server && !spec.Client:
		return nil, core.Errorf(core.CodeInvalidConfig, op, "want a certificate for a server, a client or both")
	case spec.Server && len(spec.Hosts) == 0:
		return nil, core.Errorf(core.CodeInvalidConfig, op, "a server needs the host names or addresses it has")
	case valid <= 0 || valid > min(left, ValidMax):
		return nil, core.Errorf(core.CodeInvalidConfig, op,
			"valid for %s: want above 0, at most %s (the CA has %s)",
			inDays(valid), inDays(min(left, ValidMax)), inDays(left))
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: spec.CommonName},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(valid),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if spec.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if spec.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	if err := addNames(template, spec); err != nil {
		return nil, core.NewError(core.CodeInvalidConfig, op, err)
	}
	return template, nil
}

// inDays shows long times as people count them.
func inDays(d time.Duration) string {
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.Truncate(time.Second).String()
}

func addNames(template *x509.Certificate, spec Spec) error {
	for _, host := range spec.Hosts {
		switch ip := net.ParseIP(host); {
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case isDNSName(host):
			template.DNSNames = append(template.DNSNames, host)
		default:
			return fmt.Errorf("host %s: want a DNS name or an IP address, without a port", core.Quote(host))
		}
	}
	for _, text := range spec.URIs {
		uri, err := url.Parse(text)
		if err != nil || uri.Scheme == "" || uri.Host == "" {
			return fmt.Errorf("URI %s: want one like leat://cluster/node", core.Quote(text))
		}
		template.URIs = append(template.URIs, uri)
	}
	return nil
}

// isDNSName accepts letters, digits, '-' and '_' in labels of 1 to 63, and * as the first label.
func isDNSName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for i, label := range strings.Split(name, ".") {
		if i == 0 && label == "*" && len(name) > 1 {
			continue
		}
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}
