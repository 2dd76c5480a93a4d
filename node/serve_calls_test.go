package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// rawCalls is a call stream that a test drives.
type rawCalls struct{ *rawStream }

func (c *rawClient) openCalls() *rawCalls {
	c.t.Helper()
	s := &rawCalls{c.open()}
	s.frame(wire.Header{Type: wire.CallOpen})
	return s
}

func callRecord(t testing.TB, value string) []byte {
	t.Helper()
	record, err := leat.EncodeCall(&leat.Message{Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func (s *rawCalls) ask(id uint64, head wire.CallHead, value string) {
	s.t.Helper()
	head.Topic, head.Timeout = "t", time.Hour
	if head.Partition == 0 {
		head.Partition = wire.AnyPartition
	}
	s.send(wire.AppendCall(nil, id, &head, callRecord(s.t, value)))
}

// wantReply reads the REPLY to a request: a value, or the code of an error.
func (s *rawCalls) wantReply(id uint64, value string, code core.Code) {
	s.t.Helper()
	g := s.want(wire.Reply)
	if g.Arg != id || core.Code(g.Aux) != code || code == 0 && !bytes.Equal(g.payload, callRecord(s.t, value)) {
		s.t.Fatalf("REPLY to %d with %d %q, want %d, %d and %q", g.Arg, g.Aux, g.payload, id, code, value)
	}
}

// rawResponder is a responder stream that a test drives.
type rawResponder struct{ *rawStream }

func (c *rawClient) respond(window int32) *rawResponder {
	c.t.Helper()
	s := &rawResponder{c.open()}
	s.json(wire.Header{Type: wire.Respond}, wire.RespondBody{Topic: "t", Window: window})
	var body wire.RespondingBody
	if s.wantJSON(wire.Responding, &body); body.MaxRecordBytes == 0 || body.TopicID == 0 {
		c.t.Errorf("RESPONDING %+v", body)
	}
	return s
}

// wantCall reads a CALL and gives its number.
func (s *rawResponder) wantCall(value string) uint64 {
	s.t.Helper()
	g := s.want(wire.Call)
	head, record, err := wire.DecodeCall(g.payload)
	if err != nil || head.Topic != "" || head.Timeout > time.Hour ||
		!bytes.Equal(record, callRecord(s.t, value)) {
		s.t.Fatalf("CALL %+v of %q, %v; want %q", head, record, err, value)
	}
	return g.Arg
}

func (s *rawResponder) reply(id uint64, value string) {
	s.t.Helper()
	s.send(wire.AppendReply(nil, id, callRecord(s.t, value)))
}

func (s *rawResponder) fail(id uint64, code core.Code) {
	s.t.Helper()
	s.json(wire.Header{Type: wire.Reply, Arg: id, Aux: uint16(code)}, wire.ErrorBody{Cause: "no"})
}

func (b *bed) callStats() CallStats {
	b.t.Helper()
	s, err := StatsOf(soon(b.t), b.Bus)
	if err != nil {
		b.t.Fatal(err)
	}
	return s.Calls
}

func TestServeCalls(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	asks, answers := d.connect().openCalls(), d.connect()
	asks.ask(1, wire.CallHead{}, "early")
	asks.wantReply(1, "", core.CodeNoResponders)
	r := answers.respond(2)
	for id := range uint64(3) {
		asks.ask(10+id, wire.CallHead{}, fmt.Sprint(id))
	}
	first, second := r.wantCall("0"), r.wantCall("1")
	r.reply(second, "one")
	asks.wantReply(11, "one", 0)
	third := r.wantCall("2") // there is room again
	asks.frame(wire.Header{Type: wire.CallCancel, Arg: 10})
	asks.frame(wire.Header{Type: wire.CallCancel, Arg: 10}) // which is over
	asks.frame(wire.Header{Type: wire.CallCancel, Arg: 77}) // which never was
	if g := r.want(wire.CallCancel); g.Arg != first {
		t.Errorf("CALL_CANCEL of %d, want %d", g.Arg, first)
	}
	r.reply(first, "late")
	r.fail(third, core.CodeDraining) // is not the node's word
	asks.wantReply(12, "", core.CodeRequestFailed)
	asks.ask(10, wire.CallHead{}, "again")
	r.reply(r.wantCall("again"), "done")
	asks.wantReply(10, "done", 0)
	stats := d.callStats()
	if stats.Late != 1 || stats.Cancelled != 1 || stats.Responders != 1 || stats.Pending != 0 ||
		stats.Ends[0] != 2 || stats.Ends[core.CodeNoResponders] != 1 || stats.Ends[core.CodeRequestFailed] != 1 {
		t.Errorf("figures %+v", stats)
	}
}

// TestResponderIsLost: what a responder has not answered fails as soon as its stream ends; what waits for it
// goes to another one, or to nobody.
func TestResponderIsLost(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	asks := d.connect().openCalls()
	for i, end := range []func(r *rawResponder, c *rawClient){
		func(r *rawResponder, _ *rawClient) { r.Reset(core.CodeClosed) },
		func(r *rawResponder, _ *rawClient) { _ = r.Close() },
		func(_ *rawResponder, c *rawClient) { c.conn.Close(0, "killed") },
	} {
		client := d.connect()
		r := client.respond(1)
		first := uint64(10 * i)
		asks.ask(first, wire.CallHead{}, "x")
		asks.ask(first+1, wire.CallHead{}, "y")
		r.wantCall("x")
		end(r, client)
		got := map[uint64]core.Code{}
		for range 2 {
			g := asks.want(wire.Reply)
			got[g.Arg] = core.Code(g.Aux)
		}
		if got[first] != core.CodeResponderLost || got[first+1] != core.CodeNoResponders {
			t.Errorf("answers %v", got)
		}
	}
	eventually(t, "nobody is left", func() bool {
		s := d.callStats()
		return s.Responders == 0 && s.Pending == 0
	})

	r, other := d.connect().respond(1), d.connect().respond(1)
	asks.ask(93, wire.CallHead{}, "z")
	asks.ask(94, wire.CallHead{}, "z")
	one, two := r.wantCall("z"), other.wantCall("z")
	r.frame(wire.Header{Type: wire.Resign})
	r.fail(one, core.CodeNoResponders) // it has come when the responder had resigned
	other.reply(two, "two")
	asks.want(wire.Reply)
	other.reply(other.wantCall("z"), "one")
	asks.want(wire.Reply)
}

// TestRequesterIsLost: its requests are cancelled, and what is replied to them is late.
func TestRequesterIsLost(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	r, client := d.connect().respond(2), d.connect()
	asks := client.openCalls()
	asks.ask(1, wire.CallHead{}, "x")
	id := r.wantCall("x")
	client.conn.Close(0, "killed")
	if g := r.want(wire.CallCancel); g.Arg != id {
		t.Errorf("CALL_CANCEL of %d, want %d", g.Arg, id)
	}
	r.reply(id, "late")
	eventually(t, "the reply is late", func() bool { return d.callStats().Late == 1 })
}

func TestServeGather(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	asks := d.connect().openCalls()
	every := wire.CallHead{Gather: 5}
	asks.ask(1, every, "who")
	if g := asks.want(wire.Gathered); g.Arg != 1 || core.Code(g.Aux) != core.CodeNoResponders {
		t.Errorf("GATHERED %d with %d", g.Arg, g.Aux)
	}
	var rs []*rawResponder
	for range 4 {
		rs = append(rs, d.connect().respond(1))
	}
	asks.ask(2, every, "who")
	var ids []uint64
	for _, r := range rs {
		ids = append(ids, r.wantCall("who"))
	}
	rs[2].reply(ids[2], "2")
	asks.wantReply(2, "2", 0)
	rs[1].fail(ids[1], core.CodeRequestFailed)
	asks.wantReply(2, "", core.CodeRequestFailed)
	rs[0].fail(ids[0], core.CodeNoResponders) // it has got this from another node
	rs[3].Reset(core.CodeClosed)
	asks.wantReply(2, "", core.CodeResponderLost)
	if g := asks.want(wire.Gathered); g.Arg != 2 || g.Aux != 0 {
		t.Errorf("GATHERED %d with %d", g.Arg, g.Aux)
	}
}

func TestServeCallsIsChecked(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage, MaxRecordBytes: 4096})
	c := d.connect()
	asks := c.openCalls()
	asks.ask(1, wire.CallHead{Partition: 7}, "x")
	asks.wantReply(1, "", core.CodePartitionUnknown)
	asks.ask(2, wire.CallHead{}, string(make([]byte, 5000)))
	asks.wantReply(2, "", core.CodeRecordTooLarge)
	asks.send(wire.AppendCall(nil, 3, &wire.CallHead{Timeout: 1, Topic: "nope", Partition: wire.AnyPartition},
		callRecord(t, "x")))
	asks.wantReply(3, "", core.CodeTopicNotFound)

	asks.frame(wire.Header{Type: wire.Call, Arg: 4}, 1, 2, 3)
	asks.wantEnd("a CALL of three bytes", core.CodeProtocol)
	r := c.respond(1)
	asks = c.openCalls()
	asks.ask(5, wire.CallHead{}, "x")
	asks.ask(5, wire.CallHead{}, "x")
	asks.wantEnd("a CALL under a number in use", core.CodeProtocol)
	r.wantCall("x")
	r.want(wire.CallCancel)
	r.reply(9, "x")
	r.wantEnd("a REPLY to what was not asked", core.CodeProtocol)
	r = c.respond(1)
	asks = c.openCalls()
	asks.ask(6, wire.CallHead{}, "x")
	r.frame(wire.Header{Type: wire.Reply, Arg: r.wantCall("x")}, 1, 2)
	r.wantEnd("a REPLY that is no record", core.CodeProtocol)
	asks.wantReply(6, "", core.CodeResponderLost)
	r = c.respond(1)
	r.frame(wire.Header{Type: wire.Call})
	r.wantEnd("a CALL on a responder stream", core.CodeProtocol)
	asks.frame(wire.Header{Type: wire.Reply})
	asks.wantEnd("a REPLY on a call stream", core.CodeProtocol)
	for _, window := range []int32{0, -1, core.MaxCallWindow + 1} {
		bad := c.open()
		bad.json(wire.Header{Type: wire.Respond}, wire.RespondBody{Topic: "t", Window: window})
		bad.wantEnd(fmt.Sprint("a window of ", window), core.CodeProtocol)
	}
	gone := c.open()
	gone.json(wire.Header{Type: wire.Respond}, wire.RespondBody{Topic: "nope", Window: 1})
	gone.wantEnd("RESPOND on no topic", core.CodeTopicNotFound)
}

// TestServeCallsIsBounded: what is over the bounds is refused at once.
func TestServeCallsIsBounded(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	c := d.connect()
	r, asks := c.respond(1), c.openCalls()
	for id := range uint64(wire.MaxCalls) {
		asks.ask(id, wire.CallHead{}, "x")
	}
	asks.ask(wire.MaxCalls, wire.CallHead{}, "x")
	asks.wantReply(wire.MaxCalls, "", core.CodeLimited)
	second := c.openCalls() // the bounds are those of the connection
	second.ask(1, wire.CallHead{}, "x")
	second.wantReply(1, "", core.CodeLimited)
	other := d.connect().openCalls()
	other.ask(1, wire.CallHead{}, "x") // one more than wait for the responder: 1,023 do
	other.ask(2, wire.CallHead{}, "x")
	other.wantReply(2, "", core.CodeLimited)
	r.wantCall("x")
	if stats := d.callStats(); stats.Pending != core.MaxCallsWaiting+1 {
		t.Errorf("%d pending", stats.Pending)
	}
	_ = asks.Close() // gives up all of its requests
	id := r.want(wire.CallCancel).Arg
	r.reply(id, "late")
	r.reply(r.wantCall("x"), "done")
	other.wantReply(1, "done", 0)
	second.ask(2, wire.CallHead{}, "y")
	r.reply(r.wantCall("y"), "room again")
	second.wantReply(2, "room again", 0)
}

// TestDrainAnswersCalls: a node that drains takes no request and answers those that it has.
func TestDrainAnswersCalls(t *testing.T) {
	d := newDoor(t, leat.TopicConfig{Ack: leat.AckPage})
	asks, r := d.connect().openCalls(), d.connect().respond(1)
	asks.ask(1, wire.CallHead{}, "x")
	asks.ask(2, wire.CallHead{}, "y")
	id := r.wantCall("x")
	closing := make(chan error, 1)
	go func() { closing <- d.server.Close() }()
	asks.wantReply(2, "", core.CodeDraining) // nobody was given it
	asks.ask(3, wire.CallHead{}, "z")
	asks.wantReply(3, "", core.CodeDraining)
	r.reply(id, "done")
	asks.wantReply(1, "done", 0)
	if err := receive(t, "Close", closing); err != nil {
		t.Error(err)
	}
}

// TestClusterRequests: requests with a key reach responders at the node of its partition, those without any;
// a bus of one node answers for that node.
func TestClusterRequests(t *testing.T) {
	r := newQUICTrio(t)
	a, other := r.dial(1), r.dial(3)
	if err := a.CreateTopic(soon(t), "t", leat.TopicConfig{Partitions: 6, Ack: leat.AckPage}); err != nil {
		t.Fatal(err)
	}
	answer := func(name string) leat.Handler {
		return func(context.Context, *leat.Message) (leat.Message, error) {
			return leat.Message{Value: []byte(name)}, nil
		}
	}
	local, err := r.beds[2].Respond("t", answer("node 2"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := a.Request(soon(t), "t", leat.Message{}); err != nil || string(m.Value) != "node 2" {
		t.Errorf("without a key: %q, %v", m.Value, err)
	}
	served, refused := 0, 0
	for i := range 60 {
		m := leat.Message{Key: fmt.Append(nil, i)}
		_, err := a.Request(soon(t), "t", m)
		_, own := r.beds[2].Request(soon(t), "t", m)
		switch {
		case err == nil && own == nil:
			served++
		case errors.Is(err, leat.ErrNoResponders) && errors.Is(own, leat.ErrNotLeader):
			refused++
		default:
			t.Fatalf("key %d: %v over the network, %v at the node", i, err, own)
		}
	}
	if served == 0 || refused == 0 {
		t.Errorf("%d served, %d refused: want those of node 2 only", served, refused)
	}
	far, err := other.Respond("t", answer("client"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if _, err := a.Request(soon(t), "t", leat.Message{Key: fmt.Append(nil, i)}); err != nil {
			t.Errorf("key %d, with a responder everywhere: %v", i, err)
		}
	}
	replies, err := a.RequestMany(soon(t), "t", leat.Message{}, 0)
	if err != nil || len(replies) != 2 {
		t.Errorf("all: %d replies, %v; want one of each", len(replies), err)
	}
	mustDo(t, "Close", local.Close())
	mustDo(t, "Close", far.Close())
	if _, err := a.Request(soon(t), "t", leat.Message{}); !errors.Is(err, leat.ErrNoResponders) {
		t.Errorf("after all have closed: %v", err)
	}
}
