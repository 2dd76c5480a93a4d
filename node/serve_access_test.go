package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport/wire"
)

// knownTokens are the tokens of the tests: the secret is the name and "!".
func knownTokens(t testing.TB, lines string) func(string) *core.Principal {
	t.Helper()
	tokens, err := core.ParseTokens(lines)
	if err != nil {
		t.Fatal(err)
	}
	return tokens.Principal
}

func tokenLine(name, scopes string) string {
	return name + " " + core.HashToken(name+"!") + " " + scopes + "\n"
}

// hello connects and shows a secret.
func (d *door) hello(secret string) *rawClient {
	d.t.Helper()
	c := &rawClient{t: d.t, conn: d.dial(wire.ALPNClient)}
	d.t.Cleanup(func() { c.conn.Close(0, "") })
	c.control = c.open()
	c.control.json(wire.Header{Type: wire.Hello}, wire.HelloBody{Version: 1, Token: secret})
	return c
}

func (d *door) greetWith(secret string) *rawClient {
	d.t.Helper()
	c := d.hello(secret)
	c.control.wantJSON(wire.Welcome, &c.welcome)
	return c
}

func TestTokensAtHello(t *testing.T) {
	d := doorOf(one(t, leat.TopicConfig{}), ServeConfig{Advertise: "here:1",
		Tokens: knownTokens(t, tokenLine("app", "read:t"))})
	for _, secret := range []string{"", "app", "app! ", "other!"} {
		wantClosed(t, "secret "+secret, d.hello(secret).conn, core.CodeUnauthenticated)
	}
	d.greetWith("app!")
}

// openWith begins a stream and gives the code that it ends with, 0 if the node answers.
func openWith(of wire.Type, body any) func(*rawClient) core.Code {
	return func(c *rawClient) core.Code {
		s := c.open()
		s.json(wire.Header{Type: of, Arg: 1 << 20}, body)
		g := s.next()
		if g.err == nil {
			_ = s.Close()
			return 0
		}
		return core.CodeOf(g.err)
	}
}

// askFor makes a request and gives its code.
func askFor(op wire.Op, body any) func(*rawClient) core.Code {
	return func(c *rawClient) core.Code {
		var answer any
		code, _ := c.call(op, body, &answer)
		return code
	}
}

// TestTokensScopes: every stream and request asks core.Authorize before it looks for the topic.
func TestTokensScopes(t *testing.T) {
	d := doorOf(one(t, leat.TopicConfig{Ack: leat.AckPage}), ServeConfig{Advertise: "here:1",
		Tokens: knownTokens(t, tokenLine("none", "read:else publish:else")+tokenLine("reader", "read:t")+
			tokenLine("writer", "publish:*")+tokenLine("both", "read:t publish:t")+tokenLine("root", "admin"))})
	if err := d.CreateTopic(soon(t), "secret.plans", leat.TopicConfig{}); err != nil {
		t.Fatal(err)
	}
	place := []wire.SubscribePartition{{Partition: 0, Kind: uint8(core.PositionEarliest)}}
	tests := []struct {
		name    string
		do      func(*rawClient) core.Code
		allowed string // to which tokens
	}{
		{"publish", openWith(wire.ProducerOpen, wire.ProducerOpenBody{Topic: "t",
			Ack: uint8(leat.AckNone)}), "writer root"},
		{"subscribe", openWith(wire.Subscribe, wire.SubscribeBody{Topic: "t", Partitions: place}),
			"reader root"},
		{"join", openWith(wire.Join, wire.JoinBody{Topic: "t", Group: "g"}), "reader root"},
		{"join a queue", openWith(wire.QueueOpen, wire.QueueOpenBody{Topic: "t", Group: "q",
			Mode: uint8(core.GroupQueue), MaxHeld: 1}), "reader root"},
		{"respond", openWith(wire.Respond, wire.RespondBody{Topic: "t", Window: 1}), "root"},
		{"describe", askFor(wire.OpTopics, wire.TopicsRequest{Name: "t"}), "reader writer root"},
		{"offsets", askFor(wire.OpOffsets, wire.OffsetsBody{Topic: "t", Partitions: place}), "reader root"},
		{"peek", askFor(wire.OpPeek, wire.PeekBody{Topic: "t", Limit: 1}), "reader root"},
		{"pull", askFor(wire.OpPull, wire.PullBody{Topic: "t", Group: "p", Max: 1}), "reader root"},
		{"answer", askFor(wire.OpAnswerLoans, wire.LoansBody{Topic: "t", Group: "p",
			Kind: wire.SettleAck}), "reader root"},
		{"put a schedule", askFor(wire.OpPutSchedule, wire.ScheduleBody{Topic: "t", Name: "s",
			Cron: "@yearly"}), "writer root"},
		{"delete a schedule", askFor(wire.OpDeleteSchedule, wire.ScheduleNameBody{Topic: "t", Name: "s"}),
			"writer root"},
		{"schedules", askFor(wire.OpSchedules, wire.SchedulesBody{Topic: "t"}), "reader root"},
		{"all schedules", askFor(wire.OpSchedules, wire.SchedulesBody{}), "root"},
		{"cluster", askFor(wire.OpCluster, wire.Empty{}), "none reader writer root"},
		{"groups", askFor(wire.OpGroups, wire.Empty{}), "root"},
		{"ages", askFor(wire.OpAges, wire.AgesBody{}), "root"},
		{"dead letters", askFor(wire.OpDeadLetters, wire.Empty{}), "root"},
		{"create", askFor(wire.OpCreateTopic, wire.TopicBody{Name: "new"}), "root"},
		{"alter", askFor(wire.OpAlterTopic, wire.AlterBody{Name: "new"}), "root"},
		{"delete", askFor(wire.OpDeleteTopic, wire.NameBody{Name: "new"}), "root"},
	}
	for _, who := range []string{"none", "reader", "writer", "root"} {
		c := d.greetWith(who + "!")
		for _, tt := range tests {
			want := !slices.Contains(strings.Fields(tt.allowed), who)
			if got := tt.do(c); (got == core.CodeDenied) != want {
				t.Errorf("%s: %s: code %v; denied must be %v", who, tt.name, got, want)
			}
		}
		checkTopicsTold(t, c, who, map[string]int{"none": 0, "reader": 1, "writer": 2, "root": 2}[who])
		c.conn.Close(0, "")
	}
	respond := openWith(wire.Respond, wire.RespondBody{Topic: "t", Window: 1})
	if code := respond(d.greetWith("both!")); code != 0 {
		t.Errorf("a responder that may read and publish: code %v", code)
	}
}

