package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// deployment is a CA and what it issued, as files.
type deployment struct {
	ca       *Authority
	caFile   string
	crt, key string // of a node: server and client
}

func deploy(t *testing.T) deployment {
	t.Helper()
	dir := t.TempDir()
	ca := must(NewAuthority("test CA", 24*time.Hour))(t)
	d := deployment{ca: ca, caFile: filepath.Join(dir, "ca.crt"),
		crt: filepath.Join(dir, "node.crt"), key: filepath.Join(dir, "node.key")}
	if err := WriteFiles(d.caFile, filepath.Join(dir, "ca.key"), ca.CertPEM(), ca.KeyPEM()); err != nil {
		t.Fatal(err)
	}
	node := d.issue(t, Spec{CommonName: "node", Hosts: []string{"node.example", "192.0.2.7"},
		URIs: []string{"leat://prod/1"}, Server: true, Client: true})
	if err := WriteFiles(d.crt, d.key, node.CertPEM, node.KeyPEM); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d deployment) issue(t *testing.T, spec Spec) *Certificate {
	t.Helper()
	return must(d.ca.Issue(spec))(t)
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := deploy(t), deploy(t)
	server := must(ServerTLS(ours.crt, ours.key, ours.caFile))(t)
	open := must(ServerTLS(ours.crt, ours.key, ""))(t)
	with := must(ClientTLS(ours.caFile, ours.crt, ours.key))(t)
	without := must(ClientTLS(ours.caFile, "", ""))(t)
	wrong := must(ClientTLS(ours.caFile, theirs.crt, theirs.key))(t)
	distrust := must(ClientTLS(theirs.caFile, ours.crt, ours.key))(t)
	tests := []struct {
		name           string
		client, server *tls.Config
		host           string
		clientErr      string
		serverErr      string
	}{
		{"both show theirs", with, server, "node.example", "", ""},
		{"by address", with, server, "192.0.2.7", "", ""},
		{"client shows none", without, server, "node.example", "certificate required", "didn't provide"},
		{"client of another CA", wrong, server, "node.example", "certificate", "certificate"},
		{"server of another CA", distrust, server, "node.example", "unknown authority", "bad certificate"},
		{"server of another name", with, server, "other.example", "not other.example", "bad certificate"},
		{"none asked for", without, open, "node.example", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, clientErr, serverErr := shake(named(tt.client, tt.host), tt.server)
			if !matches(clientErr, tt.clientErr) || !matches(serverErr, tt.serverErr) {
				t.Errorf("client %v, server %v; want %q and %q", clientErr, serverErr, tt.clientErr, tt.serverErr)
			}
			if tt.clientErr == "" && state.Version != tls.VersionTLS13 {
				t.Errorf("version %x; want TLS 1.3", state.Version)
			}
		})
	}
}

// matches reports whether err has text; no text stands for no error.
func matches(err error, text string) bool {
	return (err == nil) == (text == "") && (err == nil || strings.Contains(err.Error(), text))
}

func TestIssuedCertificate(t *testing.T) {
	ca := must(NewAuthority("test CA", 1000*day))(t)
	got := must(ca.Issue(Spec{CommonName: "n1", Hosts: []string{"a.example", "*.b.example", "::1", "10.0.0.1"},
		URIs: []string{"leat://prod/1"}, Server: true, Client: true}))(t).TLS().Leaf
	if len(got.DNSNames) != 2 || len(got.IPAddresses) != 2 || len(got.URIs) != 1 ||
		*got.URIs[0] != (url.URL{Scheme: "leat", Host: "prod", Path: "/1"}) {
		t.Errorf("names = %v %v %v; want 2 hosts, 2 addresses, leat://prod/1",
			got.DNSNames, got.IPAddresses, got.URIs)
	}
	if left := time.Until(got.NotAfter); left > ValidMax || left < 364*day {
		t.Errorf("valid for %v; want one year", left)
	}
	if got.IsCA || len(got.ExtKeyUsage) != 2 {
		t.Errorf("IsCA %v, usages %v; want a leaf for server and client", got.IsCA, got.ExtKeyUsage)
	}
	short := must(NewAuthority("short", time.Hour))(t)
	if leaf := must(short.Issue(Spec{Client: true}))(t).TLS().Leaf; leaf.NotAfter.After(short.cert.NotAfter) {
		t.Errorf("outlives its CA: %v, CA %v", leaf.NotAfter, short.cert.NotAfter)
	}
}

