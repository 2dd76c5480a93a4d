package node

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/leatbus/leat/cluster"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

// peerTLS gives the two sides of connections between nodes. Both show a certificate that the other verifies.
func (c *clustering) peerTLS(listen, certsDir string) (server, client *tls.Config, err error) {
	base := c.PeerTLS
	if base == nil {
		if base, err = c.developmentTLS(listen, certsDir); err != nil {
			return nil, nil, err
		}
	}
	server, client = base.Clone(), base.Clone()
	if server.ClientCAs == nil {
		server.ClientCAs = base.RootCAs
	}
	if client.RootCAs == nil {
		client.RootCAs = base.ClientCAs
	}
	if server.ClientCAs == nil || client.RootCAs == nil {
		return nil, nil, core.Errorf(core.CodeInsecure, "serve",
			"Cluster.PeerTLS must have the CA of the other nodes")
	}
	server.ClientAuth = tls.RequireAndVerifyClientCert
	if len(base.Certificates) > 0 {
		return server, client, nil
	}
	// A certificate that is read anew for one side serves the other.
	if get := base.GetCertificate; get != nil && base.GetClientCertificate == nil {
		client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return get(&tls.ClientHelloInfo{})
		}
	}
	if get := base.GetClientCertificate; get != nil && base.GetCertificate == nil {
		server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return get(&tls.CertificateRequestInfo{})
		}
	}
	return server, client, nil
}

// developmentTLS makes a certificate of the user's development CA, where no other machine is involved.
func (c *clustering) developmentTLS(listen, certsDir string) (*tls.Config, error) {
	for _, address := range append([]string{listen}, c.addresses()...) {
		if !certs.IsLoopback(address) {
			return nil, core.Errorf(core.CodeInsecure, "serve",
				"Cluster.PeerTLS is empty, and %s is not on this machine", core.Quote(address))
		}
	}
	hosts := append(hostOf(listen), hostOf(c.Peers[c.Node])...)
	return certs.DevelopmentPeer(certsDir, cluster.URI(c.Name, c.Node), hosts...)
}

// certsDir is the folder of the development CA: "" is that of the user, data/tls where the user has none.
func (n *Node) certsDir() string {
	if _, err := certs.ConfigDir(); err != nil {
		return filepath.Join(n.store.Dir(), "tls")
	}
	return ""
}

// hostOf gives the host of a loopback address as a certificate names it.
func hostOf(address string) []string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.WithZone("").Unmap().String()
	}
	return []string{host}
}

func (c *clustering) addresses() []string {
	var list []string
	for _, id := range c.nodes {
		list = append(list, c.Peers[id])
	}
	return list
}

// withPeers is a server's configuration that asks nodes, which say so by ALPN, for their certificate.
func withPeers(clients, peers *tls.Config) *tls.Config {
	both := clients.Clone()
	nodes := certs.ForProtocols(peers, wire.ALPNPeer)
	both.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		chosen := clients
		if slices.Contains(hello.SupportedProtos, wire.ALPNPeer) {
			chosen = nodes
		}
		if chosen.GetConfigForClient != nil {
			if other, err := chosen.GetConfigForClient(hello); other != nil || err != nil {
				return other, err
			}
		}
		if chosen == clients {
			return nil, nil
		}
		return nodes, nil
	}
	return both
}

// quicDialer dials other nodes as this one.
func quicDialer(client *tls.Config) dialPeer {
	return func(ctx context.Context, _ uint16, address string) (transport.Conn, error) {
		return transport.Dial(ctx, address, transport.DialConfig{TLS: client, Protocol: wire.ALPNPeer})
	}
}

// joinTLS prepares the door for other nodes, and gives the way to theirs and what they are shown; nothing
// for a node that is alone.
func (n *Node) joinTLS(cfg *ServeConfig) (dial dialPeer, shown *tls.Config, err error) {
	if n.cluster == nil {
		return nil, nil, nil
	}
	server, client, err := n.cluster.peerTLS(cfg.Listen, n.certsDir())
	if err != nil {
		return nil, nil, err
	}
	cfg.TLS = withPeers(cfg.TLS, server)
	return quicDialer(client), server, nil
}
