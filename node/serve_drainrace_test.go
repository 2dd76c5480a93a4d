package node

import (
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestFirstFrameWhileDraining: streams opened before GOAWAY whose first frame comes after it are not begun,
// for the drain does not wait for them.
func TestFirstFrameWhileDraining(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{})
	c := d.connect()
	bodies := map[wire.Type]any{
		wire.Join:         wire.JoinBody{Group: "g", Topic: "t"},
		wire.Subscribe:    wire.SubscribeBody{Topic: "t"},
		wire.ProducerOpen: openBody(1),
	}
	streams := make(map[wire.Type]*rawStream)
	for first := range bodies {
		streams[first] = c.open()
	}
	eventually(t, "the streams are accepted", func() bool {
		d.server.mu.Lock()
		defer d.server.mu.Unlock()
		for s := range d.server.sessions {
			return s.streams.Load() == int32(len(bodies))
		}
		return false
	})
	d.server.mu.Lock()
	d.server.isDraining = true
	d.server.mu.Unlock()
	for first, s := range streams {
		s.json(wire.Header{Type: first}, bodies[first])
		s.wantEnd(first.String(), core.CodeDraining)
	}
}
