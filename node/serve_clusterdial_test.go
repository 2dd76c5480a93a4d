package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// quicTrio is three nodes on this machine, over QUIC, that have found each other.
type quicTrio struct {
	t       *testing.T
	peers   map[uint16]string
	beds    map[uint16]*bed
	servers map[uint16]*Server
}

func newQUICTrio(t *testing.T) *quicTrio {
	t.Helper()
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	r := &quicTrio{t: t, beds: map[uint16]*bed{}, servers: map[uint16]*Server{},
		peers: map[uint16]string{1: freeAddress(t), 2: freeAddress(t), 3: freeAddress(t)}}
	for _, id := range []uint16{1, 2, 3} {
		r.beds[id], r.servers[id] = quicNode(t, ClusterConfig{Node: id, Name: "prod", Peers: r.peers})
	}
	r.meet(1, 2, 3)
	return r
}

// meet waits until the nodes see just each other.
func (r *quicTrio) meet(nodes ...uint16) {
	r.t.Helper()
	for _, id := range nodes {
		eventually(r.t, fmt.Sprintf("node %d sees %v", id, nodes),
			func() bool { return sees(r.beds[id], nodes...) })
	}
}

func (r *quicTrio) dial(node uint16) *leat.Bus {
	r.t.Helper()
	bus, err := leat.Dial(soon(r.t), r.peers[node], leat.WithUnreachableAfter(patience))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			r.t.Errorf("Close of a client: %v", err)
		}
	})
	return bus
}

// stop closes the door and the bus of a node, whose folder is kept.
func (r *quicTrio) stop(id uint16) {
	r.t.Helper()
	if err := r.servers[id].Close(); err != nil {
		r.t.Error(err)
	}
	r.beds[id].close()
}

// start opens and serves a node that was stopped.
func (r *quicTrio) start(id uint16) {
	r.t.Helper()
	b := openBed(r.t, r.beds[id].fs, WithCluster(ClusterConfig{Node: id, Name: "prod", Peers: r.peers}))
	s, err := Serve(soon(r.t), b.Bus, ServeConfig{Listen: r.peers[id], DrainFor: time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	r.beds[id], r.servers[id] = b, s
}

// TestClientOfACluster: a client that knows one node creates on the meta node, publishes to and reads from
// all nodes, alone and in a group, and sees them all.
func TestClientOfACluster(t *testing.T) {
	r := newQUICTrio(t)
	bus := r.dial(3)
	cfg := leat.TopicConfig{Partitions: 6, Ack: leat.AckPage}
	if err := bus.CreateTopic(soon(t), "t", cfg); err != nil {
		t.Fatal(err)
	}
	p := openProducer(t, bus, "t")
	const n = 120
	for i := range n {
		publish(t, p, keyed(fmt.Sprint("key", i), fmt.Sprint(i)))
	}
	for id, b := range r.beds {
		total := int64(0)
		for _, part := range b.node.topicNamed("t").local {
			total += part.log.End()
		}
		if total < n/6 {
			t.Errorf("node %d has %d of %d records", id, total, n)
		}
	}
	for _, opts := range [][]leat.SubscribeOption{{leat.From(leat.Earliest)}, {leat.Group("g")}} {
		sub, err := bus.Subscribe("t", opts...)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, m := range take(t, sub, n) {
			seen[string(m.Value)] = true
		}
		if len(seen) != n {
			t.Errorf("%d different messages of %d", len(seen), n)
		}
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	}
	list, err := bus.Topics(soon(t))
	if err != nil || len(list) != 1 || len(list[0].Partitions) != 6 {
		t.Fatalf("topics %+v, %v", list, err)
	}
	for number, part := range list[0].Partitions {
		if part.Node != uint16(number%3+1) || part.Err != nil || part.End == 0 {
			t.Errorf("partition %+v", part)
		}
	}
	info, err := bus.Cluster(soon(t))
	if err != nil || info.Name != "prod" || info.Meta != 1 || len(info.Nodes) != 3 ||
		!info.Nodes[0].Up || !info.Nodes[1].Up || !info.Nodes[2].Up {
		t.Errorf("cluster %+v, %v", info, err)
	}
}

// TestClientWhileNodesGo: without the meta node creations fail and the rest goes on; without another node
// only its partitions fail, and they work again when it is back.
func TestClientWhileNodesGo(t *testing.T) {
	r := newQUICTrio(t)
	if err := r.beds[1].CreateTopic(soon(t), "t", threeParts); err != nil {
		t.Fatal(err)
	}
	bus, err := leat.Dial(soon(t), strings.Join([]string{r.peers[2], r.peers[3]}, ","),
		leat.WithUnreachableAfter(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	p := openProducer(t, bus, "t", leat.WithPartitioner(leat.Manual))
	to := func(partition int32) error {
		_, err := p.Publish(soon(t), leat.Message{Partition: partition, Value: []byte("v")})
		return err
	}
	// later gives the processor to those who connect: a publish to a node that is away fails at once.
	later := func() bool {
		<-time.After(20 * time.Millisecond)
		return false
	}
	again := func(partition int32) {
		t.Helper()
		var err error
		if !settles(func() bool { err = to(partition); return err == nil || later() }) {
			t.Fatalf("partition %d does not work again within %v: %v", partition, patience, err)
		}
	}
	for partition := range int32(3) {
		again(partition) // a busy machine may be longer about connecting than the client waits
	}
	r.stop(1)
	err = bus.CreateTopic(soon(t), "u", threeParts)
	wantError(t, "CreateTopic without the meta node", err, leat.ErrUnavailable)
	for partition := range int32(3) {
		if err := to(partition); (err == nil) != (partition > 0) {
			t.Errorf("publish to partition %d without node 1: %v", partition, err)
		}
	}
	r.start(1)
	r.meet(1, 2, 3)
	again(0)
	eventually(t, "topics can be created again", func() bool {
		err := bus.CreateTopic(soon(t), "u", threeParts)
		// An answer may be lost with a connection.
		return err == nil || errors.Is(err, leat.ErrTopicExists) || later()
	})
	r.stop(2)
	r.meet(1, 3)
	for partition := range int32(3) {
		if err := to(partition); (err == nil) != (partition != 1) {
			t.Errorf("publish to partition %d without node 2: %v", partition, err)
		}
	}
	r.start(2)
	r.meet(1, 2, 3)
	again(1)
}
