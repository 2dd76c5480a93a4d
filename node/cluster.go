package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/cluster"
	"github.com/leatbus/leat/core"
)

// ClusterConfig makes a node one of several that share the partitions of topics. All nodes of a cluster
// are given the same Name and Peers.
type ClusterConfig struct {
	Node  uint16            // id of this node, from 1 on
	Name  string            // of the cluster; the rules of topic names hold
	Peers map[uint16]string // addresses at which nodes dial each other, by id, this node among them
	// Advertise is the address that clients are told; empty: that of Peers.
	Advertise string
	// PeerTLS has the certificate of this node and the CA of the others. A node's certificate carries the
	// URI leat://<Name>/<Node>. nil: certificates of the user's development CA, for loopback only.
	PeerTLS *tls.Config
}

// WithCluster makes the node part of a cluster. The folder belongs to that node from then on: ErrWrongNode
// if it is opened as another. Partitions are led by one node each; what the bus is asked for others fails
// with ErrNotLeader, whose Node names the one to ask, and a subscription without a group reads only the
// partitions of this node. Groups need all nodes: they are for clients, which leat.Dial connects. The node
// with the lowest id, the meta node, creates topics; WithTopic creates on it alone. Nodes find each other
// when the bus is served (Serve).
func WithCluster(cfg ClusterConfig) Option { return func(o *options) { o.cluster = &cfg } }

func (c *ClusterConfig) validate() error {
	const op = "open"
	if err := core.ValidateName("cluster", c.Name); err != nil {
		return err
	}
	if c.Node == 0 {
		return core.Errorf(core.CodeInvalidConfig, op, "Cluster.Node 0: want 1 to 65535")
	}
	if _, ok := c.Peers[c.Node]; !ok {
		return core.Errorf(core.CodeInvalidConfig, op, "Cluster.Peers has no node %d, which this one is", c.Node)
	}
	for id, address := range c.Peers {
		if id == 0 || address == "" {
			return core.Errorf(core.CodeInvalidConfig, op, "Cluster.Peers: node %d at %s, want an id from 1 on and "+
				"an address", id, core.Quote(address))
		}
	}
	return nil
}

// clustering is what a node knows of the cluster it is part of.
type clustering struct {
	ClusterConfig
	nodes   []uint16 // all, ascending; the first is the meta node
	groups  atomic.Pointer[core.Placement]
	version atomic.Uint64                 // of the catalogue, as stored
	peers   atomic.Pointer[cluster.Peers] // nil while the node is not served

	mapping sync.Mutex // held from asking for the map until clients are told, so that it does not go back
}

func newClustering(cfg ClusterConfig) *clustering {
	cfg.Advertise = cmp.Or(cfg.Advertise, cfg.Peers[cfg.Node])
	return &clustering{ClusterConfig: cfg, nodes: slices.Sorted(maps.Keys(cfg.Peers))}
}

func (c *clustering) meta() uint16 { return c.nodes[0] }

func (c *clustering) isMeta() bool { return c.Node == c.meta() }

// id is that of the node in its cluster, 0 for one that is alone.
func (n *Node) id() uint16 {
	if n.cluster == nil {
		return 0
	}
	return n.cluster.Node
}

// info describes the nodes.
func (c *clustering) info() leat.ClusterInfo {
	if peers := c.peers.Load(); peers != nil {
		return peers.Info()
	}
	info := leat.ClusterInfo{Name: c.Name, Answer: c.Node, Meta: c.meta()}
	for _, id := range c.nodes {
		node := leat.NodeInfo{ID: id, Address: c.Peers[id]}
		if id == c.Node {
			node.Address, node.Up = c.Advertise, true
		}
		info.Nodes = append(info.Nodes, node)
	}
	return info
}

// notLeader says which node has what this one was asked for; 0 if that is not known yet.
func notLeader(op string, node uint16) *core.Error {
	if node == 0 {
		return core.Errorf(core.CodeUnavailable, op, "the catalogue has not come from the meta node yet")
	}
	err := core.Errorf(core.CodeNotLeader, op, "node %d has it", node)
	err.Node = node
	return err
}

