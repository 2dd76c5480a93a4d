package leat_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/netfault"
	"github.com/leatbus/leat/node"
)

// server is a node with a QUIC door on this machine.
type server struct {
	t    *testing.T
	dir  string
	addr string
	bus  *leat.Bus
	srv  *node.Server
}

// serve starts a server, and a client of it.
func serve(t *testing.T) (*server, *leat.Bus) {
	t.Helper()
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	s := &server{t: t, dir: filepath.Join(t.TempDir(), "data")}
	var err error
	if s.addr, err = netfault.FreeAddress("udp"); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.stop)
	return s, s.dial()
}

// dial gives a client that is more patient than a slow machine takes to restart a server.
func (s *server) dial() *leat.Bus {
	s.t.Helper()
	bus, err := leat.Dial(soon(s.t), s.addr, leat.WithUnreachableAfter(time.Minute))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = bus.Close() }) // tests that care look at it themselves
	return bus
}

func (s *server) start() {
	s.t.Helper()
	var err error
	if s.bus, err = node.Open(soon(s.t), s.dir); err != nil {
		s.t.Fatal(err)
	}
	if s.srv, err = node.Serve(soon(s.t), s.bus, node.ServeConfig{Listen: s.addr,
		DrainFor: 2 * time.Second}); err != nil {
		s.t.Fatal(err)
	}
	s.addr = s.srv.Addr().String()
}

func (s *server) stop() {
	s.t.Helper()
	if s.bus == nil {
		return
	}
	if err := s.srv.Close(); err != nil {
		s.t.Errorf("close the door: %v", err)
	}
	if err := s.bus.Close(); err != nil {
		s.t.Errorf("close the node: %v", err)
	}
	s.bus = nil
}

// publishMany publishes n messages both ways, and waits for the answers.
func publishMany(t *testing.T, p *leat.Producer, n int) {
	t.Helper()
	var mu sync.Mutex
	answered := 0
	for i := range n {
		m := leat.Message{Key: fmt.Append(nil, i%7), Value: fmt.Append(nil, i)}
		if i%100 == 0 {
			if _, err := p.Publish(soon(t), m); err != nil {
				t.Fatal(err)
			}
			continue
		}
		p.PublishAsync(m, func(_ leat.Receipt, err error) {
			mu.Lock()
			defer mu.Unlock()
			if answered++; err != nil {
				t.Error(err)
			}
		})
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	if answered != n-n/100 {
		t.Errorf("%d answers", answered)
	}
}

// readMany reads n messages in order, and acks them.
func readMany(t *testing.T, s *leat.Subscription, n int) {
	t.Helper()
	next, count := map[int32]int64{}, 0
	for m, err := range s.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Offset != next[m.Partition] {
			t.Fatalf("%d/%d where %d is due", m.Partition, m.Offset, next[m.Partition])
		}
		next[m.Partition]++
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
		if count++; count == n {
			return
		}
	}
	t.Fatalf("the loop ended after %d messages", count)
}

