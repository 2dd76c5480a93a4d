package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// Names of the development CA within its folder.
const (
	authorityFile    = "ca.crt"
	authorityKeyFile = "ca.key"
	authorityLock    = "ca.lock"
)

// DevelopmentName is the common name of every development CA.
const DevelopmentName = "Leat development CA"

const developmentValid = 10 * 365 * day

// Making a CA takes milliseconds; whoever holds the lock for longer is stopped or stuck.
const (
	lockPoll = 5 * time.Millisecond
	lockWait = 10 * time.Second
)

// ConfigDir is the folder of this user's configuration: LEAT_CONFIG_DIR, else leat below the system's
// folder for it. Where there is neither, it answers ErrInvalidConfig; a server then uses data/tls.
func ConfigDir() (string, error) {
	if dir := os.Getenv("LEAT_CONFIG_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", invalid("find the configuration folder", "set LEAT_CONFIG_DIR to a folder of this user", err)
	}
	return filepath.Join(dir, "leat"), nil
}

// DevelopmentFiles names the certificate and the key of the development CA in dir; empty: ConfigDir.
func DevelopmentFiles(dir string) (certFile, keyFile string, err error) {
	if dir == "" {
		if dir, err = ConfigDir(); err != nil {
			return "", "", err
		}
	}
	return filepath.Join(dir, authorityFile), filepath.Join(dir, authorityKeyFile), nil
}

// LoadDevelopment loads the development CA of dir; empty: ConfigDir. Where there is none it answers
// fs.ErrNotExist and creates nothing.
func LoadDevelopment(dir string) (*Authority, error) { return loadDevelopment(dir, clock.System) }

func loadDevelopment(dir string, c clock.Clock) (*Authority, error) {
	certFile, keyFile, err := DevelopmentFiles(dir)
	if err != nil {
		return nil, err
	}
	if err := checkFolder(filepath.Dir(certFile)); err != nil {
		return nil, err
	}
	if _, err := os.Stat(certFile); err != nil {
		return nil, fileError("load development CA "+strconv.Quote(certFile), err)
	}
	a, err := loadAuthority(certFile, keyFile, c)
	var ours *core.Error
	if errors.As(err, &ours) && ours.Code == core.CodeInvalidConfig {
		ours.Hint = fmt.Sprintf("remove %s to get a new development CA, then restart servers and clients", certFile)
		// A CA without its key is damaged rather than absent: it is never replaced unasked.
		ours.Err = fmt.Errorf("%v", ours.Err)
	}
	return a, err
}

// checkFolder refuses a folder where others could put their own CA. An absent one is fine.
func checkFolder(dir string) error {
	op := "use folder " + strconv.Quote(dir)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fileError(op, err)
	case !info.IsDir():
		return invalid(op, "set LEAT_CONFIG_DIR to a folder", errors.New("not a folder"))
	}
	return checkMode(op, dir, info, trustBits)
}

// Development loads the development CA of dir (empty: ConfigDir), and creates folder and CA if there is
// none. Of several callers and processes one creates it and all get the same. It may block on the disk,
// and for up to 10 s on another process that is creating it.
func Development(dir string) (*Authority, error) { return development(dir, clock.System) }

func development(dir string, c clock.Clock) (*Authority, error) {
	a, err := loadDevelopment(dir, c)
	if !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	certFile, _, err := DevelopmentFiles(dir)
	if err != nil {
		return nil, err
	}
	dir = filepath.Dir(certFile)
	op := "create development CA in " + strconv.Quote(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, createError(op, err)
	}
	unlock, err := lock(op, filepath.Join(dir, authorityLock), c)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if a, err := loadDevelopment(dir, c); !errors.Is(err, fs.ErrNotExist) {
		return a, err // somebody was faster
	}
	return createDevelopment(op, dir, c)
}

// createDevelopment writes a new CA over what an interrupted attempt may have left. The lock must be held.
func createDevelopment(op, dir string, c clock.Clock) (*Authority, error) {
	a, err := newAuthority(x509.Certificate{
		Subject:                     pkix.Name{CommonName: DevelopmentName, Organization: organization()},
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges:           loopbackNets(),
	}, developmentValid, c)
	if err != nil {
		return nil, err
	}
	// The key goes first: a certificate alone would be a CA that can sign nothing.
	if err := replaceFile(filepath.Join(dir, authorityKeyFile), a.KeyPEM(), 0o600); err != nil {
		return nil, createError(op, err)
	}
	if err := replaceFile(filepath.Join(dir, authorityFile), a.CertPEM(), 0o644); err != nil {
		return nil, createError(op, err)
	}
	return a, nil
}

// createError names the ways out where the folder cannot be written.
func createError(op string, err error) error {
	err = fileError(op, err)
	var ours *core.Error
	if errors.As(err, &ours) {
		ours.Hint = "set LEAT_CONFIG_DIR to a folder that this user can write, the same for server and clients"
	}
	return err
}

