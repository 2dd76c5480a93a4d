package conformance

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// carrier is one way to have a bus.
type carrier struct {
	name string
	bus  *leat.Bus
	// dial gives another bus on the same data, closed with the test; the embedded carrier has only one.
	dial func(t *testing.T) *leat.Bus
	// slow says that a line in between makes everything take longer.
	slow bool
}

// carriers are opened once per run of the suite.
var carriers = []struct {
	name string
	open func(t *testing.T) *carrier
}{
	{"embedded", openEmbedded},
	{"one node over QUIC", openOneNode},
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
	return dialled(t, serveNode(t))
}

// serveNode opens a bus and its door, and gives the address.
func serveNode(t *testing.T) string {
	t.Helper()
	bus, err := node.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	closeWith(t, bus)
	server, err := node.Serve(t.Context(), bus, node.ServeConfig{Listen: "127.0.0.1:0"})
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
	if err := c.bus.CreateTopic(soon(t), name, cfg); err != nil {
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

func subscribe(t *testing.T, bus *leat.Bus, topic string, options ...leat.SubscribeOption) *leat.Subscription {
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
