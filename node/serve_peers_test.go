package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/netfault"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

// trio is three nodes in one process whose connections are in memory.
type trio struct {
	t testing.TB

	mu      sync.Mutex // guards the following
	doors   map[uint16]*door
	disks   map[uint16]*mmaplog.MemFS
	carried map[wire.Type]int // frames between nodes
	work    sync.WaitGroup
}

func newTrio(t testing.TB) *trio {
	r := &trio{t: t, doors: map[uint16]*door{}, disks: map[uint16]*mmaplog.MemFS{}, carried: map[wire.Type]int{}}
	t.Cleanup(func() {
		for _, id := range []uint16{1, 2, 3} {
			if r.door(id) != nil {
				r.down(id)
			}
		}
		r.work.Wait()
	})
	for _, id := range []uint16{1, 2, 3} {
		r.disks[id] = mmaplog.Heap()
		r.up(id)
	}
	r.settled(1, 2, 3)
	return r
}

// up starts a node and its door.
func (r *trio) up(id uint16) *door {
	r.t.Helper()
	b := openBed(r.t, r.disks[id], as(id))
	d := &door{bed: b, server: newServer(b.node, ServeConfig{DrainFor: time.Second})}
	d.server.startPeers(r.dialer(id), fmt.Sprintf("public%d:1", id))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doors[id] = d
	return d
}

// down stops a node.
func (r *trio) down(id uint16) {
	r.t.Helper()
	r.mu.Lock()
	d := r.doors[id]
	delete(r.doors, id)
	r.mu.Unlock()
	if err := d.server.Close(); err != nil {
		r.t.Error(err)
	}
	d.serve.Wait()
	d.close()
}

func (r *trio) door(id uint16) *door {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doors[id]
}

func (r *trio) dialer(from uint16) dialPeer {
	return func(_ context.Context, to uint16, _ string) (transport.Conn, error) {
		target := r.door(to)
		if target == nil {
			return nil, core.NewError(core.CodeUnavailable, "dial", nil)
		}
		dialed, accepted := transport.Pipe(wire.ALPNPeer)
		r.work.Go(func() {
			target.server.serveConn(target.server.ctx, &nodeConn{accepted, from, r})
		})
		return &nodeConn{dialed, to, r}, nil
	}
}

// nodeConn is a connection whose other side has shown the certificate of a node. It counts what is sent.
type nodeConn struct {
	transport.Conn
	node uint16
	trio *trio
}

func (c *nodeConn) PeerCertificates() []*x509.Certificate {
	uri := &url.URL{Scheme: "leat", Host: "prod", Path: fmt.Sprint("/", c.node)}
	return []*x509.Certificate{{URIs: []*url.URL{uri}}}
}

func (c *nodeConn) OpenStream(ctx context.Context) (transport.Stream, error) {
	s, err := c.Conn.OpenStream(ctx)
	return &countedStream{s, c.trio}, err
}

func (c *nodeConn) AcceptStream(ctx context.Context) (transport.Stream, error) {
	s, err := c.Conn.AcceptStream(ctx)
	return &countedStream{s, c.trio}, err
}

type countedStream struct {
	transport.Stream
	trio *trio
}

// Write gets whole frames: that is how lanes write.
func (s *countedStream) Write(p []byte) (int, error) {
	s.trio.mu.Lock()
	for rest := p; len(rest) >= wire.HeaderSize; {
		h := wire.ParseHeader(rest)
		s.trio.carried[h.Type]++
		rest = rest[min(h.Size(), len(rest)):]
	}
	s.trio.mu.Unlock()
	return s.Stream.Write(p)
}

// settled waits until all of the nodes see just each other and have the same catalogue.
func (r *trio) settled(nodes ...uint16) {
	r.t.Helper()
	for _, id := range nodes {
		d := r.door(id)
		eventually(r.t, fmt.Sprintf("node %d sees %v and has their catalogue", id, nodes), func() bool {
			var up []uint16
			for _, node := range d.node.mapNow().Nodes {
				if node.Up {
					up = append(up, node.ID)
				}
			}
			newest := r.door(nodes[0]).node.cluster.version.Load()
			return slices.Equal(up, nodes) && d.node.cluster.version.Load() == newest
		})
	}
}

// logEnds gives where each partition of topic "t" ends on a node.
func (d *door) logEnds() []int64 {
	var ends []int64
	for _, p := range d.node.topicNamed("t").partitions {
		if p.log != nil {
			ends = append(ends, p.log.End())
		}
	}
	return ends
}

var threeParts = leat.TopicConfig{Partitions: 3, Ack: leat.AckPage}

func (r *trio) create(name string) {
	r.t.Helper()
	if err := r.door(1).CreateTopic(soon(r.t), name, threeParts); err != nil {
		r.t.Fatal(err)
	}
}