// TestDialServe runs what a program does over a server.
func TestDialServe(t *testing.T) {
	_, bus := serve(t)
	cfg := leat.TopicConfig{Partitions: 3, Ack: leat.AckPage}
	if err := bus.CreateTopic(soon(t), "t", cfg); err != nil {
		t.Fatal(err)
	}
	if err := bus.CreateTopic(soon(t), "t", cfg); !errors.Is(err, leat.ErrTopicExists) {
		t.Errorf("again: %v", err)
	}
	sub, err := bus.Subscribe("t", leat.Group("g"))
	if err != nil {
		t.Fatal(err)
	}
	late, err := bus.Subscribe("t")
	if err != nil {
		t.Fatal(err)
	}
	p, err := bus.Producer("t")
	if err != nil {
		t.Fatal(err)
	}
	const n = 3000
	publishMany(t, p, n)
	readMany(t, sub, n)
	readMany(t, late, n)
	if err := sub.Commit(soon(t)); err != nil {
		t.Error(err)
	}
	groups, err := bus.Groups(soon(t))
	if err != nil || len(groups) != 1 || len(groups[0].Members) != 1 || groups[0].Partitions[0].LagRecords != 0 {
		t.Errorf("groups %+v, %v", groups, err)
	}
	topics, err := bus.Topics(soon(t))
	if err != nil || len(topics) != 1 || len(topics[0].Partitions) != 3 || topics[0].Partitions[0].Err != nil {
		t.Errorf("topics %+v, %v", topics, err)
	}
	if err := bus.ResetGroup(soon(t), "g", "t", leat.Earliest); !errors.Is(err, leat.ErrGroupActive) {
		t.Errorf("reset of a group with members: %v", err)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if err := bus.ResetGroup(soon(t), "g", "t", leat.Earliest); err != nil {
		t.Errorf("reset: %v", err)
	}
	if err := bus.DeleteGroup(soon(t), "g", "t"); err != nil {
		t.Errorf("delete group: %v", err)
	}
	if c, err := bus.Cluster(soon(t)); err != nil || len(c.Nodes) != 1 || !c.Nodes[0].Up {
		t.Errorf("cluster %+v, %v", c, err)
	}
	if err := bus.DeleteTopic(soon(t), "t"); err != nil {
		t.Error(err)
	}
	if _, err := p.Publish(soon(t), leat.Message{}); !errors.Is(err, leat.ErrTopicNotFound) {
		t.Errorf("publish to a deleted topic: %v", err)
	}
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
}

// TestDialRestarts restarts the server under a producer and a member: no publish fails, nothing is lost, and
// nothing that was acked comes again.
func TestDialRestarts(t *testing.T) {
	s, bus := serve(t)
	if err := bus.CreateTopic(soon(t), "t", leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	restarts, restarted := make(chan struct{}), make(chan struct{})
	published := make(chan error, 1)
	go func() {
		p, err := bus.Producer("t", leat.WithPartitioner(leat.Manual))
		for i := 0; i < n && err == nil; i++ {
			_, err = p.Publish(soon(t), leat.Message{Partition: int32(i % 2), Value: fmt.Append(nil, i/2)})
			if i%600 == 300 {
				restarts <- struct{}{}
			}
		}
		close(restarts)
		published <- err
	}()
	go func() {
		defer close(restarted)
		for range restarts {
			s.stop()
			s.start()
		}
	}()
	sub, err := bus.Subscribe("t", leat.Group("g"))
	if err != nil {
		t.Fatal(err)
	}
	next, count := map[int32]int{}, 0
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Value) != fmt.Sprint(next[m.Partition]) {
			t.Fatalf("%d/%d is %q, want %d", m.Partition, m.Offset, m.Value, next[m.Partition])
		}
		next[m.Partition]++
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
		if count++; count == n {
			break
		}
	}
	if count != n {
		t.Fatalf("%d of %d messages", count, n)
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
	<-restarted
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
}

// TestDialNamed: one producer of a name publishes, whichever door it came through.
func TestDialNamed(t *testing.T) {
	s, bus := serve(t)
	if err := bus.CreateTopic(soon(t), "t", leat.TopicConfig{Ack: leat.AckPage}); err != nil {
		t.Fatal(err)
	}
	other := s.dial()
	var older *leat.Producer
	for i, b := range []*leat.Bus{bus, other, s.bus, other} {
		p, err := b.Producer("t", leat.WithID("feed"))
		if err != nil {
			t.Fatalf("opening %d: %v", i, err)
		}
		r, err := p.Publish(soon(t), leat.Message{Value: fmt.Append(nil, i)})
		if err != nil || r.Offset != int64(i) {
			t.Errorf("publish %d: %+v, %v", i, r, err)
		}
		if older != nil {
			if _, err := older.Publish(soon(t), leat.Message{}); !errors.Is(err, leat.ErrProducerFenced) {
				t.Errorf("the producer before %d: %v", i, err)
			}
		}
		older = p
	}
	s.stop()
	s.start()
	if r, err := older.Publish(soon(t), leat.Message{}); err != nil || r.Offset != 4 {
		t.Errorf("the newest, after a restart: %+v, %v", r, err)
	}
}

func TestDialNobody(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := leat.Dial(ctx, "127.0.0.1:1"); !errors.Is(err, leat.ErrUnavailable) {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := leat.Dial(ctx, ""); !errors.Is(err, leat.ErrInvalidConfig) {
		t.Errorf("no address: %v", err)
	}
}

// TestDialUntrusted: a server that another user's CA signed is refused at once.
func TestDialUntrusted(t *testing.T) {
	s, _ := serve(t)
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	_, err := leat.Dial(soon(t), s.addr)
	if !errors.Is(err, leat.ErrUntrusted) || leat.HintFor(err) == "" {
		t.Errorf("dial: %v, hint %q", err, leat.HintFor(err))
	}
}