func TestIssueRefuses(t *testing.T) {
	ca := must(NewAuthority("test CA", 100*day))(t)
	for want, spec := range map[string]Spec{
		"a server, a client or both": {CommonName: "x", Hosts: []string{"a"}},
		"needs the host names":       {Server: true},
		`host "a:4740"`:              {Server: true, Hosts: []string{"a:4740"}},
		`host ""`:                    {Server: true, Hosts: []string{""}},
		`host "a b"`:                 {Server: true, Hosts: []string{"a b"}},
		`host "-a"`:                  {Server: true, Hosts: []string{"-a"}},
		`host "a..b"`:                {Server: true, Hosts: []string{"a..b"}},
		`host "*"`:                   {Server: true, Hosts: []string{"*"}},
		`URI "node"`:                 {Client: true, URIs: []string{"node"}},
		`URI "leat://a\x00/"`:        {Client: true, URIs: []string{"leat://a\x00/"}},
		"at most 99 days (":          {Client: true, Valid: 101 * day},
		"want above 0":               {Client: true, Valid: -1},
	} {
		_, err := ca.Issue(spec)
		wantCode(t, want, err, core.CodeInvalidConfig, want)
	}
	long := must(NewAuthority("long", 3000*day))(t)
	_, err := long.Issue(Spec{Client: true, Valid: ValidMax + 1})
	wantCode(t, "over a year", err, core.CodeInvalidConfig, "at most 366 days")
	_, err = NewAuthority("", time.Hour)
	wantCode(t, "no name", err, core.CodeInvalidConfig, "name")
	_, err = NewAuthority("x", 31*365*day)
	wantCode(t, "a CA of 31 years", err, core.CodeInvalidConfig, "30 years")
}

func TestHostileFiles(t *testing.T) {
	d := deploy(t)
	client := d.issue(t, Spec{CommonName: "c", Client: true})
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			write(t, path, text)
		}
		return path
	}
	clientCrt, clientKey := file("c.crt", string(client.CertPEM)), file("c.key", string(client.KeyPEM))
	garbage, absent := file("garbage", "garbage"), filepath.Join(dir, "absent")
	big := file("big", strings.Repeat("x", fileBytesMax+1))
	cut := file("cut", string(d.ca.CertPEM())+string(d.ca.CertPEM()[:200]))
	tests := []struct {
		name         string
		crt, key, ca string
		want         string
	}{
		{"absent certificate", absent, d.key, "", "absent"},
		{"absent key", d.crt, absent, "", "absent"},
		{"absent CA", d.crt, d.key, absent, "absent"},
		{"no key given", d.crt, "", "", "give both"},
		{"nothing given", "", "", "", "give both"},
		{"garbage certificate", garbage, d.key, "", "failed to find any PEM data"},
		{"garbage key", d.crt, garbage, "", "failed to find any PEM data"},
		{"garbage CA", d.crt, d.key, garbage, "no PEM certificate"},
		{"key as CA", d.crt, d.key, clientKey, "want CERTIFICATE"},
		{"cut CA", d.crt, d.key, cut, "what follows certificate 1 is damaged"},
		{"swapped", d.key, d.crt, "", "may have been switched"},
		{"key of another", d.crt, clientKey, "", "does not match"},
		{"not for servers", clientCrt, clientKey, "", "not for servers"},
		{"a folder", dir, d.key, "", "not a regular file"},
		{"too long", big, d.key, "", "over 1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ServerTLS(tt.crt, tt.key, tt.ca)
			wantCode(t, "ServerTLS", err, core.CodeInvalidConfig, tt.want)
		})
	}
	server := d.issue(t, Spec{CommonName: "s", Hosts: []string{"s"}, Server: true})
	_, err := ClientTLS("", file("s.crt", string(server.CertPEM)), file("s.key", string(server.KeyPEM)))
	wantCode(t, "ClientTLS", err, core.CodeInvalidConfig, "not for clients")
	_, err = LoadAuthority(clientCrt, clientKey)
	wantCode(t, "LoadAuthority of a leaf", err, core.CodeInvalidConfig, "is not a CA")
	if _, err = LoadAuthority(absent, absent); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadAuthority of nothing = %v; want fs.ErrNotExist", err)
	}
}

