package node

import (
	"context"
	"crypto/tls"
	"slices"

	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/cluster"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

// clusterShell is what package cluster sees of the node.
type clusterShell struct{ node *Node }

var _ cluster.Shell = clusterShell{}

// Version implements cluster.Shell.
func (s clusterShell) Version() uint64 { return s.node.cluster.version.Load() }

// Snapshot implements cluster.Shell.
func (s clusterShell) Snapshot(ctx context.Context) ([]core.CatalogueRecord, error) {
	return actors.Call(ctx, s.node.system, s.node.self, func(r actors.Reply[[]core.CatalogueRecord]) any {
		return actors.ReadCatalogue{Reply: r}
	})
}

// Follow implements cluster.Shell.
func (s clusterShell) Follow(
	ctx context.Context, records []core.CatalogueRecord, snapshot bool,
) (uint64, error) {
	return s.node.follow(ctx, records, snapshot)
}

// GroupNodes implements cluster.Shell.
func (s clusterShell) GroupNodes() []uint16 { return s.node.cluster.groups.Load().Nodes() }

// MapChanged implements cluster.Shell: clients are told.
func (s clusterShell) MapChanged() { s.node.cluster.tell(&s.node.nodes) }

// tell hands clients the newest map.
func (c *clustering) tell(nodes *clusterMap) {
	c.mapping.Lock()
	defer c.mapping.Unlock()
	peers := c.peers.Load()
	if peers == nil {
		return
	}
	body := peers.Map()
	if now, _ := nodes.now(); body.Epoch > now.Epoch {
		nodes.set(body)
	}
}

// dialPeer connects to another node.
type dialPeer func(ctx context.Context, node uint16, address string) (transport.Conn, error)

// startPeers begins to look for the other nodes of the cluster.
func (s *Server) startPeers(dial dialPeer, advertise string) {
	n, c := s.node, s.node.cluster
	now, _ := n.nodes.now()
	peers := cluster.Start(cluster.Config{
		Cluster: c.Name, Node: c.Node, Peers: c.Peers, Advertise: advertise, Start: s.start,
		Shell: clusterShell{n}, Dial: dial, Clock: n.clock, Logger: n.logger, Epoch: now.Epoch,
	})
	s.id, s.peer = c.Node, peers.Serve
	c.peers.Store(peers)
	c.tell(&n.nodes)
}

// stopPeers ends what startPeers began.
func (n *Node) stopPeers() {
	if n.cluster == nil {
		return
	}
	if peers := n.cluster.peers.Swap(nil); peers != nil {
		peers.Close()
	}
}

// peerTLS gives the two sides of connections between nodes. Both show a certificate that the other verifies.
func (c *clustering) peerTLS(listen string) (server, client *tls.Config, err error) {
	base := c.PeerTLS
	if base == nil {
		if base, err = c.developmentTLS(listen); err != nil {
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
		return nil, nil, core.Errorf(core.CodeInsecure, "serve", "Cluster.PeerTLS must have the CA of the other nodes")
	}
	server.ClientAuth = tls.RequireAndVerifyClientCert
	if get := base.GetCertificate; get != nil && len(base.Certificates) == 0 && base.GetClientCertificate == nil {
		client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return get(&tls.ClientHelloInfo{})
		}
	}
	if get := base.GetClientCertificate; get != nil && len(base.Certificates) == 0 && base.GetCertificate == nil {
		server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return get(&tls.CertificateRequestInfo{})
		}
	}
	return server, client, nil
}

// developmentTLS makes a certificate of the user's development CA, where no other machine is involved.
func (c *clustering) developmentTLS(listen string) (*tls.Config, error) {
	for _, address := range append([]string{listen}, c.addresses()...) {
		if !certs.IsLoopback(address) {
			return nil, core.Errorf(core.CodeInsecure, "serve", "Cluster.PeerTLS is empty, and %s is not on this machine",
				core.Quote(address))
		}
	}
	authority, err := certs.Development("")
	if err != nil {
		return nil, err
	}
	issued, err := authority.Issue(certs.Spec{
		CommonName: "leat node", Hosts: []string{"localhost", "127.0.0.1", "::1"},
		URIs: []string{cluster.URI(c.Name, c.Node)}, Server: true, Client: true,
	})
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{issued.TLS()}, RootCAs: authority.Pool(),
	}, nil
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

// joinTLS prepares the door for other nodes, and gives the way to theirs; nothing for a node that is alone.
func (n *Node) joinTLS(cfg *ServeConfig) (dialPeer, error) {
	if n.cluster == nil {
		return nil, nil
	}
	server, client, err := n.cluster.peerTLS(cfg.Listen)
	if err != nil {
		return nil, err
	}
	cfg.TLS = withPeers(cfg.TLS, server)
	return quicDialer(client), nil
}