// TestClusterCreates: when a creation is answered every node has the topic, with the same placement, tells
// clients so, and keeps files of its own partitions only.
func TestClusterCreates(t *testing.T) {
	r := newTrio(t)
	r.create("t")
	for id := range uint16(4) {
		d := r.door(id)
		if d == nil {
			continue
		}
		c := d.connect()
		if c.welcome.Node != id || c.welcome.Map.Meta != 1 || len(c.welcome.Map.GroupNodes) != 16 {
			t.Errorf("node %d says %+v", id, c.welcome)
		}
		for _, detail := range []bool{false, true} {
			var topics wire.TopicsAnswer
			if code, _ := c.call(wire.OpTopics, wire.TopicsRequest{Detail: detail}, &topics); code != 0 {
				t.Fatalf("topics of node %d: %v", id, code)
			}
			if len(topics.Topics) != 1 || !slices.Equal(topics.Topics[0].Placement, []uint16{1, 2, 3}) {
				t.Fatalf("topics of node %d: %+v", id, topics)
			}
			if local := topics.Topics[0].Local; detail && (len(local) != 1 || local[0].Partition != int32(id-1)) {
				t.Errorf("node %d tells of partitions %+v", id, local)
			}
		}
		var cluster wire.ClusterAnswer
		if code, _ := c.call(wire.OpCluster, wire.Empty{}, &cluster); code != 0 || cluster.Node != id ||
			len(cluster.Peers) != 2 || !cluster.Peers[0].Up || !cluster.Peers[1].Up {
			t.Errorf("node %d describes the cluster as %+v", id, cluster)
		}
		p := c.produceRaw(openBody(7))
		p.produce(uint16(id-1), 0, "v")
		p.wantAck("its own partition", wire.AckEntry{Partition: uint16(id - 1), Records: 1})
		if got, want := folders(t, d.fs), fmt.Sprintf("16/%d", id-1); len(got) != 1 || got[0] != want {
			t.Errorf("node %d has folders %q, want %s", id, got, want)
		}
	}
}