// organization names the machine, so that the CAs of several are told apart.
func organization() []string {
	if host, err := os.Hostname(); err == nil && host != "" {
		return []string{host}
	}
	return nil
}

// lock takes the file's lock, which the system gives back when its holder ends, however it ends.
func lock(op, name string, c clock.Clock) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, createError(op, err)
	}
	deadline := c.Mono() + int64(lockWait)
	for {
		taken, err := tryLock(file)
		if taken {
			return func() { _ = file.Close() }, nil // closing gives the lock back; there is nothing to write
		}
		if err == nil && c.Mono() < deadline {
			err = clock.Sleep(context.Background(), c, lockPoll)
			if err == nil {
				continue
			}
		}
		_ = file.Close()
		if err != nil {
			return nil, core.NewError(core.CodeIO, op, fmt.Errorf("lock %s: %w", strconv.Quote(name), err))
		}
		locked := core.Errorf(core.CodeLocked, op, "%s has been locked for %v", strconv.Quote(name), lockWait)
		locked.Hint = "end the process that holds it (it may be stopped), or set LEAT_CONFIG_DIR to another folder"
		return nil, locked
	}
}

// DevelopmentServer is the TLS configuration of a server on this machine: a certificate of the development
// CA of dir (empty: ConfigDir), made in memory and renewed by itself, for localhost, 127.0.0.1, ::1 and
// hosts, which must be loopback too. Clients need no certificate. The caller sets NextProtos.
func DevelopmentServer(dir string, hosts ...string) (*tls.Config, error) {
	return developmentServer(dir, hosts, clock.System)
}

func developmentServer(dir string, hosts []string, c clock.Clock) (*tls.Config, error) {
	r, err := newRenewed(dir, Spec{CommonName: "leat", Server: true, Hosts: hosts}, c)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: r.server}, nil
}

// DevelopmentPeer is DevelopmentServer for a node towards the other nodes of its cluster, all on this
// machine. Its certificate names it by uri, is for both sides, and only those of the same CA are trusted.
func DevelopmentPeer(dir, uri string, hosts ...string) (*tls.Config, error) {
	return developmentPeer(dir, uri, hosts, clock.System)
}

func developmentPeer(dir, uri string, hosts []string, c clock.Clock) (*tls.Config, error) {
	r, err := newRenewed(dir, Spec{
		CommonName: "leat node", Server: true, Client: true, Hosts: hosts, URIs: []string{uri},
	}, c)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: r.server, GetClientCertificate: r.client,
		RootCAs: r.authority.Pool()}, nil
}

// renewed issues its certificate again before it ends. Goroutines that find it due at the same moment may
// each issue one; the last stays.
type renewed struct {
	authority *Authority
	spec      Spec
	current   atomic.Pointer[tls.Certificate]
}

// newRenewed issues the first one. It is for localhost, 127.0.0.1 and ::1 too.
func newRenewed(dir string, spec Spec, c clock.Clock) (*renewed, error) {
	a, err := development(dir, c)
	if err != nil {
		return nil, err
	}
	spec.Hosts = append([]string{"localhost", "127.0.0.1", "::1"}, spec.Hosts...)
	r := &renewed{authority: a, spec: spec}
	_, err = r.certificate()
	return r, err
}

func (r *renewed) server(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.certificate() }

func (r *renewed) client(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return r.certificate()
}

func (r *renewed) certificate() (*tls.Certificate, error) {
	now := wall(r.authority.clock)
	current := r.current.Load()
	if current != nil && now.Before(current.Leaf.NotAfter.Add(-validDefault/3)) {
		return current, nil
	}
	issued, err := r.authority.Issue(r.spec)
	switch {
	case err == nil:
		pair := issued.TLS()
		r.current.Store(&pair)
		return &pair, nil
	case current != nil && now.Before(current.Leaf.NotAfter):
		return current, nil
	}
	return nil, err
}

// DevelopmentClient is the TLS configuration of a client of a server on this machine. It trusts the
// development CA of dir (empty: ConfigDir) and nothing else; give it only to connections that IsLoopback
// allows. It needs no more than ca.crt, and creates the CA where there is none, so that client and server
// may start in any order. The caller sets NextProtos and ServerName.
func DevelopmentClient(dir string) (*tls.Config, error) {
	certFile, _, err := DevelopmentFiles(dir)
	if err != nil {
		return nil, err
	}
	if err := checkFolder(filepath.Dir(certFile)); err != nil {
		return nil, err
	}
	pool, err := readPool(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		a, created := Development(dir)
		if created != nil {
			return nil, created
		}
		pool, err = a.Pool(), nil
	}
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}, nil
}
