package node

import (
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// rawMember is a member stream that a test drives.
type rawMember struct {
	*rawStream
	joined wire.JoinedBody
	owned  map[int32]int32 // generation by partition
	from   map[int32]int64 // committed offset
}

func (c *rawClient) join(group string) *rawMember {
	c.t.Helper()
	m := &rawMember{rawStream: c.open(), owned: map[int32]int32{}, from: map[int32]int64{}}
	m.json(wire.Header{Type: wire.Join}, wire.JoinBody{Group: group, Topic: "t"})
	m.wantJSON(wire.Joined, &m.joined)
	return m
}

// assigned waits until the member owns so many partitions; what is revoked meanwhile it gives back.
func (m *rawMember) assigned(count int) {
	m.t.Helper()
	for len(m.owned) != count {
		switch g := m.next(); {
		case g.err != nil:
			m.t.Fatalf("member stream: %v", g.err)
		case g.Type == wire.Assign:
			m.assign(g)
		case g.Type == wire.Revoke:
			m.giveBack(g)
		default:
			m.t.Fatalf("got %v while waiting for partitions", g.Type)
		}
	}
}

func (m *rawMember) assign(g got) {
	m.t.Helper()
	generation, err := wire.DecodeAssign(g.payload)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, mine := m.owned[int32(g.Aux)]; mine {
		m.t.Fatalf("partition %d is assigned twice", g.Aux)
	}
	m.owned[int32(g.Aux)], m.from[int32(g.Aux)] = generation, int64(g.Arg)
}

func (m *rawMember) giveBack(g got) {
	m.t.Helper()
	if m.owned[int32(g.Aux)] != int32(g.Arg) {
		m.t.Fatalf("REVOKE of partition %d, generation %d; has %v", g.Aux, g.Arg, m.owned)
	}
	delete(m.owned, int32(g.Aux))
	m.frame(wire.Header{Type: wire.Drained, Aux: g.Aux, Arg: g.Arg})
}

func (m *rawMember) acked(partition int32, offset int64) []byte {
	e := wire.AckedEntry{Partition: partition, Generation: m.owned[partition], Offset: offset}
	return e.Append(nil)
}

func (m *rawMember) commit(sequence uint64, payload []byte) {
	m.t.Helper()
	m.frame(wire.Header{Type: wire.Commit, Arg: sequence}, payload...)
	if g := m.want(wire.Committed); g.Arg != sequence || g.Aux != 0 {
		m.t.Fatalf("COMMITTED %d with %d %s, want %d", g.Arg, g.Aux, g.payload, sequence)
	}
}

// committed gives what a group has committed in a partition.
func (d *door) committed(group string, partition int32) int64 {
	d.t.Helper()
	groups, err := d.Groups(soon(d.t))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, g := range groups {
		if g.Group == group {
			for _, p := range g.Partitions {
				if p.Partition == partition {
					return p.Committed
				}
			}
		}
	}
	return -1
}

// newGroupDoor serves a topic of two partitions with ten messages each.
func newGroupDoor(t *testing.T, cfg ServeConfig) *door {
	d := doorOf(one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}), cfg)
	p := d.producer("t", leat.WithPartitioner(leat.Manual))
	for range 10 {
		for part := range int32(2) {
			publish(t, p, leat.Message{Partition: part, Value: []byte("x")})
		}
	}
	return d
}

func TestRemoteMember(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	m := d.connect().join("g")
	if m.joined.Member == "" || m.joined.TopicID == 0 {
		t.Errorf("JOINED %+v", m.joined)
	}
	m.assigned(2)
	if m.from[0] != -1 || m.from[1] != -1 {
		t.Errorf("assigned at %v, want -1: nothing was committed", m.from)
	}
	m.frame(wire.Header{Type: wire.MemberAck}, m.acked(0, 3)...)
	eventually(t, "the ack is committed", func() bool { return d.committed("g", 0) == 3 })
	m.commit(1, append(m.acked(0, 5), m.acked(1, 2)...))
	if a, b := d.committed("g", 0), d.committed("g", 1); a != 5 || b != 2 {
		t.Errorf("committed %d, %d; want 5, 2", a, b)
	}
	m.commit(2, nil)
	m.commit(3, m.acked(0, 4)) // behind: says nothing
	m.commit(4, m.acked(1, 1_000_000))
	if a, b := d.committed("g", 0), d.committed("g", 1); a != 5 || b != 10 {
		t.Errorf("committed %d, %d; want 5, 10: what was not there cannot be done", a, b)
	}
	stale := wire.AckedEntry{Partition: 0, Generation: m.owned[0] + 1, Offset: 9}
	m.commit(5, stale.Append(nil))
	if a := d.committed("g", 0); a != 5 {
		t.Errorf("committed %d by another generation, want 5", a)
	}
	m.frame(wire.Header{Type: wire.MemberAck}, m.acked(0, 6)...)
	m.frame(wire.Header{Type: wire.Leave})
	if g := m.want(wire.Left); g.Aux != 0 {
		t.Errorf("LEFT with %d", g.Aux)
	}
	m.wantEnd("left", 0)
	if a := d.committed("g", 0); a != 6 {
		t.Errorf("committed %d after leaving, want 6", a)
	}
}