func checkTopicsTold(t *testing.T, c *rawClient, who string, want int) {
	t.Helper()
	var answer wire.TopicsAnswer
	c.call(wire.OpTopics, wire.TopicsRequest{}, &answer)
	if len(answer.Topics) != want {
		t.Errorf("%s is told of %d topics, want %d", who, len(answer.Topics), want)
	}
}

// TestTokenTakenBack: the connection ends, for good; with other scopes clients are to connect again.
func TestTokenTakenBack(t *testing.T) {
	manual := clock.NewManual(1e18)
	var now atomic.Pointer[func(string) *core.Principal]
	set := func(lines string) { f := knownTokens(t, lines); now.Store(&f) }
	set(tokenLine("app", "read:t") + tokenLine("same", "read:t"))
	d := doorOf(one(t, leat.TopicConfig{}, withClock(manual)), ServeConfig{Advertise: "here:1",
		Tokens: func(secret string) *core.Principal { return (*now.Load())(secret) }})
	gone, changed, same := d.greetWith("app!"), d.greetWith("app!"), d.greetWith("same!")
	set(tokenLine("same", "read:t"))
	code, _ := gone.call(wire.OpOffsets, wire.OffsetsBody{Topic: "t"}, nil)
	if code != core.CodeUnauthenticated {
		t.Errorf("a request with a token that was taken back: %v", code)
	}
	ends := func(c *rawClient) func() bool {
		return func() bool { manual.Advance(tokenEvery); return hasEnded(c.conn) }
	}
	eventually(t, "the connection ends", ends(gone))
	wantClosed(t, "a token that was taken back", gone.conn, core.CodeUnauthenticated)
	wantClosed(t, "and with it", changed.conn, core.CodeUnauthenticated)
	if hasEnded(same.conn) {
		t.Error("a token that stayed lost its connection")
	}
	set(tokenLine("same", "read:t publish:t"))
	eventually(t, "the connection ends", ends(same))
	wantClosed(t, "other scopes", same.conn, core.CodeUnavailable)
	d.greetWith("same!")
}

