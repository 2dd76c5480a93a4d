package node

import (
	"sync"

	"github.com/leatbus/leat/transport/wire"
)

// clusterMap is what clients are told of the nodes. Whoever owns it replaces the body; the server
// pushes each change to all clients.
type clusterMap struct {
	mu      sync.Mutex // guards the following
	body    wire.MapBody
	changed chan struct{} // closed at the next change; nil while nobody waits for it
}

// now gives the map and a channel that is closed when it has changed.
func (m *clusterMap) now() (wire.MapBody, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.body, m.changed
}

// set replaces the map; body.Epoch must be higher than before. The body is not changed any more.
func (m *clusterMap) set(body wire.MapBody) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.body = body
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// mapNow is the map as of now.
func (n *Node) mapNow() wire.MapBody {
	body, _ := n.nodes.now()
	return body
}

// aloneMap is the map of a node that is part of no cluster.
func aloneMap(address string) wire.MapBody {
	return wire.MapBody{Epoch: 1, Nodes: []wire.NodeBody{{Address: address, Up: true}}}
}
