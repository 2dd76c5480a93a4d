package node

import (
	"math/bits"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// rawQueueMember is a queue stream that a test drives.
type rawQueueMember struct {
	*rawStream
	opened wire.QueueOpenedBody
}

// queueBody asks for membership in group "g" of topic "t".
func queueBody(held int32) wire.QueueOpenBody {
	return wire.QueueOpenBody{Group: "g", Topic: "t", Mode: uint8(core.GroupQueue), MaxHeld: held}
}

func (c *rawClient) joinQueue(credit uint64, body wire.QueueOpenBody) *rawQueueMember {
	c.t.Helper()
	m := &rawQueueMember{rawStream: c.open()}
	m.json(wire.Header{Type: wire.QueueOpen, Arg: credit}, body)
	m.wantJSON(wire.QueueOpened, &m.opened)
	return m
}

// granted reads GRANT frames until they have so many records, and gives their entries.
func (m *rawQueueMember) granted(records int, attempt int32) []wire.QueueEntry {
	m.t.Helper()
	var list []wire.QueueEntry
	for records > 0 {
		g := m.want(wire.Grant)
		head, _, err := wire.DecodeGrant(&g.Header, g.payload)
		if err != nil {
			m.t.Fatal(err)
		}
		if head.Attempt != attempt {
			m.t.Errorf("attempt %d, want %d", head.Attempt, attempt)
		}
		records -= bits.OnesCount64(head.Grant.Left)
		list = append(list, wire.QueueEntry{Partition: head.Partition, Grant: head.Grant})
	}
	if records < 0 {
		m.t.Fatalf("%d records too many", -records)
	}
	return list
}

func (m *rawQueueMember) settle(kind wire.SettleKind, entries ...wire.QueueEntry) {
	m.t.Helper()
	m.send(wire.AppendSettle(nil, &wire.Settlement{Kind: kind, Delay: -1, Entries: entries}))
}

// commit has everything stored that was settled. Nothing else may come before the answer.
func (m *rawQueueMember) commit(sequence uint64) {
	m.t.Helper()
	m.frame(wire.Header{Type: wire.Commit, Arg: sequence})
	if g := m.want(wire.Committed); g.Arg != sequence || g.Aux != 0 {
		m.t.Fatalf("COMMITTED %d with %d %s, want %d", g.Arg, g.Aux, g.payload, sequence)
	}
}

func (m *rawQueueMember) leave() {
	m.t.Helper()
	m.frame(wire.Header{Type: wire.Leave})
	if g := m.want(wire.Left); g.Aux != 0 {
		m.t.Errorf("LEFT with %d", g.Aux)
	}
	m.wantEnd("left", 0)
}

// wantStale reads STALE with one entry.
func (m *rawQueueMember) wantStale(what string, e wire.QueueEntry) {
	m.t.Helper()
	g := m.want(wire.Stale)
	list, err := wire.DecodeQueueEntries(g.payload, nil)
	if err != nil || len(list) != 1 || list[0] != e {
		m.t.Errorf("%s: STALE of %+v, %v; want %+v", what, list, err, e)
	}
}

func TestQueueOpenRefused(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	c := d.connect()
	stream := c.join("streams")
	stream.assigned(2)
	first := c.joinQueue(0, queueBody(1))
	if first.opened.Member == "" || first.opened.TopicID == 0 || first.opened.Lease != int64(30*time.Second) {
		t.Errorf("QUEUE_OPENED %+v", first.opened)
	}
	for name, tt := range map[string]struct {
		change func(b *wire.QueueOpenBody)
		code   core.Code
	}{
		"no group":           {func(b *wire.QueueOpenBody) { b.Group = "" }, core.CodeInvalidName},
		"a bad name":         {func(b *wire.QueueOpenBody) { b.Group = "a/b" }, core.CodeInvalidName},
		"no such topic":      {func(b *wire.QueueOpenBody) { b.Topic = "nope" }, core.CodeTopicNotFound},
		"an internal topic":  {func(b *wire.QueueOpenBody) { b.Topic = "__groups" }, core.CodeInvalidName},
		"a stream's mode":    {func(b *wire.QueueOpenBody) { b.Mode = 0 }, core.CodeProtocol},
		"an unknown mode":    {func(b *wire.QueueOpenBody) { b.Mode = 9 }, core.CodeProtocol},
		"no records":         {func(b *wire.QueueOpenBody) { b.MaxHeld = 0 }, core.CodeProtocol},
		"records below 0":    {func(b *wire.QueueOpenBody) { b.MaxHeld = -1 }, core.CodeProtocol},
		"too many records":   {func(b *wire.QueueOpenBody) { b.MaxHeld = maxHeldRemote + 1 }, core.CodeProtocol},
		"a bad position":     {func(b *wire.QueueOpenBody) { b.Kind = 99 }, core.CodeProtocol},
		"a bad policy":       {func(b *wire.QueueOpenBody) { b.Config.Lease = -1 }, core.CodeInvalidConfig},
		"a stream group":     {func(b *wire.QueueOpenBody) { b.Group = "streams" }, core.CodeConfigMismatch},
		"another mode":       {func(b *wire.QueueOpenBody) { b.Mode = 2 }, core.CodeConfigMismatch},
		"another policy now": {func(b *wire.QueueOpenBody) { b.Config.MaxAttempts = 3 }, core.CodeConfigMismatch},
	} {
		body := queueBody(1)
		tt.change(&body)
		s := c.open()
		s.json(wire.Header{Type: wire.QueueOpen, Arg: plenty}, body)
		s.wantEnd(name, tt.code)
	}
	s := c.open()
	s.frame(wire.Header{Type: wire.QueueOpen}, '{')
	s.wantEnd("no JSON", core.CodeProtocol)
	first.leave()
}

func TestQueueStreamMisused(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	c := d.connect()
	good := wire.QueueEntry{Grant: core.QueueGrant{Left: 1}}
	settle := func(kind uint16, arg uint64, payload []byte) func(m *rawQueueMember) {
		return func(m *rawQueueMember) {
			m.frame(wire.Header{Type: wire.Settle, Aux: kind, Arg: arg}, payload...)
		}
	}
	far := wire.QueueEntry{Partition: core.MaxPartitions, Grant: core.QueueGrant{Left: 1}}
	for name, misuse := range map[string]func(m *rawQueueMember){
		"another frame":     func(m *rawQueueMember) { m.frame(wire.Header{Type: wire.Assign}) },
		"a node's frame":    func(m *rawQueueMember) { m.frame(wire.Header{Type: wire.Grant}) },
		"opened again":      func(m *rawQueueMember) { m.json(wire.Header{Type: wire.QueueOpen}, queueBody(1)) },
		"half an entry":     settle(uint16(wire.SettleAck), 0, good.Append(nil)[:9]),
		"no entry":          settle(uint16(wire.SettleAck), 0, nil),
		"no such kind":      settle(9, 0, good.Append(nil)),
		"no such partition": settle(uint16(wire.SettleAck), 0, far.Append(nil)),
		"a reason too long": settle(uint16(wire.SettleReject), wire.MaxReasonBytes+1, good.Append(nil)),
		"a delay below −1":  settle(uint16(wire.SettleNack), 1<<63, good.Append(nil)),
		"commit of entries": func(m *rawQueueMember) {
			m.frame(wire.Header{Type: wire.Commit}, good.Append(nil)...)
		},
		"cut within a header": func(m *rawQueueMember) { m.send([]byte{1}); _ = m.Close() },
	} {
		m := c.joinQueue(0, queueBody(5))
		misuse(m)
		m.wantEnd(name, core.CodeProtocol)
	}
	m := c.joinQueue(0, queueBody(5))
	_ = m.Close()
	m.wantEnd("closed without LEAVE", 0)
	eventually(t, "the group is empty", func() bool { return len(d.group().Members) == 0 })
}

// TestQueueStreamStale: an answer about what the member does not have is told, and does nothing.
func TestQueueStreamStale(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	m := d.connect().joinQueue(plenty, queueBody(100))
	list := m.granted(20, 1)
	e := list[0]
	for name, change := range map[string]func(e *wire.QueueEntry){
		"another epoch":     func(e *wire.QueueEntry) { e.Grant.Epoch++ },
		"another slot":      func(e *wire.QueueEntry) { e.Grant.Slot += 100 },
		"another offset":    func(e *wire.QueueEntry) { e.Grant.Lo++ },
		"another partition": func(e *wire.QueueEntry) { e.Partition = 100 },
		"records behind":    func(e *wire.QueueEntry) { e.Grant.Left = 1 << 60 },
	} {
		for kind := wire.SettleAck; kind <= wire.SettleExtend; kind++ {
			wrong := e
			change(&wrong)
			m.settle(kind, wrong)
			m.wantStale(name, wrong)
		}
	}
	m.commit(1)
	if lag := d.queueLag(); lag != 20 {
		t.Errorf("lag %d after answers about nothing, want 20", lag)
	}
	m.settle(wire.SettleExtend, list...)
	m.settle(wire.SettleAck, list...)
	m.commit(2)
	if lag := d.queueLag(); lag != 0 {
		t.Errorf("lag %d when all is acked", lag)
	}
	for kind := wire.SettleAck; kind <= wire.SettleExtend; kind++ {
		m.settle(kind, e)
		m.wantStale("a second answer", e)
	}
	m.leave()
}

// TestQueueStreamStaleAmongOthers: of many answers those that came too late are told, and the others count.
func TestQueueStreamStaleAmongOthers(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	m := d.connect().joinQueue(plenty, queueBody(100))
	list := m.granted(20, 1)
	wrong := list[0]
	wrong.Grant.Epoch++
	m.settle(wire.SettleAck, append(list, wrong)...)
	m.wantStale("among others", wrong)
	m.commit(1)
	if lag := d.queueLag(); lag != 0 {
		t.Errorf("lag %d when all is acked", lag)
	}
	m.leave()
}

// TestQueueStreamLimits: a frame goes out only with credit, and no more records than the member may hold.
func TestQueueStreamLimits(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	m := d.connect().joinQueue(0, queueBody(3))
	m.commit(1) // nothing comes without credit
	m.frame(wire.Header{Type: wire.Credit, Arg: 1})
	g := m.want(wire.Grant)
	head, _, err := wire.DecodeGrant(&g.Header, g.payload)
	if err != nil || bits.OnesCount64(head.Grant.Left) > 3 {
		t.Fatalf("GRANT %+v, %v; the member may hold 3", head, err)
	}
	m.settle(wire.SettleAck, wire.QueueEntry{Partition: head.Partition, Grant: head.Grant})
	m.commit(2) // the next waits for credit
	m.frame(wire.Header{Type: wire.Credit})
	m.commit(3) // less credit than before says nothing
	m.frame(wire.Header{Type: wire.Credit, Arg: plenty})
	m.granted(3, 1)
	m.commit(4) // no more than it may hold
	m.leave()
}

// TestQueueStreamEnds: what a member leaves is handed out again and not counted; what is lost with a stream
// is.
func TestQueueStreamEnds(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	body := queueBody(100)
	body.Config = wire.QueueConfigBody{RetryMin: 1, RetryMax: 1, RetryFactor: 1}
	c := d.connect()
	first := c.joinQueue(plenty, body)
	first.settle(wire.SettleAck, first.granted(20, 1)[0])
	first.leave()
	left := int(d.queueLag())
	second := c.joinQueue(plenty, body)
	second.granted(left, 1)
	second.Reset(core.CodeUnavailable) // as the end of its connection does
	third := c.joinQueue(plenty, body)
	list := third.granted(left, 2)
	third.settle(wire.SettleNack, list...)
	third.granted(left, 3)
	if err := d.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	third.wantEnd("of a deleted topic", core.CodeTopicNotFound)
}

// TestQueueStreamDrain: a member is asked to leave, answers for what it has, and its acks are stored.
func TestQueueStreamDrain(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{DrainFor: patience})
	c := d.connect()
	m := c.joinQueue(plenty, queueBody(100))
	list := m.granted(20, 1)
	done := make(chan error, 1)
	go func() { done <- d.server.Close() }()
	c.control.want(wire.GoAway)
	if g := m.want(wire.Revoke); g.Aux != 0 || g.Arg != 0 {
		t.Errorf("REVOKE of %d, %d", g.Aux, g.Arg)
	}
	late := c.open()
	late.json(wire.Header{Type: wire.QueueOpen, Arg: plenty}, queueBody(1))
	late.wantEnd("a new stream", core.CodeDraining)
	select {
	case err := <-done:
		t.Fatalf("Close = %v before the member was done", err)
	default:
	}
	m.settle(wire.SettleAck, list...)
	m.commit(1)
	m.leave()
	if err := receive(t, "Close", done); err != nil {
		t.Error(err)
	}
	wantClosed(t, "drained", c.conn, core.CodeDraining)
	if lag := d.queueLag(); lag != 0 {
		t.Errorf("lag %d after the drain, want 0", lag)
	}
}

