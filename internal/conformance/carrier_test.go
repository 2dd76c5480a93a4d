package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/netfault"
	"github.com/leatbus/leat/node"
)

// carrier is one way to have a bus.
type carrier struct {
	name string
	bus  *leat.Bus
	// dial gives another bus on the same data, closed with the test; the embedded carrier has only one.
	dial func(t *testing.T) *leat.Bus
	// cuts says that connections are lost now and then, so that messages of a group may come again.
	cuts bool
}

// carriers are opened once per run of the suite.
var carriers = []struct {
	name string
	open func(t *testing.T) *carrier
}{
	{"embedded", openEmbedded},
	{"one node over QUIC", openOneNode},
	{"three nodes over QUIC", openThreeNodes},
	{"a bad line", openBadLine},
}

// TestMain gives the run a development CA of its own.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "leat-conformance-")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Setenv("LEAT_CONFIG_DIR", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func openEmbedded(t *testing.T) *carrier {
	bus, err := node.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, bus)
	return &carrier{bus: bus, dial: func(*testing.T) *leat.Bus { return bus }}
}

// openOneNode serves a bus and dials it; every dial is a connection of its own.
func openOneNode(t *testing.T) *carrier {
	return dialled(t, serveNode(t, node.ServeConfig{Listen: "127.0.0.1:0"}))
}

// openThreeNodes dials one node of three.
func openThreeNodes(t *testing.T) *carrier {
	peers := map[uint16]string{}
	for id := range uint16(3) {
		peers[id+1] = freeAddress(t)
	}
	for id, address := range peers {
		serveNode(t, node.ServeConfig{Listen: address},
			node.WithCluster(node.ClusterConfig{Node: id, Name: "conformance", Peers: peers}))
	}
	c := dialled(t, peers[2])
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for ctx := soon(t); ; {
		info, err := c.bus.Cluster(ctx)
		if err != nil {
			t.Fatal(err)
		}
		up := 0
		for _, n := range info.Nodes {
			if n.Up {
				up++
			}
		}
		if up == 3 {
			return c
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("the nodes did not find each other: %+v", info)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := netfault.FreeAddress("udp")
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// openBadLine puts a relay between a node and its clients, which loses, delays, reorders and doubles
// packets and is cut now and then, for moments and for longer than a connection lasts.
func openBadLine(t *testing.T) *carrier {
	const seed = 20260131
	faults := netfault.Faults{Loss: 0.01, Duplicate: 0.01, Delay: time.Millisecond, Jitter: 2 * time.Millisecond}
	relay, err := netfault.New("127.0.0.1:9", netfault.Options{Seed: seed, ToTarget: faults, ToClient: faults})
	if err != nil {
		t.Fatal(err)
	}
	address := serveNode(t, node.ServeConfig{Listen: "127.0.0.1:0", Advertise: relay.Addr()})
	if err := relay.Retarget(address); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var cutting sync.WaitGroup
	cutting.Go(func() { cutNowAndThen(relay, stop) })
	t.Cleanup(func() { // after the buses, before the server
		close(stop)
		cutting.Wait()
		in, out := relay.Counts()
		for name, n := range map[string]int{"lost": in.Lost + out.Lost, "repeated": in.Duplicated + out.Duplicated,
			"reordered": in.Reordered + out.Reordered, "cut": in.Cut + out.Cut} {
			if n == 0 {
				t.Errorf("no packet was %s: the run proves nothing", name)
			}
		}
		relay.Close()
	})
	c := dialled(t, relay.Addr())
	c.cuts = true
	return c
}

func cutNowAndThen(relay *netfault.Relay, stop <-chan struct{}) {
	pause := func(d time.Duration) bool {
		select {
		case <-stop:
			return false
		case <-time.After(d):
			return true
		}
	}
	for _, cut := range slices.Repeat([]time.Duration{50, 300, 2500, 100}, 1000) {
		if !pause(1500 * time.Millisecond) {
			return
		}
		relay.Cut()
		on := pause(cut * time.Millisecond)
		relay.Heal()
		if !on {
			return
		}
	}
}

// serveNode opens a bus and its door, and gives the address.
func serveNode(t *testing.T, cfg node.ServeConfig, options ...node.Option) string {
	t.Helper()
	bus, err := node.Open(t.Context(), t.TempDir(), options...)
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, bus)
	server, err := node.Serve(t.Context(), bus, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("Server.Close: %v", err)
		}
	})
	return server.Addr().String()
}

