package cluster

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
)

// Peers is a node's view of the others. Its methods may be called from any goroutine.
type Peers struct {
	cfg     Config
	nodes   []uint16         // all, ascending; the first is the meta node
	peers   map[uint16]*peer // the others; the map does not change
	started int64            // on the clock's Mono
	jitter  jitter

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex // guards the following and the fields of peer
	closed   bool
	epoch    uint64        // of Map
	greeting int           // connections that have not said who they are
	news     chan struct{} // closed when a peer has changed, then another
}

// peer is one of the other nodes. Its fields from link on are guarded by Peers.mu.
type peer struct {
	id   uint16
	link *link // nil while it is down

	advertise string // address that its clients are told
	since     int64  // of being up or down, in nanoseconds since 1970
	stored    uint64 // version of the catalogue
	rtt       int64  // smoothed, in nanoseconds; 0 while unknown
	seen      bool   // it has been up
	err       error  // why it is down, or does not follow
}

// Start begins to dial the nodes with lower ids. The others dial this one: hand their connections to Serve.
// Close ends it.
func Start(cfg Config) *Peers {
	cfg.Silence = cmp.Or(cfg.Silence, defaultSilence)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Peers{cfg: cfg, nodes: slices.Sorted(maps.Keys(cfg.Peers)), peers: make(map[uint16]*peer),
		started: cfg.Clock.Mono(), epoch: cfg.Epoch + 1, news: make(chan struct{})}
	p.jitter.state.Store(uint64(cfg.Clock.Now()) + uint64(cfg.Node))
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, id := range p.nodes {
		if id != cfg.Node {
			p.peers[id] = &peer{id: id, advertise: cfg.Peers[id], since: cfg.Clock.Now(),
				err: core.Errorf(core.CodeUnavailable, "connect to peer", "not connected yet")}
		}
	}
	for _, other := range p.peers {
		if other.id < cfg.Node {
			p.work.Go(func() { p.dial(other) })
		}
	}
	return p
}

// Close ends all links and waits for them.
func (p *Peers) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.work.Wait()
}

// Serve serves a connection that another node has dialed, until it has ended or ctx ends.
func (p *Peers) Serve(ctx context.Context, conn transport.Conn) {
	if !p.beginGreeting() {
		conn.Close(core.CodeLimited, "too many connections that have not said who they are")
		return
	}
	defer p.work.Done()
	other, err := p.expect(conn, 0)
	if err != nil {
		p.endGreeting()
		p.cfg.Logger.Warn("peer refused", "addr", conn.RemoteAddr().String(), "err", err)
		closeFor(conn, err)
		return
	}
	err = p.run(ctx, conn, other, false)
	p.cfg.Logger.Info("peer lost", "node", other.id, "err", err)
}

func (p *Peers) beginGreeting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.greeting >= greetingMax {
		return false
	}
	p.work.Add(1)
	p.greeting++
	return true
}

func (p *Peers) endGreeting() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.greeting--
}

func (p *Peers) meta() uint16 { return p.nodes[0] }

// Publish tells the others about a change that was stored. Only the meta node publishes. It does not block.
func (p *Peers) Publish(record core.CatalogueRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.peers {
		if other.link != nil && other.link.feed != nil {
			other.link.feed.push(record)
		}
	}
}

// Await waits until every peer that is connected has stored a version, for 2 s at most.
func (p *Peers) Await(ctx context.Context, version uint64) {
	timer := p.cfg.Clock.NewTimer(storeWait)
	defer timer.Stop()
	for {
		behind, news := p.behind(version)
		if !behind {
			return
		}
		select {
		case <-news:
		case <-timer.C():
			return
		case <-ctx.Done():
			return
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Peers) behind(version uint64) (bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.peers {
		if other.link != nil && other.stored < version {
			return true, p.news
		}
	}
	return false, p.news
}

// closeFor ends a connection because of an error.
func closeFor(conn transport.Conn, err error) {
	conn.Close(core.CodeOf(err), reasonOf(err))
}
