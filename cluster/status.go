package cluster

import (
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/transport/wire"
)

// attach makes a link that of its peer, in place of an older one.
func (p *Peers) attach(l *link, hello *wire.PeerHelloBody) {
	p.mu.Lock()
	old := l.peer.link
	other := l.peer
	if old == nil {
		other.since = p.cfg.Clock.Now()
	}
	other.link, other.advertise, other.stored = l, hello.Advertise, hello.Catalogue
	other.seen, other.err, other.rtt = true, nil, 0
	p.changedLocked()
	p.mu.Unlock()
	if old != nil {
		old.end(wire.Errorf("replaced by a newer connection"))
	}
	p.cfg.Logger.Info("peer is up", "node", other.id, "addr", hello.Advertise, "start", hello.Start)
	p.cfg.Shell.MapChanged()
}

// detach makes a peer one that is down, unless it has another link already.
func (p *Peers) detach(l *link) {
	p.mu.Lock()
	current := l.peer.link == l
	if current {
		l.peer.link, l.peer.since, l.peer.err = nil, p.cfg.Clock.Now(), l.cause
		p.changedLocked()
	}
	p.mu.Unlock()
	if current {
		p.cfg.Shell.MapChanged()
	}
}

// Changed says that something of the map changed that is not of the peers: where groups are.
func (p *Peers) Changed() {
	p.mu.Lock()
	p.changedLocked()
	p.mu.Unlock()
	p.cfg.Shell.MapChanged()
}

func (p *Peers) changedLocked() {
	p.epoch++
	close(p.news)
	p.news = make(chan struct{})
}

func (p *Peers) noteStored(l *link, version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.peer.link == l {
		l.peer.stored = version
		close(p.news)
		p.news = make(chan struct{})
	}
}

// noteFollowing keeps why this node cannot follow the meta node.
func (p *Peers) noteFollowing(l *link, err error) {
	p.mu.Lock()
	fresh := err != nil && (l.peer.err == nil || l.peer.err.Error() != err.Error())
	if l.peer.link == l {
		l.peer.err = err
	}
	p.mu.Unlock()
	if fresh && l.ctx.Err() == nil {
		p.cfg.Logger.Error("the catalogue of the meta node cannot be followed", "node", l.peer.id, "err", err)
	}
}

// noteRTT smooths round trips as TCP does (RFC 6298 §2).
func (p *Peers) noteRTT(l *link, rtt int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.peer.rtt == 0 {
		l.peer.rtt = rtt
	}
	l.peer.rtt += (rtt - l.peer.rtt) / 8
}

// Map is what clients are told.
func (p *Peers) Map() wire.MapBody {
	groups := p.cfg.Shell.GroupNodes()
	p.mu.Lock()
	defer p.mu.Unlock()
	m := wire.MapBody{Epoch: p.epoch, Cluster: p.cfg.Cluster, Meta: p.meta(), GroupNodes: groups}
	for _, id := range p.nodes {
		node := wire.NodeBody{ID: id, Address: p.cfg.Advertise, Up: true}
		if other := p.peers[id]; other != nil {
			node.Address, node.Up = other.advertise, other.link != nil
		}
		m.Nodes = append(m.Nodes, node)
	}
	return m
}

// Answer describes the peers as this node sees them.
func (p *Peers) Answer() wire.ClusterAnswer {
	answer := wire.ClusterAnswer{Map: p.Map(), Node: p.cfg.Node}
	stored := p.cfg.Shell.Version()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range p.nodes {
		other := p.peers[id]
		if other == nil {
			continue
		}
		body := wire.Peer{ID: id, Address: p.cfg.Peers[id], Up: other.link != nil, Since: other.since,
			RTT: other.rtt, Catalog: other.stored}
		if id == p.meta() && other.link != nil {
			body.Catalog = max(body.Catalog, stored) // it has what it has told
		}
		if other.err != nil {
			body.Error = other.err.Error()
		}
		answer.Peers = append(answer.Peers, body)
	}
	return answer
}

// Info is Answer for leat.Bus.
func (p *Peers) Info() leat.ClusterInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	info := leat.ClusterInfo{Name: p.cfg.Cluster, Answer: p.cfg.Node, Meta: p.meta()}
	for _, id := range p.nodes {
		node := leat.NodeInfo{ID: id, Address: p.cfg.Advertise, Up: true}
		if other := p.peers[id]; other != nil {
			node = leat.NodeInfo{ID: id, Address: other.advertise, Up: other.link != nil,
				Since: time.Unix(0, other.since), RTT: time.Duration(other.rtt), Err: other.err}
		}
		info.Nodes = append(info.Nodes, node)
	}
	return info
}

// PlaceOn gives the nodes that new topics are placed on: those that are up. A node that has not been seen
// counts as up in the first seconds, in which nodes that start together find each other.
func (p *Peers) PlaceOn() []uint16 {
	young := p.cfg.Clock.Mono()-p.started < int64(newcomerWait)
	p.mu.Lock()
	defer p.mu.Unlock()
	var nodes []uint16
	for _, id := range p.nodes {
		other := p.peers[id]
		if other == nil || other.link != nil || young && !other.seen {
			nodes = append(nodes, id)
		}
	}
	return nodes
}
