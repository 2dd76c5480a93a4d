package node

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

// dialQUIC connects to a server on this machine and says HELLO.
func dialQUIC(t testing.TB, s *Server) *rawClient {
	t.Helper()
	trust, err := certs.DevelopmentClient("")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := transport.Dial(soon(t), s.Addr().String(), transport.DialConfig{
		TLS: trust, Protocol: wire.ALPNClient})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(0, "") })
	c := &rawClient{t: t, conn: conn}
	c.control = c.open()
	c.control.json(wire.Header{Type: wire.Hello}, wire.HelloBody{Version: 1})
	c.control.wantJSON(wire.Welcome, &c.welcome)
	return c
}

func TestServeOverQUIC(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	s, err := Serve(soon(t), b.Bus, ServeConfig{Listen: "127.0.0.1:0", DrainFor: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c := dialQUIC(t, s)
	if got := c.welcome.Map.Nodes[0].Address; got != s.Addr().String() {
		t.Errorf("told %s, listens on %s", got, s.Addr())
	}
	p := c.produceRaw(openBody(7))
	p.produce(0, 0, "a", "b")
	p.wantAck("first", wire.AckEntry{Records: 2})
	sub, answer := c.subscribeRaw(plenty, wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{
		from(0, core.Earliest)}})
	r := newRemoteReader(sub, answer)
	r.read(2)
	p.produce(0, 2, "c")
	r.read(3)
	if _, err := Serve(soon(t), b.Bus, ServeConfig{Listen: "127.0.0.1:0"}); err == nil {
		t.Error("a second server of one bus")
	}
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	c.control.want(wire.GoAway)
	receive(t, "the end of the connection", c.conn.Done())
	// That nobody listens any more may overtake the last packet of who did: by then the client has been told.
	switch code := core.CodeOf(c.conn.Err()); code {
	case core.CodeDraining, core.CodeUnavailable:
	default:
		t.Errorf("drained: closed with %v (%v)", code, c.conn.Err())
	}
	if err := receive(t, "Close", done); err != nil {
		t.Error(err)
	}
	again, err := Serve(soon(t), b.Bus, ServeConfig{Listen: s.Addr().String()})
	if err != nil {
		t.Fatalf("serving again: %v", err)
	}
	if c := dialQUIC(t, again); c.welcome.Start == "" {
		t.Error("no start")
	}
	b.close() // closes the server too
}

func TestServeConfigs(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	b := one(t, leat.TopicConfig{})
	tests := []struct {
		name string
		cfg  ServeConfig
		want error
	}{
		{"all addresses", ServeConfig{Listen: ":0"}, core.ErrInvalidConfig},
		{"all addresses, spelled out", ServeConfig{Listen: "0.0.0.0:0"}, core.ErrInvalidConfig},
		{"all addresses, no TLS", ServeConfig{Listen: "[::]:0", Advertise: "here:1"}, core.ErrInsecure},
		{"a name, no TLS", ServeConfig{Listen: "example.invalid:0"}, core.ErrInsecure},
		{"clients need nothing", ServeConfig{Listen: "192.0.2.1:0", TLS: &tls.Config{}}, core.ErrInsecure},
		{"no port", ServeConfig{Listen: "127.0.0.1"}, core.ErrInvalidConfig},
		{"a limit below 0", ServeConfig{Limits: ServeLimits{Streams: -1}}, core.ErrInvalidConfig},
		{"a time below 0", ServeConfig{DrainFor: -1}, core.ErrInvalidConfig},
		{"no such address", ServeConfig{Listen: "127.0.0.1:99999"}, core.ErrUnavailable},
	}
	for _, tt := range tests {
		_, err := Serve(soon(t), b.Bus, tt.cfg)
		wantError(t, tt.name, err, tt.want)
	}
	if _, err := Serve(soon(t), leat.NewBus(foreign{}), ServeConfig{}); err == nil {
		t.Error("a bus that lives elsewhere is served")
	} else {
		wantError(t, "foreign", err, core.ErrNotEmbedded)
	}
}

// foreign is a backend that is no Node.
type foreign struct{ leat.Backend }