// TestScopesChange: what a bus may do still goes on; when its token is taken back it ends, and says why.
func TestScopesChange(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	manual := clock.NewManual(1e18)
	var now atomic.Pointer[func(string) *core.Principal]
	set := func(lines string) { f := knownTokens(t, lines); now.Store(&f) }
	set(tokenLine("app", "read:t publish:t"))
	b := one(t, leat.TopicConfig{Partitions: 1, Ack: leat.AckPage}, withClock(manual))
	s, err := Serve(soon(t), b.Bus, ServeConfig{Listen: "127.0.0.1:0",
		Tokens: func(secret string) *core.Principal { return (*now.Load())(secret) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { mustDo(t, "Close", s.Close()) }()
	bus, err := leat.Dial(soon(t), s.Addr().String(), leat.WithToken("app!"),
		leat.WithUnreachableAfter(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	sub, err := bus.Subscribe("t")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	responder, err := bus.Respond("t", func(context.Context, *leat.Message) (leat.Message, error) {
		return leat.Message{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer responder.Close()

	first := onlySession(t, s)
	set(tokenLine("app", "read:t publish:t publish:more"))
	eventually(t, "the connection ends", func() bool {
		manual.Advance(tokenEvery)
		return hasEnded(first.conn)
	})
	p := openProducer(t, b.Bus, "t")
	if _, err := p.Publish(soon(t), leat.Message{Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for m, err := range sub.Messages(soon(t)) {
		if err != nil || string(m.Value) != "x" {
			t.Fatalf("%q, %v", m.Value, err)
		}
		break
	}
	eventually(t, "the responder is there again", func() bool {
		_, err := b.Request(soon(t), "t", leat.Message{})
		return err == nil
	})

	second := onlySession(t, s)
	set(tokenLine("other", "admin"))
	eventually(t, "the connection ends", func() bool {
		manual.Advance(tokenEvery)
		return hasEnded(second.conn)
	})
	receive(t, "the end of the responder", responder.Done())
	if err := responder.Err(); !errors.Is(err, leat.ErrUnauthenticated) {
		t.Errorf("the responder: %v", err)
	}
	for _, err := range sub.Messages(soon(t)) {
		if !errors.Is(err, leat.ErrUnauthenticated) {
			t.Errorf("the subscription: %v", err)
		}
		break
	}
}

// onlySession waits until a server has one session, and that lives.
func onlySession(t *testing.T, s *Server) (only *session) {
	t.Helper()
	eventually(t, "there is one session", func() bool {
		all := s.greetedSessions()
		if len(all) == 1 {
			only = all[0]
		}
		return len(all) == 1 && !hasEnded(only.conn)
	})
	return only
}

// TestDialWithToken: a bus shows its token, and learns what it may not do.
func TestDialWithToken(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	b := one(t, leat.TopicConfig{Partitions: 1, Ack: leat.AckPage})
	s, err := Serve(soon(t), b.Bus, ServeConfig{Listen: "127.0.0.1:0",
		Tokens: knownTokens(t, tokenLine("writer", "publish:t")+tokenLine("reader", "read:t"))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, options := range [][]leat.DialOption{nil, {leat.WithToken("no!")}} {
		if _, err := leat.Dial(soon(t), s.Addr().String(), options...); !errors.Is(err, leat.ErrUnauthenticated) {
			t.Errorf("Dial without a token of the server: %v", err)
		}
	}
	long := leat.WithToken(string(make([]byte, 1025)))
	if _, err := leat.Dial(soon(t), s.Addr().String(), long); !errors.Is(err, leat.ErrInvalidConfig) {
		t.Errorf("Dial with 1,025 bytes: %v", err)
	}
	bus, err := leat.Dial(soon(t), s.Addr().String(), leat.WithToken("writer!"),
		leat.WithUnreachableAfter(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	p := openProducer(t, bus, "t")
	if _, err := p.Publish(soon(t), leat.Message{Value: []byte("x")}); err != nil {
		t.Error(err)
	}
	if _, err := bus.Producer("secret"); !errors.Is(err, leat.ErrDenied) {
		t.Errorf("a producer without a scope: %v", err)
	}
	for _, options := range [][]leat.SubscribeOption{nil, {leat.Group("g")}, {leat.Group("q"), leat.Queue()}} {
		sub, err := bus.Subscribe("t", options...)
		if err == nil { // a queue tells at the first message
			for _, err = range sub.Messages(soon(t)) {
				break
			}
			_ = sub.Close()
		}
		if !errors.Is(err, leat.ErrDenied) {
			t.Errorf("a subscription with %d options without a scope: %v", len(options), err)
		}
	}
	if _, err := bus.Request(soon(t), "t", leat.Message{}); !errors.Is(err, leat.ErrNoResponders) {
		t.Errorf("a request with a scope: %v", err)
	}
	reader, err := leat.Dial(soon(t), s.Addr().String(), leat.WithToken("reader!"),
		leat.WithUnreachableAfter(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := reader.Request(soon(t), "t", leat.Message{}); !errors.Is(err, leat.ErrDenied) {
		t.Errorf("a request without a scope: %v", err)
	}
	if err := bus.CreateTopic(soon(t), "new", leat.TopicConfig{}); !errors.Is(err, leat.ErrDenied) {
		t.Errorf("CreateTopic without a scope: %v", err)
	}
}
