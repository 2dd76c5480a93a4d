package cluster

import (
	"context"
	"crypto/x509"
	"flag"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// TestMain fails the run if any test leaves a goroutine behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if fuzzing := flag.Lookup("test.fuzz"); fuzzing != nil && fuzzing.Value.String() != "" {
		os.Exit(code) // the engine has goroutines of its own
	}
	for deadline := time.Now().Add(30 * time.Second); code == 0 && runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "%d goroutines left, %d before\n", runtime.NumGoroutine(), before)
			code = 1
		}
		<-time.After(time.Millisecond)
	}
	os.Exit(code)
}

// pass lets time pass, in a bubble of virtual time.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// network connects nodes in memory. A node that has no Peers cannot be reached.
type network struct {
	t     *testing.T
	nodes []uint16

	mu     sync.Mutex // guards the following
	peers  map[uint16]*Peers
	shells map[uint16]*shell
	conns  map[[2]uint16]transport.Conn        // the last of a pair, by dialer and dialed
	carry  func(transport.Conn) transport.Conn // what dialers get
	work   sync.WaitGroup
}

func newNetwork(t *testing.T, nodes ...uint16) *network {
	w := &network{t: t, nodes: nodes, peers: map[uint16]*Peers{}, shells: map[uint16]*shell{},
		conns: map[[2]uint16]transport.Conn{}}
	for _, id := range nodes {
		w.shells[id] = &shell{catalogue: core.NewCatalogue()}
	}
	meta := w.shells[nodes[0]]
	meta.store(meta.catalogue.Adopt(nodes, nodes[0], 77)...)
	return w
}

func (w *network) addresses() map[uint16]string {
	list := map[uint16]string{}
	for _, id := range w.nodes {
		list[id] = fmt.Sprintf("node%d:4740", id)
	}
	return list
}

// up starts a node.
func (w *network) up(id uint16) *Peers {
	w.t.Helper()
	p := Start(Config{
		Cluster: "prod", Node: id, Peers: w.addresses(), Advertise: fmt.Sprintf("public%d:1", id), Start: "run",
		Shell: w.shells[id], Clock: clock.System, Dial: w.dialer(id),
	})
	w.mu.Lock()
	w.peers[id] = p
	w.mu.Unlock()
	return p
}

// down ends a node.
func (w *network) down(id uint16) {
	w.mu.Lock()
	p := w.peers[id]
	delete(w.peers, id)
	w.mu.Unlock()
	p.Close()
}

// all starts all nodes and gives them time to meet.
func (w *network) all() {
	for _, id := range w.nodes {
		w.up(id)
	}
	pass(3 * time.Second)
}

// close ends all nodes.
func (w *network) close() {
	for _, id := range w.nodes {
		if w.peers[id] != nil {
			w.down(id)
		}
	}
	w.work.Wait()
}

func (w *network) dialer(from uint16) func(context.Context, uint16, string) (transport.Conn, error) {
	return func(_ context.Context, to uint16, address string) (transport.Conn, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		target := w.peers[to]
		if target == nil || address != fmt.Sprintf("node%d:4740", to) {
			return nil, core.Errorf(core.CodeUnavailable, "dial", "nobody listens on %s", address)
		}
		dialed, accepted := w.pair(from, to)
		w.conns[[2]uint16{from, to}] = dialed
		if w.carry != nil {
			dialed = w.carry(dialed)
		}
		w.work.Go(func() { target.Serve(context.Background(), accepted) })
		return dialed, nil
	}
}

func (w *network) setCarry(carry func(transport.Conn) transport.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.carry = carry
}

// pair makes a connection on which both sides have shown certificates.
func (w *network) pair(from, to uint16) (dialed, accepted transport.Conn) {
	a, b := transport.Pipe(wire.ALPNPeer)
	return shows(a, fmt.Sprintf("leat://prod/%d", to)), shows(b, fmt.Sprintf("leat://prod/%d", from))
}

// certified is a connection whose other side has shown a certificate.
type certified struct {
	transport.Conn
	shown []*x509.Certificate
}

func (c *certified) PeerCertificates() []*x509.Certificate { return c.shown }

func shows(conn transport.Conn, uris ...string) transport.Conn {
	cert := &x509.Certificate{}
	for _, text := range uris {
		uri, err := url.Parse(text)
		if err != nil {
			panic(err)
		}
		cert.URIs = append(cert.URIs, uri)
	}
	return &certified{conn, []*x509.Certificate{cert}}
}

// shell is a node with nothing but a catalogue.
type shell struct {
	mu        sync.Mutex // guards the following
	catalogue *core.Catalogue
	changes   int // calls of MapChanged
	snapshots int // calls of Follow with one
	follows   int // calls of Follow with changes
	refuse    error
	hang      chan struct{} // Follow waits for it
}

func (s *shell) store(records ...core.CatalogueRecord) {
	for _, r := range records {
		if err := s.catalogue.Apply(r); err != nil {
			panic(err)
		}
	}
}

func (s *shell) Version() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalogue.Version()
}

func (s *shell) Snapshot(context.Context) ([]core.CatalogueRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalogue.Snapshot(), nil
}

func (s *shell) Follow(ctx context.Context, records []core.CatalogueRecord, snapshot bool) (uint64, error) {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return 0, s.refuse
	}
	if snapshot {
		s.snapshots++
		planned, err := s.catalogue.Follow(records)
		s.store(planned...)
		return s.catalogue.Version(), err
	}
	s.follows++
	for i := range records {
		if err := s.catalogue.Next(&records[i]); err != nil {
			return s.catalogue.Version(), err
		}
		s.store(records[i])
	}
	return s.catalogue.Version(), nil
}

func (s *shell) GroupNodes() []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	placed, _ := s.catalogue.Groups()
	return placed.Nodes()
}

func (s *shell) MapChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
}

func (s *shell) set(change func(*shell)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// create creates a topic on the meta node, as its node does.
func (w *network) create(name string) uint64 {
	w.t.Helper()
	meta, id := w.shells[w.nodes[0]], w.nodes[0]
	meta.mu.Lock()
	r, err := meta.catalogue.Create(name, core.TopicConfig{Partitions: 3}, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	r = meta.catalogue.InCluster(r, w.nodes)
	meta.store(r)
	meta.mu.Unlock()
	w.mu.Lock()
	p := w.peers[id]
	w.mu.Unlock()
	if p != nil {
		p.Publish(r)
	}
	return r.Version
}

// wantEqual fails unless a node has the catalogue of the meta node.
func (w *network) wantEqual(id uint16) {
	w.t.Helper()
	want, _ := w.shells[w.nodes[0]].Snapshot(context.Background())
	if got, _ := w.shells[id].Snapshot(context.Background()); !slices.Equal(got, want) {
		w.t.Errorf("node %d has %d records up to version %d, the meta node %d up to %d", id, len(got),
			w.shells[id].Version(), len(want), w.shells[w.nodes[0]].Version())
	}
}

// upSet gives the nodes that a node sees as up.
func upSet(p *Peers) []uint16 {
	var up []uint16
	for _, node := range p.Map().Nodes {
		if node.Up {
			up = append(up, node.ID)
		}
	}
	return up
}

// wantUp fails unless a node sees just these nodes as up.
func wantUp(t *testing.T, p *Peers, want ...uint16) {
	t.Helper()
	if got := upSet(p); !slices.Equal(got, want) {
		t.Errorf("node %d sees %v as up, want %v", p.cfg.Node, got, want)
	}
}