// TestRemoteMembersShare: a partition moves when its member has nothing in flight, and goes on where that
// member acked.
func TestRemoteMembersShare(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	first := d.connect().join("g")
	first.assigned(2)
	second := d.connect().join("g")
	g := first.want(wire.Revoke)
	moved := int32(g.Aux)
	first.frame(wire.Header{Type: wire.MemberAck}, first.acked(moved, 4)...)
	first.giveBack(g)
	second.assigned(1)
	if generation, ok := second.owned[moved]; !ok || second.from[moved] != 4 || generation <= int32(g.Arg) {
		t.Errorf("second has %v from %v, want partition %d from 4", second.owned, second.from, moved)
	}
	late := wire.AckedEntry{Partition: moved, Generation: int32(g.Arg), Offset: 9}
	first.commit(1, late.Append(nil))
	if got := d.committed("g", moved); got != 4 {
		t.Errorf("the former owner committed %d", got)
	}
	second.commit(1, second.acked(moved, 7))
	second.Reset(core.CodeUnavailable) // as the end of its connection does
	first.assigned(2)
	if first.from[moved] != 7 {
		t.Errorf("got it back from %d, want 7", first.from[moved])
	}
	// A member in this process takes its share like any other.
	local := d.subscribe("t", leat.Group("g"))
	first.assigned(1)
	if err := local.Close(); err != nil {
		t.Error(err)
	}
	first.assigned(2)
}

func TestMemberMisused(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	c := d.connect()
	for _, tt := range []struct {
		name string
		body wire.JoinBody
		code core.Code
	}{
		{"no group", wire.JoinBody{Topic: "t"}, core.CodeInvalidName},
		{"a bad name", wire.JoinBody{Topic: "t", Group: "a/b"}, core.CodeInvalidName},
		{"no such topic", wire.JoinBody{Topic: "nope", Group: "g"}, core.CodeTopicNotFound},
		{"an internal topic", wire.JoinBody{Topic: "__groups", Group: "g"}, core.CodeInvalidName},
	} {
		s := c.open()
		s.json(wire.Header{Type: wire.Join}, tt.body)
		s.wantEnd(tt.name, tt.code)
	}
	ack, unknown, negative := wire.MemberAck, wire.AckedEntry{Partition: 16384}, wire.AckedEntry{Offset: -1}
	for name, misuse := range map[string]func(m *rawMember){
		"another frame":       func(m *rawMember) { m.frame(wire.Header{Type: wire.Assign}) },
		"join again":          func(m *rawMember) { m.json(wire.Header{Type: wire.Join}, wire.JoinBody{}) },
		"half an entry":       func(m *rawMember) { m.frame(wire.Header{Type: wire.MemberAck}, 1, 2, 3) },
		"no such partition":   func(m *rawMember) { m.frame(wire.Header{Type: ack}, unknown.Append(nil)...) },
		"an offset below 0":   func(m *rawMember) { m.frame(wire.Header{Type: ack}, negative.Append(nil)...) },
		"cut within a header": func(m *rawMember) { m.send([]byte{1}); _ = m.Close() },
	} {
		m := c.join("g")
		misuse(m)
		m.wantEnd(name, core.CodeProtocol)
	}
	m := c.join("g")
	m.assigned(2)
	m.frame(wire.Header{Type: wire.Drained, Aux: 1, Arg: uint64(m.owned[1])}) // nobody asked for it
	m.frame(wire.Header{Type: wire.Drained, Aux: 9, Arg: 1})
	m.commit(1, m.acked(1, 2))
	_ = m.Close()
	m.wantEnd("closed", 0)
	eventually(t, "the group is empty", func() bool {
		groups, err := d.Groups(soon(t))
		return err == nil && len(groups) == 1 && len(groups[0].Members) == 0
	})
}