// TestNodesDoNotForward: a frame for the partition of another node is answered with its id, is in no log,
// and went over no connection between nodes.
func TestNodesDoNotForward(t *testing.T) {
	r := newTrio(t)
	r.create("t")
	for _, id := range []uint16{1, 2, 3} {
		c := r.door(id).connect()
		p := c.produceRaw(openBody(int64(id)))
		for other := range uint16(3) {
			if other == id-1 {
				continue
			}
			p.produce(other, 0, "v")
			if e := p.ack(); e.Code != core.CodeNotLeader || e.Node != other+1 || e.Partition != other {
				t.Errorf("node %d answers for partition %d: %+v", id, other, e)
			}
		}
		var sub wire.SubscribedBody
		s := c.open()
		s.json(wire.Header{Type: wire.Subscribe, Arg: 1 << 20}, wire.SubscribeBody{Topic: "t",
			Partitions: []wire.SubscribePartition{{Partition: int32(id % 3)}}})
		s.wantJSON(wire.Subscribed, &sub)
		if at := sub.Partitions[0]; at.Code != core.CodeNotLeader || at.Error == nil || at.Error.Node != id%3+1 {
			t.Errorf("node %d lets read partition %d: %+v", id, id%3, at)
		}
	}
	for _, id := range []uint16{1, 2, 3} {
		if ends := r.door(id).logEnds(); !slices.Equal(ends, []int64{0}) {
			t.Errorf("logs of node %d end at %v", id, ends)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.carried[wire.Catalogue] == 0 {
		t.Fatalf("the nodes were not overheard: %v", r.carried)
	}
	for frame := range r.carried {
		switch frame {
		case wire.PeerHello, wire.PeerWelcome, wire.Ping, wire.Pong, wire.Catalogue, wire.CatalogueOK:
		default:
			t.Errorf("%d frames of type %v between nodes", r.carried[frame], frame)
		}
	}
}

// TestMetaNodeDown: changes fail retriably, everything else goes on, also on a node that restarts.
func TestMetaNodeDown(t *testing.T) {
	r := newTrio(t)
	r.create("t")
	r.down(1)
	r.settled(2, 3)
	r.down(3)
	r.up(3)
	r.settled(2, 3)
	for _, id := range []uint16{2, 3} {
		d := r.door(id)
		err := d.CreateTopic(soon(t), "u", threeParts)
		wantNode(t, "CreateTopic", err, 1)
		wantNode(t, "DeleteTopic", d.DeleteTopic(soon(t), "t"), 1)
		publish(t, d.producer("t"), text("v"))
		if ends := d.logEnds(); !slices.Equal(ends, []int64{1}) {
			t.Errorf("logs of node %d end at %v", id, ends)
		}
	}
	r.up(1)
	r.settled(1, 2, 3)
	r.create("u")
	for _, id := range []uint16{1, 2, 3} {
		publish(t, r.door(id).producer("u"), text("v"))
	}
}

// TestNodeDown: only the partitions of a node that is down fail, new topics go to the others, and when it
// comes back it knows what was created and deleted meanwhile.
func TestNodeDown(t *testing.T) {
	r := newTrio(t)
	r.create("t")
	r.create("gone")
	publish(t, r.door(2).producer("gone"), text("v"))
	told := r.door(1).connect()
	r.down(2)
	r.settled(1, 3)
	var pushed wire.MapBody
	for told.control.wantJSON(wire.Map, &pushed); pushed.Nodes[1].Up; {
		told.control.wantJSON(wire.Map, &pushed)
	}
	if pushed.Epoch <= told.welcome.Map.Epoch || !pushed.Nodes[0].Up || !pushed.Nodes[2].Up {
		t.Errorf("clients are told %+v after %+v", pushed, told.welcome.Map)
	}
	for _, id := range []uint16{1, 3} {
		publish(t, r.door(id).producer("t"), text("v"))
	}
	const wait = 2 * time.Second // as long as a change waits for a node that is there
	began := time.Now()
	r.create("meanwhile")
	created := time.Since(began)
	if err := r.door(1).DeleteTopic(soon(t), "gone"); err != nil {
		t.Fatal(err)
	}
	// What waits for a node that is away does so at both; a slow machine may hold up one.
	if deleted := time.Since(began) - created; created >= wait && deleted >= wait {
		t.Errorf("without a node a creation took %v, a deletion %v", created, deleted)
	}
	if got := r.door(3).node.topicNamed("meanwhile").placement.Nodes(); slices.Contains(got, 2) {
		t.Errorf("a new topic is placed on %v, without node 2", got)
	}
	d := r.up(2)
	r.settled(1, 2, 3)
	publish(t, d.producer("t"), text("v"))
	list, err := d.Topics(soon(t))
	if err != nil || len(list) != 2 || list[0].Name != "meanwhile" || list[1].Name != "t" {
		t.Errorf("node 2 came back to %+v, %v", list, err)
	}
	if got := folders(t, d.fs); !slices.Equal(got, []string{"16/1"}) {
		t.Errorf("node 2 has folders %q", got)
	}
}

// TestGroupOfACluster: the node of a group's partition of __groups takes its members, the others do not.
func TestGroupOfACluster(t *testing.T) {
	r := newTrio(t)
	r.create("t")
	for i := range 12 {
		group := fmt.Sprint("g", i)
		leader := r.door(1).node.cluster.groups.Load().Node(core.GroupsPartition(group))
		for _, id := range []uint16{1, 2, 3} {
			s := r.door(id).connect().open()
			s.json(wire.Header{Type: wire.Join}, wire.JoinBody{Group: group, Topic: "t"})
			if id != leader {
				s.wantEnd("a group of another node", core.CodeNotLeader)
				continue
			}
			s.want(wire.Joined)
			seen := map[uint16]bool{}
			for range 3 {
				seen[s.want(wire.Assign).Aux] = true
			}
			if len(seen) != 3 {
				t.Errorf("the only member of a group got partitions %v", seen)
			}
		}
	}
}

// freeAddress gives an address of this machine that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := netfault.FreeAddress("udp")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// quicNode opens and serves a node of a cluster on this machine.
func quicNode(t testing.TB, cfg ClusterConfig) (*bed, *Server) {
	t.Helper()
	b := newBed(t, WithCluster(cfg))
	s, err := Serve(soon(t), b.Bus, ServeConfig{Listen: cfg.Peers[cfg.Node], DrainFor: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return b, s
}

func sees(b *bed, up ...uint16) bool {
	var got []uint16
	for _, node := range b.node.mapNow().Nodes {
		if node.Up {
			got = append(got, node.ID)
		}
	}
	return slices.Equal(got, up)
}

// TestClusterOverQUIC: nodes find each other with certificates of the development CA, and lose each other
// soon.
func TestClusterOverQUIC(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	peers := map[uint16]string{1: freeAddress(t), 2: freeAddress(t), 3: freeAddress(t)}
	var beds []*bed
	var servers []*Server
	for id := range uint16(3) {
		b, s := quicNode(t, ClusterConfig{Node: id + 1, Name: "prod", Peers: peers})
		beds, servers = append(beds, b), append(servers, s)
	}
	for _, b := range beds {
		eventually(t, "all see all", func() bool { return sees(b, 1, 2, 3) })
	}
	if err := beds[0].CreateTopic(soon(t), "t", threeParts); err != nil {
		t.Fatal(err)
	}
	for i, b := range beds {
		c := dialQUIC(t, servers[i])
		if got := c.welcome.Map.Nodes[i].Address; got != peers[uint16(i+1)] || c.welcome.Node != uint16(i+1) {
			t.Errorf("node %d tells clients %s", c.welcome.Node, got)
		}
		publish(t, b.producer("t"), text("v"))
	}
	began := time.Now()
	if err := servers[1].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others miss node 2", func() bool { return sees(beds[0], 1, 3) && sees(beds[2], 1, 3) })
	t.Logf("missed after %v", time.Since(began))
	again, err := Serve(soon(t), beds[1].Bus, ServeConfig{Listen: peers[2], DrainFor: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, b := range beds {
		eventually(t, "all see all again", func() bool { return sees(b, 1, 2, 3) })
	}
}

// TestStrangersAreNoPeers: over QUIC a connection of nodes needs the certificate of a node, of this cluster
// and signed by its CA.
func TestStrangersAreNoPeers(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	peers := map[uint16]string{1: freeAddress(t), 2: freeAddress(t)}
	b, _ := quicNode(t, ClusterConfig{Node: 1, Name: "prod", Peers: peers})
	trust, err := certs.DevelopmentClient("")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := certs.Development("")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := certs.NewAuthority("foreign", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		signer *certs.Authority
		uri    string
		want   core.Code
	}{
		"no certificate":      {nil, "", core.CodeDenied},
		"of another CA":       {foreign, "leat://prod/2", core.CodeDenied},
		"of another cluster":  {authority, "leat://test/2", core.CodeWrongNode},
		"of a node not known": {authority, "leat://prod/3", core.CodeWrongNode},
		"of nobody":           {authority, "", core.CodeUntrusted},
	} {
		cfg := trust.Clone()
		if tt.signer != nil {
			spec := certs.Spec{CommonName: "x", Hosts: []string{"localhost"}, Client: true, Server: true}
			if tt.uri != "" {
				spec.URIs = []string{tt.uri}
			}
			issued, err := tt.signer.Issue(spec)
			if err != nil {
				t.Fatal(err)
			}
			// Shown even where the server asks for one of another CA.
			pair := issued.TLS()
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &pair, nil
			}
		}
		conn, err := transport.Dial(soon(t), peers[1], transport.DialConfig{TLS: cfg, Protocol: wire.ALPNPeer})
		if err == nil {
			receive(t, what+": the end of the connection", conn.Done())
			err = conn.Err()
		}
		if got := core.CodeOf(err); got != tt.want {
			t.Errorf("%s: %v, want %v", what, err, tt.want)
		}
	}
	if !sees(b, 1) {
		t.Error("a stranger counts as a node")
	}
}

func TestClusterNeedsTLSBeyondThisMachine(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	b := newBed(t, WithCluster(ClusterConfig{Node: 1, Name: "prod",
		Peers: map[uint16]string{1: "127.0.0.1:0", 2: "192.0.2.1:4740"}}))
	_, err := Serve(soon(t), b.Bus, ServeConfig{Listen: "127.0.0.1:0"})
	wantError(t, "a peer elsewhere without TLS", err, core.ErrInsecure)
}

// TestClusterWithIssuedCertificates: nodes trust each other by a CA of their own, as beyond this machine.
func TestClusterWithIssuedCertificates(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	authority, err := certs.NewAuthority("peers", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca, caKey := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if err := certs.WriteFiles(ca, caKey, authority.CertPEM(), authority.KeyPEM()); err != nil {
		t.Fatal(err)
	}
	peers := map[uint16]string{1: freeAddress(t), 2: freeAddress(t)}
	var beds []*bed
	for id := range uint16(2) {
		issued, err := authority.Issue(certs.Spec{CommonName: "n", Hosts: []string{"127.0.0.1"}, Server: true,
			Client: true, URIs: []string{fmt.Sprintf("leat://prod/%d", id+1)}})
		if err != nil {
			t.Fatal(err)
		}
		cert, key := filepath.Join(dir, fmt.Sprint(id, ".crt")), filepath.Join(dir, fmt.Sprint(id, ".key"))
		if err := certs.WriteFiles(cert, key, issued.CertPEM, issued.KeyPEM); err != nil {
			t.Fatal(err)
		}
		trust, err := certs.PeerTLS(cert, key, ca)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := quicNode(t, ClusterConfig{Node: id + 1, Name: "prod", Peers: peers, PeerTLS: trust})
		beds = append(beds, b)
	}
	for _, b := range beds {
		eventually(t, "both see both", func() bool { return sees(b, 1, 2) })
	}
}
