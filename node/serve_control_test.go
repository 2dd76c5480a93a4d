package node

import (
	"bytes"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

func withClock(c clock.Clock) Option { return func(o *options) { o.clock = c } }

func TestWelcome(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{})
	c := d.connect()
	w := c.welcome
	if w.Version != 1 || w.Start == "" || w.Map.Epoch != 1 || len(w.Map.Nodes) != 1 ||
		w.Map.Nodes[0] != (wire.NodeBody{Address: "here:1", Up: true}) {
		t.Errorf("WELCOME %+v", w)
	}
	c.control.frame(wire.Header{Type: wire.Ping, Arg: 99})
	if g := c.control.want(wire.Pong); g.Arg != 99 {
		t.Errorf("PONG %d, want 99", g.Arg)
	}
	d.node.nodes.set(wire.MapBody{Epoch: 2, Cluster: "moved"})
	var m wire.MapBody
	if c.control.wantJSON(wire.Map, &m); m.Epoch != 2 || m.Cluster != "moved" {
		t.Errorf("MAP %+v", m)
	}
	c.control.frame(wire.Header{Type: 200, Arg: 1}, make([]byte, 70_000)...)
	c.control.frame(wire.Header{Type: wire.Ping, Arg: 100})
	if g := c.control.want(wire.Pong); g.Arg != 100 {
		t.Errorf("PONG %d behind an unknown frame, want 100", g.Arg)
	}
	if err := c.control.Close(); err != nil {
		t.Error(err)
	}
	receive(t, "the end of the connection", c.conn.Done())
	eventually(t, "no session is left", func() bool { return len(d.server.greetedSessions()) == 0 })
}

// TestBeforeHello: what a client does wrong first ends the connection.
func TestBeforeHello(t *testing.T) {
	hello := wire.Header{Type: wire.Hello}
	tests := []struct {
		name string
		raw  []byte
		end  bool // the client ends the stream then
		code core.Code
	}{
		{"another frame", (&wire.Header{Type: wire.Ping}).Append(nil), false, core.CodeProtocol},
		{"a frame of a node", (&wire.Header{Type: wire.Welcome}).Append(nil), false, core.CodeProtocol},
		{"too long", (&wire.Header{Type: wire.Hello, Length: 4097}).Append(nil), false, core.CodeProtocol},
		{"far too long", (&wire.Header{Type: wire.Hello, Length: 1<<32 - 1}).Append(nil), false, core.CodeProtocol},
		{"no JSON", append((&wire.Header{Type: wire.Hello, Length: 3}).Append(nil), "{]}"...), false,
			core.CodeProtocol},
		{"no version", wire.Marshal(nil, hello, wire.Empty{}), false, core.CodeProtocol},
		{"a version below 1", wire.Marshal(nil, hello, wire.HelloBody{Version: -1}), false, core.CodeProtocol},
		{"cut in the header", []byte{1, 2, 3}, true, core.CodeProtocol},
		{"cut in the payload", (&wire.Header{Type: wire.Hello, Length: 9}).Append(nil), true, core.CodeProtocol},
		{"nothing", nil, true, core.CodeProtocol},
		{"what must be understood",
			(&wire.Header{Type: 99, Flags: wire.FlagMustUnderstand}).Append(nil), false, core.CodeUnsupported},
	}
	d := newDoor(t, leat.TopicConfig{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &rawClient{t: t, conn: d.dial(wire.ALPNClient)}
			s := c.open()
			s.send(tt.raw)
			if tt.end {
				_ = s.Close()
			}
			wantClosed(t, tt.name, c.conn, tt.code)
		})
	}
	c := d.connect()
	c.call(wire.OpTopics, wire.TopicsRequest{}, &wire.TopicsAnswer{})
}

func TestHelloOfANewerVersion(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{})
	c := &rawClient{t: t, conn: d.dial(wire.ALPNClient)}
	s := c.open()
	s.json(wire.Header{Type: wire.Hello}, map[string]any{"version": 9, "features": 1 << 40, "new": []int{1}})
	var w wire.WelcomeBody
	if s.wantJSON(wire.Welcome, &w); w.Version != wire.Version || w.Features != wire.Features {
		t.Errorf("WELCOME of version %d, features %d", w.Version, w.Features)
	}
	c.conn.Close(0, "")
}

