package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

const day = 24 * time.Hour

// clockSkew is how far a certificate starts in the past, for machines whose clock is behind.
const clockSkew = time.Hour

// authorityValidMax keeps an authority from outliving the keys and algorithms of its time.
const authorityValidMax = 30 * 365 * day

// Authority is a CA with its private key. It does not change and may be used by any goroutine.
type Authority struct {
	cert    *x509.Certificate
	key     crypto.Signer
	certPEM []byte
	keyPEM  []byte
	clock   clock.Clock
}

// NewAuthority makes a CA in memory that is valid from now on for valid, at most 30 years.
func NewAuthority(commonName string, valid time.Duration) (*Authority, error) {
	return newAuthority(x509.Certificate{Subject: pkix.Name{CommonName: commonName}}, valid, clock.System)
}

// newAuthority completes and signs template, which holds the subject and the name constraints.
func newAuthority(template x509.Certificate, valid time.Duration, c clock.Clock) (*Authority, error) {
	op := "create CA " + core.Quote(template.Subject.CommonName)
	switch {
	case template.Subject.CommonName == "":
		return nil, core.Errorf(core.CodeInvalidConfig, op, "the name is empty")
	case valid <= 0 || valid > authorityValidMax:
		return nil, core.Errorf(core.CodeInvalidConfig, op, "valid for %v: want above 0, at most 30 years", valid)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, core.NewError(core.CodeInternal, op, err)
	}
	now := wall(c)
	template.NotBefore, template.NotAfter = now.Add(-clockSkew), now.Add(valid)
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	certPEM, err := sign(&template, &template, key.Public(), key)
	if err != nil {
		return nil, core.NewError(core.CodeInternal, op, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, core.NewError(core.CodeInternal, op, err)
	}
	return parseAuthority(op, certPEM, keyPEM, c)
}

// LoadAuthority reads a CA. An absent file answers fs.ErrNotExist, a key that others may read ErrPermission,
// anything that is not a CA with its key ErrInvalidConfig.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	return loadAuthority(certFile, keyFile, clock.System)
}

func loadAuthority(certFile, keyFile string, c clock.Clock) (*Authority, error) {
	op := "load CA " + strconv.Quote(certFile)
	certPEM, err := readFile(op, certFile, trustBits)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(op, keyFile, keyBits)
	if err != nil {
		return nil, err
	}
	return parseAuthority(op, certPEM, keyPEM, c)
}

func parseAuthority(op string, certPEM, keyPEM []byte, c clock.Clock) (*Authority, error) {
	pair, err := keyPair(certPEM, keyPEM)
	if err != nil {
		return nil, invalid(op, "give a CA certificate and its key, both PEM (leat cert ca makes them)", err)
	}
	switch leaf := pair.Leaf; {
	case !leaf.IsCA || !leaf.BasicConstraintsValid:
		return nil, invalid(op, "give the CA's certificate, not one that it issued",
			fmt.Errorf("%q is not a CA", leaf.Subject.CommonName))
	case wall(c).After(leaf.NotAfter):
		return nil, invalid(op, "create a new CA, and issue its certificates anew",
			fmt.Errorf("expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339)))
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, invalid(op, "use an ECDSA, RSA or Ed25519 key", fmt.Errorf("a %T cannot sign", pair.PrivateKey))
	}
	return &Authority{cert: pair.Leaf, key: key, certPEM: certPEM, keyPEM: keyPEM, clock: c}, nil
}

// Pool returns a new pool that trusts only this authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Certificate is the CA's own certificate; read only.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CertPEM is the CA's certificate as a file; read only.
func (a *Authority) CertPEM() []byte { return a.certPEM }

// KeyPEM is the CA's private key as a file; read only. Whoever has it can sign.
func (a *Authority) KeyPEM() []byte { return a.keyPEM }

// Fingerprint is the SHA-256 of a certificate, as openssl x509 -fingerprint -sha256 shows it.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// sign returns the certificate that template describes, as PEM.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 §4.1.2.2: ≤ 20 bytes
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der}), nil
}

// keyPair is tls.X509KeyPair with Leaf set, whatever GODEBUG says.
func keyPair(certPEM, keyPEM []byte) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err == nil && pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	return pair, err
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func wall(c clock.Clock) time.Time { return time.Unix(0, c.Now()) }

// loopbackNets are the addresses a development certificate may name.
func loopbackNets() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
}