// dialled is the carrier of a server at an address.
func dialled(t *testing.T, address string) *carrier {
	t.Helper()
	dial := func(t *testing.T) *leat.Bus {
		t.Helper()
		bus, err := leat.Dial(soon(t), address, leat.WithUnreachableAfter(20*time.Second))
		if err != nil {
			t.Fatalf("Dial(%s): %v", address, err)
		}
		closeWith(t, bus)
		return bus
	}
	return &carrier{bus: dial(t), dial: dial}
}

func closeWith(t *testing.T, bus *leat.Bus) {
	t.Helper()
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// forEach runs a case over every carrier.
func TestConformance(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			opened := c.open(t)
			opened.name = c.name
			for _, one := range cases {
				t.Run(one.name, func(t *testing.T) { one.run(t, opened) })
			}
		})
	}
}

// cases are all of the suite.
var cases []testCase

type testCase struct {
	name string
	run  func(t *testing.T, c *carrier)
}

func register(name string, run func(t *testing.T, c *carrier)) bool {
	cases = append(cases, testCase{name, run})
	return true
}

var topics atomic.Int64

// topic makes a topic with a name of its own.
func (c *carrier) topic(t *testing.T, cfg leat.TopicConfig) string {
	t.Helper()
	name := fmt.Sprintf("t%d", topics.Add(1))
	ctx := soon(t)
	err := c.bus.CreateTopic(ctx, name, cfg)
	// A connection that ended before the answer came says nothing about the topic.
	for errors.Is(err, leat.ErrUnavailable) && ctx.Err() == nil {
		if err = c.bus.CreateTopic(ctx, name, cfg); errors.Is(err, leat.ErrTopicExists) {
			err = nil
		}
	}
	if err != nil {
		t.Fatalf("CreateTopic(%s): %v", name, err)
	}
	return name
}

// soon bounds everything that has to happen in a test.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (c *carrier) producer(t *testing.T, topic string, options ...leat.ProducerOption) *leat.Producer {
	t.Helper()
	p, err := c.bus.Producer(topic, options...)
	if err != nil {
		t.Fatalf("Producer(%s): %v", topic, err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Producer.Close: %v", err)
		}
	})
	return p
}

func subscribe(
	t *testing.T, bus *leat.Bus, topic string, options ...leat.SubscribeOption,
) *leat.Subscription {
	t.Helper()
	sub, err := bus.Subscribe(topic, options...)
	if err != nil {
		t.Fatalf("Subscribe(%s): %v", topic, err)
	}
	t.Cleanup(func() {
		if err := sub.Close(); err != nil {
			t.Errorf("Subscription.Close: %v", err)
		}
	})
	return sub
}

// take reads n messages and keeps them.
func take(t *testing.T, sub *leat.Subscription, n int) []*leat.Message {
	t.Helper()
	var got []*leat.Message
	if n == 0 {
		return nil
	}
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(got), n, err)
		}
		if got = append(got, m.Clone()); len(got) == n {
			return got
		}
	}
	t.Fatalf("the loop ended after %d of %d messages", len(got), n)
	return nil
}

// publish publishes key and value and waits for the receipt.
func publish(t *testing.T, p *leat.Producer, key, value string) leat.Receipt {
	t.Helper()
	r, err := p.Publish(soon(t), leat.Message{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatalf("Publish(%s, %s): %v", key, value, err)
	}
	return r
}