// lead makes a partition that of a node: this one's, if it is alone or leads it.
func (n *Node) lead(p *partition, node uint16) {
	p.here = n.cluster == nil || p.topic.id == core.MetaTopicID ||
		p.topic.id == core.DelayTopicID || node == n.cluster.Node
	if !p.here {
		p.fault.Store(notLeader(p.op("use"), node))
	}
}

// writesCatalogue says why this node does not change topics; nil if it does.
func (n *Node) writesCatalogue(op string) error {
	if n.cluster == nil || n.cluster.isMeta() {
		return nil
	}
	return notLeader(op, n.cluster.meta())
}

// coordinates says why this node does not coordinate a group; nil if it does.
func (n *Node) coordinates(op, group string) error {
	if n.cluster == nil {
		return nil
	}
	partition := core.GroupsPartition(group)
	node := n.cluster.groups.Load().Node(partition)
	if node != n.cluster.Node {
		return notLeader(op+" group "+core.Quote(group), node)
	}
	return n.commits.topic.partitions[partition].refusal()
}

// subscribable says why the bus of this process does not read a topic; nil if it does.
func (n *Node) subscribable(t *topic, group string) error {
	if n.cluster == nil {
		return nil
	}
	if group != "" {
		node := n.cluster.groups.Load().Node(core.GroupsPartition(group))
		err := notLeader(t.op("subscribe to"), node)
		err.Hint = "groups span the nodes of a cluster: subscribe through leat.Dial"
		return err
	}
	if len(t.local) == 0 {
		return t.partitions[0].refusal()
	}
	return nil
}

// PlaceOn implements actors.NodeShell.
func (n *Node) PlaceOn() []uint16 {
	if n.cluster == nil {
		return nil
	}
	if peers := n.cluster.peers.Load(); peers != nil {
		return peers.PlaceOn()
	}
	return n.cluster.nodes
}

// Changed implements actors.NodeShell.
func (n *Node) Changed(record core.CatalogueRecord) {
	if n.cluster == nil || record.Version == 0 {
		return
	}
	n.cluster.version.Store(record.Version)
	if peers := n.cluster.peers.Load(); peers != nil {
		peers.Publish(record)
	}
}

// PlaceGroups implements actors.NodeShell: the partitions of __groups that this node has are opened, and
// groups can be joined then.
func (n *Node) PlaceGroups(placement core.Placement) error {
	t := n.commits.topic
	for number, p := range t.partitions {
		n.lead(p, placement.Node(int32(number)))
	}
	err := n.openTopic(t)
	for _, p := range t.partitions {
		if !p.here || p.log == nil {
			continue
		}
		if err := n.commits.restorePartition(p); err != nil {
			return err
		}
		p.fault.Store(nil) // what it waited for has come
	}
	if err := n.queues.restored(n); err != nil {
		return err
	}
	n.cluster.groups.Store(&placement)
	if peers := n.cluster.peers.Load(); peers != nil {
		peers.Changed()
	}
	return err
}

// follow stores and carries out what the meta node has changed, or its whole catalogue. It gives the
// version reached.
func (n *Node) follow(ctx context.Context, records []core.CatalogueRecord, snapshot bool) (uint64, error) {
	followed, err := actors.Call(ctx, n.system, n.self, func(r actors.Reply[actors.Followed]) any {
		return actors.FollowCatalogue{Records: records, Snapshot: snapshot, Reply: r}
	})
	for _, id := range followed.Deleted {
		err = errors.Join(err, n.commits.forget(ctx, n.groups, id))
	}
	return followed.Version, err
}

// awaitFollowers waits until the nodes that are up have stored the newest change, for 2 s at most.
func (n *Node) awaitFollowers(ctx context.Context) {
	if n.cluster == nil {
		return
	}
	if peers := n.cluster.peers.Load(); peers != nil {
		peers.Await(ctx, n.cluster.version.Load())
	}
}