func TestMemberOfADeletedTopic(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	m := d.connect().join("g")
	m.assigned(2)
	if err := d.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	var why wire.ErrorBody
	if g := m.wantJSON(wire.Fenced, &why); core.Code(g.Aux) != core.CodeTopicNotFound {
		t.Errorf("FENCED with %d %+v", g.Aux, why)
	}
	m.frame(wire.Header{Type: wire.MemberAck}, m.acked(0, 5)...)
	m.frame(wire.Header{Type: wire.Leave})
	m.want(wire.Left)
	m.wantEnd("left", 0)
}

// TestManyCommits: commits that come while one is under way are all answered.
func TestManyCommits(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	m := d.connect().join("g")
	m.assigned(2)
	const commits = 500
	go func() {
		for i := range commits {
			h := wire.Header{Type: wire.Commit, Arg: uint64(i), Length: wire.AckedEntrySize}
			_, _ = m.Write(append(h.Append(nil), m.acked(0, int64(i%10))...))
		}
	}()
	for i := range commits {
		if g := m.want(wire.Committed); g.Arg != uint64(i) || g.Aux != 0 {
			t.Fatalf("COMMITTED %d with %d, want %d", g.Arg, g.Aux, i)
		}
	}
	if got := d.committed("g", 0); got != 9 {
		t.Errorf("committed %d, want 9", got)
	}
}

// TestGracefulDrain: members give back what they have, acks and answers arrive, and then everything ends.
func TestGracefulDrain(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{DrainFor: patience})
	c := d.connect()
	first := c.join("g")
	first.assigned(2)
	second := d.connect().join("g")
	first.assigned(1)
	second.assigned(1)
	p := c.produceRaw(openBody(7))
	sub, answer := c.subscribeRaw(plenty, wire.SubscribeBody{Topic: "t", Partitions: []wire.SubscribePartition{
		from(0, core.Latest)}})
	done := make(chan error, 1)
	go func() { done <- d.server.Close() }()
	if g := c.control.want(wire.GoAway); g.Arg != uint64(patience/time.Millisecond) {
		t.Errorf("GOAWAY in %d ms, want %v", g.Arg, patience)
	}
	for _, m := range []*rawMember{first, second} {
		g := m.want(wire.Revoke)
		if m == first { // while the members finish, everything else goes on
			p.produce(0, 0, "late")
			p.wantAck("while draining", wire.AckEntry{Records: 1, Offset: 10})
			newRemoteReader(sub, answer).read(1)
			c.open().wantEnd("a new stream", core.CodeDraining)
			wantClosed(t, "a new connection", d.dial(wire.ALPNClient), core.CodeDraining)
			select {
			case err := <-done:
				t.Fatalf("Close = %v before the members were done", err)
			default:
			}
		}
		m.frame(wire.Header{Type: wire.MemberAck}, m.acked(int32(g.Aux), 6)...)
		m.giveBack(g)
	}
	if err := receive(t, "Close", done); err != nil {
		t.Error(err)
	}
	wantClosed(t, "drained", c.conn, core.CodeDraining)
	if a, b := d.committed("g", 0), d.committed("g", 1); a != 6 || b != 6 {
		t.Errorf("committed %d, %d; want 6, 6", a, b)
	}
}

// TestDrainIsBounded: a client that does not give back holds Close up for DrainFor only.
func TestDrainIsBounded(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{DrainFor: 50 * time.Millisecond})
	c := d.connect()
	m := c.join("g")
	m.assigned(2)
	m.commit(1, m.acked(0, 2))
	p := c.produceRaw(openBody(7))
	resume := d.stall()
	p.produce(0, 0, "stuck")
	eventually(t, "it is in flight", func() bool { return d.server.inFlight(7) == 1 })
	if err := d.server.Close(); err != nil {
		t.Error(err)
	}
	resume()
	wantClosed(t, "drained", c.conn, core.CodeDraining)
	d.server.mu.Lock()
	defer d.server.mu.Unlock()
	clear(d.server.producers) // the one that the hung disk kept, until the bus closes
}

// TestMemberThatReadsNothing: what waits for a member is bounded; beyond that it is out.
func TestMemberThatReadsNothing(t *testing.T) {
	d := newGroupDoor(t, ServeConfig{})
	m := d.connect().join("g")
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
	eventually(t, "it has left", func() bool {
		groups, err := d.Groups(soon(t))
		return err == nil && (len(groups) == 0 || len(groups[0].Members) == 0)
	})
}
