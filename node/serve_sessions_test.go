package node

import (
	"context"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// hookedConn calls written after the first write to a stream that the other side opened.
type hookedConn struct {
	transport.Conn
	written func()
}

func (c *hookedConn) AcceptStream(ctx context.Context) (transport.Stream, error) {
	s, err := c.Conn.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	written := c.written
	c.written = func() {}
	return &hookedStream{s, written}, nil
}

type hookedStream struct {
	transport.Stream
	written func()
}

func (s *hookedStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	s.written()
	s.written = func() {}
	return n, err
}

// TestMapChangesDuringWelcome: a change of the map that clients were told of just before a client is marked
// as greeted reaches that client too.
func TestMapChangesDuringWelcome(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{})
	changed := func() {
		d.node.nodes.set(wire.MapBody{Epoch: 2, Cluster: "moved"})
		eventually(t, "the others are told", func() bool {
			d.node.nodes.mu.Lock()
			defer d.node.nodes.mu.Unlock()
			return d.node.nodes.changed != nil // pushMaps waits for the next change
		})
	}
	here, there := transport.Pipe(wire.ALPNClient)
	d.serve.Go(func() { d.server.serveConn(d.server.ctx, &hookedConn{there, changed}) })
	c := d.greet(here)
	var m wire.MapBody
	if c.control.wantJSON(wire.Map, &m); c.welcome.Map.Epoch != 1 || m.Epoch != 2 {
		t.Errorf("told epoch %d with WELCOME and %d with MAP, want 1 and 2", c.welcome.Map.Epoch, m.Epoch)
	}
}