// TestQueueStreamDrainIsBounded: a member that does not leave holds Close up for DrainFor only.
func TestQueueStreamDrainIsBounded(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{DrainFor: 50 * time.Millisecond})
	c := d.connect()
	m := c.joinQueue(plenty, queueBody(100))
	m.granted(20, 1)
	if err := d.server.Close(); err != nil {
		t.Error(err)
	}
	wantClosed(t, "drained", c.conn, core.CodeDraining)
	if len(d.group().Members) != 0 {
		t.Errorf("members %v after the drain", d.group().Members)
	}
	sub := d.subscribe("t", leat.Group("g"), leat.Queue())
	for _, m := range take(t, sub, 20) {
		if m.Attempt != 1 {
			t.Errorf("attempt %d of what a drain took back, want 1", m.Attempt)
		}
	}
}

// TestQueueMemberThatReadsNothing: what waits for a member is bounded; beyond that it is out.
func TestQueueMemberThatReadsNothing(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	m := d.connect().joinQueue(plenty, queueBody(100))
	commits := make([]byte, 0, 1000*wire.HeaderSize)
	for range 1000 {
		commits = (&wire.Header{Type: wire.Commit}).Append(commits)
	}
	for {
		if _, err := m.Write(commits); err != nil {
			if core.CodeOf(err) != core.CodeLimited {
				t.Errorf("ended with %v, want %v", err, core.CodeLimited)
			}
			break
		}
	}
	eventually(t, "it has left", func() bool { return len(d.group().Members) == 0 })
}
