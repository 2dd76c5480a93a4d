package node

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

// TestServeWithoutAHome: a user without a folder for configurations has the CA in the data folder.
func TestServeWithoutAHome(t *testing.T) {
	for _, name := range []string{"LEAT_CONFIG_DIR", "XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, "")
	}
	if _, err := certs.ConfigDir(); err == nil {
		t.Skip("this system needs none of them")
	}
	dir := t.TempDir()
	b, err := Open(soon(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, err := Serve(soon(t), b, ServeConfig{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, mode := range map[string]fs.FileMode{"ca.crt": 0o644, "ca.key": 0o600} {
		info, err := os.Stat(filepath.Join(dir, "tls", name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestDevelopmentHosts: the certificate is for the address that is listened on, and that nodes dial.
func TestDevelopmentHosts(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	leafOf := func(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *x509.Certificate {
		pair, err := get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}
	for listen, host := range map[string]string{"127.0.0.5:1": "127.0.0.5", "[::1]:1": "::1",
		"[::ffff:127.0.0.9]:1": "127.0.0.9", "[::1%lo]:1": "::1", "LocalHost:1": "localhost"} {
		cfg := ServeConfig{Listen: listen}
		if err := cfg.complete(""); err != nil {
			t.Errorf("%s: %v", listen, err)
			continue
		}
		if err := leafOf(cfg.TLS.GetCertificate).VerifyHostname(host); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	c := newClustering(ClusterConfig{Node: 2, Name: "prod",
		Peers: map[uint16]string{1: "127.0.0.1:1", 2: "127.0.0.7:1"}})
	server, client, err := c.peerTLS("127.0.0.8:1", "")
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(server.GetCertificate)
	for _, host := range []string{"127.0.0.7", "127.0.0.8"} {
		if err := leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	shown, err := client.GetClientCertificate(nil)
	if err != nil || len(shown.Leaf.URIs) != 1 || shown.Leaf.URIs[0].String() != "leat://prod/2" {
		t.Errorf("a node shows %v, %v", shown, err)
	}
}

// TestClientIsNoPeer has a client whose CA lets it call itself a node. Nodes have another CA, and a
// session begun as a client is not taken up as a node.
func TestClientIsNoPeer(t *testing.T) {
	authorities := make(map[string]*certs.Authority)
	issue := func(ca, uri string) tls.Certificate {
		if authorities[ca] == nil {
			made, err := certs.NewAuthority(ca, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			authorities[ca] = made
		}
		issued, err := authorities[ca].Issue(certs.Spec{CommonName: "x", Hosts: []string{"127.0.0.1"},
			URIs: []string{uri}, Server: true, Client: true})
		if err != nil {
			t.Fatal(err)
		}
		return issued.TLS()
	}
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	mine, theirs := issue("nodes", "leat://prod/1"), issue("clients", "leat://prod/2")
	peers := map[uint16]string{1: freeAddress(t), 2: freeAddress(t)}
	b := newBed(t, WithCluster(ClusterConfig{Node: 1, Name: "prod", Peers: peers,
		PeerTLS: &tls.Config{Certificates: []tls.Certificate{mine}, RootCAs: authorities["nodes"].Pool()}}))
	s, err := Serve(soon(t), b.Bus, ServeConfig{Listen: peers[1], DrainFor: time.Second, TLS: &tls.Config{
		Certificates: []tls.Certificate{mine}, ClientCAs: authorities["clients"].Pool(),
		ClientAuth: tls.RequireAndVerifyClientCert}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{RootCAs: authorities["nodes"].Pool(), ClientSessionCache: tls.NewLRUClientSessionCache(8),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &theirs, nil }}
	for _, protocol := range []string{wire.ALPNClient, wire.ALPNPeer} {
		conn, err := transport.Dial(soon(t), s.Addr().String(), transport.DialConfig{TLS: cfg, Protocol: protocol})
		if protocol == wire.ALPNClient {
			if err != nil {
				t.Fatal(err)
			}
			c := &rawClient{t: t, conn: conn}
			c.control = c.open()
			c.control.json(wire.Header{Type: wire.Hello}, wire.HelloBody{Version: 1})
			c.control.wantJSON(wire.Welcome, &c.welcome)
			conn.Close(0, "")
			continue
		}
		if err == nil {
			receive(t, "the end of the connection", conn.Done())
			err = conn.Err()
		}
		wantError(t, "a client as a node", err, core.ErrDenied)
	}
	if _, err := Serve(soon(t), b.Bus, ServeConfig{Listen: "127.0.0.1:0"}); err == nil {
		t.Error("a second server of one bus")
	}
	if b.node.cluster.peers.Load() == nil {
		t.Error("the attempt ended the peers of the first")
	}
	if !sees(b, 1) {
		t.Error("a client counts as a node")
	}
}

// TestServeOfAClosedBus: nobody would close the server.
func TestServeOfAClosedBus(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	b := one(t, leat.TopicConfig{})
	b.close()
	_, err := Serve(soon(t), b.Bus, ServeConfig{Listen: "127.0.0.1:0"})
	wantError(t, "a closed bus", err, core.ErrClosed)
}

// TestServeWhileTheBusCloses: whichever comes first, nothing is left open.
func TestServeWhileTheBusCloses(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	for range 20 {
		address := freeAddress(t)
		b := newBed(t, WithCluster(ClusterConfig{Node: 1, Name: "prod", Peers: map[uint16]string{1: address}}))
		served := make(chan error, 1)
		go func() {
			_, err := Serve(soon(t), b.Bus, ServeConfig{Listen: address, DrainFor: time.Second})
			served <- err
		}()
		b.close()
		if err := receive(t, "Serve", served); err != nil {
			wantError(t, "Serve", err, core.ErrClosed)
		}
		socket, err := transport.Listen(address,
			transport.ListenConfig{TLS: &tls.Config{}, Protocols: []string{"x"}})
		if err != nil {
			t.Fatalf("the address is not free: %v", err)
		}
		_ = socket.Close()
		if b.node.cluster.peers.Load() != nil {
			t.Fatal("peers are left")
		}
	}
}