func TestOtherProtocols(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{})
	for _, protocol := range []string{wire.ALPNPeer, "h3", ""} {
		wantClosed(t, protocol, d.dial(protocol), core.CodeUnsupported)
	}
}

func TestSilentConnections(t *testing.T) {
	manual := clock.NewManual(1e18)
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage}, withClock(manual))
	silent := d.dial(wire.ALPNClient)
	half := &rawClient{t: t, conn: d.dial(wire.ALPNClient)}
	half.open().send([]byte{1, 0, 0})
	c := d.connect()
	mute := c.open()
	mute.send([]byte{0})
	before := manual.Timers()
	eventually(t, "timers of all three", func() bool { return manual.Timers() >= before })
	eventually(t, "the stream is served", func() bool { return d.streams() == 1 })
	eventually(t, "all three are given up", func() bool { // a timer may be set between two steps
		manual.Advance(helloWait / 10)
		return hasEnded(silent) && hasEnded(half.conn) && d.streams() == 0
	})
	wantClosed(t, "silent", silent, core.CodeProtocol)
	wantClosed(t, "half a header", half.conn, core.CodeProtocol)
	mute.wantEnd("half a header on a stream", core.CodeProtocol)
	c.control.frame(wire.Header{Type: wire.Ping})
	c.control.want(wire.Pong)
}

func hasEnded(conn transport.Conn) bool {
	select {
	case <-conn.Done():
		return true
	default:
		return false
	}
}

func (d *door) streams() (n int32) {
	for _, c := range d.server.greetedSessions() {
		n += c.streams.Load()
	}
	return n
}

func TestControlStreamMisused(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{})
	for _, typ := range []wire.Type{wire.Hello, wire.Welcome, wire.GoAway, wire.Response, wire.Map,
		wire.ProducerOpen, wire.Produce, wire.Credit, wire.Subscribe, wire.Join, wire.MemberAck, wire.PeerHello} {
		c := d.connect()
		c.control.frame(wire.Header{Type: typ})
		wantClosed(t, typ.String(), c.conn, core.CodeProtocol)
	}
	for name, raw := range map[string][]byte{
		"too long":      (&wire.Header{Type: wire.Request, Length: wire.MaxOpenPayload + 1}).Append(nil),
		"no JSON":       append((&wire.Header{Type: wire.Request, Aux: 1, Length: 2}).Append(nil), "[1"...),
		"another shape": append((&wire.Header{Type: wire.Request, Aux: 1, Length: 3}).Append(nil), "[1]"...),
		"no body":       (&wire.Header{Type: wire.Request, Aux: 2}).Append(nil),
	} {
		c := d.connect()
		c.control.send(raw)
		wantClosed(t, name, c.conn, core.CodeProtocol)
	}
	if d.server.stats.protocolErrs.Load() == 0 {
		t.Error("nothing was counted")
	}
}

func TestStreamsMisused(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{})
	c := d.connect()
	for _, typ := range []wire.Type{wire.Hello, wire.Ping, wire.Request, wire.ProducerOK, wire.Produce,
		wire.Acks, wire.Credit, wire.Subscribed, wire.Batch, wire.Add, wire.Remove, wire.Joined, wire.Commit,
		wire.Leave,
		wire.PeerHello} {
		s := c.open()
		s.frame(wire.Header{Type: typ})
		s.wantEnd(typ.String(), core.CodeProtocol)
	}
	for _, typ := range []wire.Type{wire.ProducerOpen, wire.Subscribe, wire.Join} {
		for name, payload := range map[string]string{"nothing": "", "no JSON": "{", "no object": "[]"} {
			s := c.open()
			s.frame(wire.Header{Type: typ}, []byte(payload)...)
			s.wantEnd(typ.String()+" with "+name, core.CodeProtocol)
		}
		s := c.open()
		s.send((&wire.Header{Type: typ, Length: wire.MaxOpenPayload + 1}).Append(nil))
		s.wantEnd(typ.String()+" too long", core.CodeProtocol)
	}
	s := c.open()
	s.frame(wire.Header{Type: 99, Flags: wire.FlagMustUnderstand})
	s.wantEnd("what must be understood", core.CodeUnsupported)
	s = c.open()
	_ = s.Close()
	s.wantEnd("nothing", core.CodeProtocol)
	c.call(wire.OpTopics, wire.TopicsRequest{}, &wire.TopicsAnswer{})
}