func TestPeers(t *testing.T) {
	ours, theirs := deploy(t), deploy(t)
	us := must(PeerTLS(ours.crt, ours.key, ours.caFile))(t)
	if _, err, serverErr := shake(named(us, "node.example"), us); err != nil || serverErr != nil {
		t.Errorf("two nodes: %v, %v", err, serverErr)
	}
	them := must(PeerTLS(theirs.crt, theirs.key, theirs.caFile))(t)
	if _, err, serverErr := shake(named(us, "node.example"), them); err == nil || serverErr == nil {
		t.Errorf("nodes of two clusters: client %v, server %v; want errors", err, serverErr)
	}
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	for want, spec := range map[string]Spec{
		"not for clients": {Hosts: []string{"n"}, Server: true}, "not for servers": {Client: true},
	} {
		half := ours.issue(t, spec)
		write(t, crt, string(half.CertPEM))
		write(t, key, string(half.KeyPEM))
		_, err := PeerTLS(crt, key, ours.caFile)
		wantCode(t, want, err, core.CodeInvalidConfig, want)
	}
	_, err := PeerTLS(ours.crt, ours.key, "")
	wantCode(t, "no CA", err, core.CodeInvalidConfig, "no CA is given")
}

func TestOpenKeysAreRefused(t *testing.T) {
	needModes(t)
	d := deploy(t)
	for mode, allowed := range map[fs.FileMode]bool{
		0o600: true, 0o400: true, 0o640: true, 0o440: true,
		0o644: false, 0o604: false, 0o660: false, 0o602: false, 0o601: false, 0o666: false,
	} {
		chmod(t, d.key, mode)
		_, err := ServerTLS(d.crt, d.key, "")
		if allowed && err != nil {
			t.Errorf("key of mode %04o: %v; want it accepted", mode, err)
		}
		if !allowed {
			wantCode(t, mode.String(), err, core.CodePermission, "run: chmod 600 "+d.key)
		}
	}
}

func TestExpiredCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deploy(t)
		<-time.After(25 * time.Hour)
		_, err := ServerTLS(d.crt, d.key, "")
		wantCode(t, "ServerTLS", err, core.CodeInvalidConfig, "expired at 2000-01-02T00:00:00Z", "leat cert show")
		_, err = LoadAuthority(d.caFile, filepath.Join(filepath.Dir(d.caFile), "ca.key"))
		wantCode(t, "LoadAuthority", err, core.CodeInvalidConfig, "expired at")
	})
}

func TestWriteFilesOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	crt, key := filepath.Join(dir, "a.crt"), filepath.Join(dir, "a.key")
	write(t, crt, "precious")
	wantCode(t, "WriteFiles", WriteFiles(crt, key, []byte("c"), []byte("k")), core.CodeInvalidConfig, "a.crt")
	if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key was left behind: %v", err)
	}
	if got := string(must(os.ReadFile(crt))(t)); got != "precious" {
		t.Errorf("the certificate became %q", got)
	}
	remove(t, crt)
	write(t, key, "precious")
	wantCode(t, "WriteFiles", WriteFiles(crt, key, []byte("c"), []byte("k")), core.CodeInvalidConfig, "a.key")
	if got := string(must(os.ReadFile(key))(t)); got != "precious" {
		t.Errorf("the key became %q", got)
	}
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deploy(t)
		var log bytes.Buffer
		server := must(ServerTLS(d.crt, d.key, d.caFile, WithLogger(slog.New(slog.NewTextHandler(&log, nil)))))(t)
		name := func() string { return must(server.GetCertificate(nil))(t).Leaf.Subject.CommonName }
		renew := func(crt, key *Certificate) {
			write(t, d.crt, string(crt.CertPEM))
			write(t, d.key, string(key.KeyPEM))
		}
		second := d.issue(t, Spec{CommonName: "second name", Hosts: []string{"n"}, Server: true})
		third := d.issue(t, Spec{CommonName: "the third name", Hosts: []string{"n"}, Server: true})

		renew(second, second)
		if got := name(); got != "node" {
			t.Errorf("at once: %q; want no look at the files yet", got)
		}
		<-time.After(reloadEvery)
		if got := name(); got != "second name" || !strings.Contains(log.String(), "reloaded") {
			t.Errorf("after %v: %q, log %q; want the new certificate", reloadEvery, got, &log)
		}

		log.Reset()
		renew(third, second) // half of a replacement
		for range 3 {
			<-time.After(reloadEvery)
			if got := name(); got != "second name" {
				t.Errorf("with a key that does not match: %q; want the last good one", got)
			}
		}
		if got := strings.Count(log.String(), "does not match"); got != 1 {
			t.Errorf("reported %d times; want once:\n%s", got, &log)
		}
		renew(third, third)
		<-time.After(reloadEvery)
		if got := name(); got != "the third name" {
			t.Errorf("after the other half: %q", got)
		}
		remove(t, d.crt)
		<-time.After(reloadEvery)
		if got := name(); got != "the third name" {
			t.Errorf("after removal: %q; want the last good one", got)
		}
	})
}

func TestReloadOfTheClientCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, other := deploy(t), deploy(t)
		server := ForProtocols(must(ServerTLS(d.crt, d.key, d.caFile))(t), "leat/1")
		get := func() *tls.Config { return must(server.GetConfigForClient(nil))(t) }
		if server.ClientAuth != tls.RequireAndVerifyClientCert || !server.ClientCAs.Equal(d.ca.Pool()) {
			t.Fatal("the configuration does not show that it asks for certificates")
		}
		if got := get(); got != nil {
			t.Errorf("unchanged files: %v; want the configuration itself", got)
		}
		write(t, d.caFile, string(other.ca.CertPEM())+string(d.ca.CertPEM()))
		<-time.After(reloadEvery)
		got := get()
		if got == nil || len(got.NextProtos) != 1 || got.NextProtos[0] != "leat/1" ||
			got.ClientAuth != tls.RequireAndVerifyClientCert {
			t.Fatalf("after the change: %+v; want certificates asked for, on leat/1", got)
		}
		both := x509.NewCertPool()
		both.AddCert(d.ca.cert)
		both.AddCert(other.ca.cert)
		if !got.ClientCAs.Equal(both) {
			t.Error("the new CA is not trusted")
		}
		write(t, d.caFile, "garbage")
		<-time.After(reloadEvery)
		if again := get(); again == nil || again.ClientCAs != got.ClientCAs {
			t.Error("a broken file changed what is trusted")
		}
	})
}

func TestHandshakeAfterTheClientCAChanged(t *testing.T) {
	d, other := deploy(t), deploy(t)
	r := must(newReloader(d.crt, d.key, d.caFile, clock.System, nil, x509.ExtKeyUsageServerAuth))(t)
	server := ForProtocols(r.server(), "leat/1")
	client := named(must(ClientTLS(d.caFile, other.crt, other.key))(t), "node.example")
	client.NextProtos = []string{"leat/1"}
	if _, err, _ := shake(client, server); err == nil {
		t.Fatal("a client of another CA got in")
	}
	write(t, d.caFile, string(other.ca.CertPEM()))
	r.lookedAt.Store(r.clock.Mono() - int64(reloadEvery))
	if state, err, serverErr := shake(client, server); err != nil || state.NegotiatedProtocol != "leat/1" {
		t.Errorf("after the CA was replaced: client %v, server %v, protocol %q",
			err, serverErr, state.NegotiatedProtocol)
	}
	client.NextProtos = []string{"leat-peer/1"}
	if _, err, _ := shake(client, server); err == nil {
		t.Error("another protocol got in")
	}
}

func FuzzParseCertificates(f *testing.F) {
	a, err := NewAuthority("fuzz", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.CertPEM())
	f.Add(a.KeyPEM())
	f.Add(append(bytes.Clone(a.CertPEM()), a.CertPEM()...))
	f.Add(a.CertPEM()[:100])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"))
	// Properties: no panic; certificates or an error, never both or neither; what is found is in the text.
	f.Fuzz(func(t *testing.T, data []byte) {
		certs, err := parseCertificates(data)
		if (len(certs) > 0) == (err != nil) {
			t.Fatalf("%d certificates, error %v", len(certs), err)
		}
		if got := bytes.Count(data, []byte("-----BEGIN")); len(certs) > got {
			t.Fatalf("%d certificates of %d blocks", len(certs), got)
		}
	})
}
