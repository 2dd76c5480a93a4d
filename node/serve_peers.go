package node

import (
	"context"

	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/cluster"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
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
		Shell: clusterShell{n}, Dial: s.counted(dial), Clock: n.clock, Logger: n.logger, Epoch: now.Epoch,
	})
	s.id, s.peer = c.Node, peers.Serve
	c.peers.Store(peers)
	c.tell(&n.nodes)
}

// counted makes dialed connections count while they are open.
func (s *Server) counted(dial dialPeer) dialPeer {
	return func(ctx context.Context, node uint16, address string) (transport.Conn, error) {
		conn, err := dial(ctx, node, address)
		if err == nil {
			s.stats.conns.begin(conn)
			s.dialed.Go(func() {
				<-conn.Done() // the peers close it, at the latest when they are stopped
				s.stats.conns.end(conn)
			})
		}
		return conn, err
	}
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