func TestLimits(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	d := doorOf(b, ServeConfig{Limits: ServeLimits{Connections: 2, Streams: 3}})
	c := d.connect()
	d.connect()
	wantClosed(t, "a third connection", d.dial(wire.ALPNClient), core.CodeLimited)
	var open []*rawStream
	for range 3 {
		s := c.open()
		s.json(wire.Header{Type: wire.Subscribe}, wire.SubscribeBody{Topic: "t"})
		s.want(wire.Subscribed)
		open = append(open, s)
	}
	c.open().wantEnd("a fourth stream", core.CodeLimited)
	_ = open[0].Close()
	eventually(t, "room for a stream", func() bool { return d.streams() == 2 })
	s := c.open()
	s.json(wire.Header{Type: wire.Subscribe}, wire.SubscribeBody{Topic: "t"})
	s.want(wire.Subscribed)
}

func TestTooManyWithoutHello(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	var silent []interface{ Close(core.Code, string) }
	for range maxPending {
		silent = append(silent, d.dial(wire.ALPNClient))
	}
	eventually(t, "all are pending", func() bool {
		d.server.mu.Lock()
		defer d.server.mu.Unlock()
		return d.server.pending == maxPending
	})
	wantClosed(t, "one more", d.dial(wire.ALPNClient), core.CodeLimited)
	for _, conn := range silent {
		conn.Close(0, "")
	}
	eventually(t, "none is pending", func() bool {
		d.server.mu.Lock()
		defer d.server.mu.Unlock()
		return d.server.pending == 0
	})
	d.connect()
}

// TestRequestFlood: at most 64 requests run at once, the others are told so; a client that reads nothing
// stops the control stream and nothing else.
func TestRequestFlood(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	c := d.connect()
	const requests = 500
	h := wire.Header{Type: wire.Request, Aux: uint16(wire.OpTopics)}
	frame := wire.Marshal(nil, h, wire.TopicsRequest{Detail: true})
	sent := make(chan error, 1)
	go func() {
		_, err := c.control.Write(bytes.Repeat(frame, requests))
		sent <- err
	}()
	limited := 0
	for range requests {
		switch g := c.control.want(wire.Response); core.Code(g.Aux) {
		case 0:
		case core.CodeLimited:
			limited++
		default:
			t.Fatalf("answer %d %s", g.Aux, g.payload)
		}
	}
	if err := receive(t, "all sent", sent); err != nil {
		t.Error(err)
	}
	t.Logf("%d of %d were over the limit", limited, requests)
	if code, _ := c.call(wire.OpTopics, wire.TopicsRequest{}, &wire.TopicsAnswer{}); code != 0 {
		t.Errorf("afterwards: %v", code)
	}
}

func TestMapForAClientThatReadsNothing(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	c, good := d.connect(), d.connect()
	big := make([]wire.NodeBody, 3000)
	epoch := uint64(1)
	eventually(t, "the deaf client is dropped", func() bool {
		epoch++
		d.node.nodes.set(wire.MapBody{Epoch: epoch, Nodes: big})
		for {
			var m wire.MapBody
			if good.control.wantJSON(wire.Map, &m); m.Epoch == epoch {
				break
			}
		}
		select {
		case <-c.conn.Done():
			return true
		default:
			return false
		}
	})
	wantClosed(t, "deaf", c.conn, core.CodeLimited)
}

// TestStreamFlood: streams over the limit cost nothing and end; the others go on.
func TestStreamFlood(t *testing.T) {
	d := doorOf(one(t, leat.TopicConfig{Ack: leat.AckPage}), ServeConfig{Limits: ServeLimits{Streams: 10}})
	c := d.connect()
	p := c.produceRaw(openBody(7))
	var silent []*rawStream
	for range 9 {
		silent = append(silent, c.open())
	}
	eventually(t, "all are served", func() bool { return d.streams() == 10 })
	for i := range 1000 {
		s := c.open()
		s.wantEnd("one more", core.CodeLimited)
		if i%100 == 0 {
			p.produce(0, int32(i/100), "x")
			p.wantAck("meanwhile", wire.AckEntry{Records: 1, BaseSeq: int32(i / 100), Offset: int64(i / 100)})
		}
	}
	for _, s := range silent {
		s.Reset(0)
	}
	eventually(t, "one is left", func() bool { return d.streams() == 1 })
}
