package node

import (
	"context"
	"sync"

	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

const (
	// memberBytes bounds what waits to be sent to a member: more than a group can say before it must hear
	// from the member, which is an ASSIGN and a REVOKE of each partition.
	memberBytes = 1<<20 + core.MaxPartitions*2*(wire.HeaderSize+8)
	maxWaiting  = 1024 // COMMIT frames of a member that wait for their answer
)

// memberStream is a member of a group at a client: the sink of its member's actor, which must not block.
// What the group says is queued on the lane; what the client says is kept here until the actor asks.
//
//	group ──▶ member actor ──ASSIGN, REVOKE──▶ lane ──▶ client
//	                  └◀──Acks, InFlight── remoteParts ◀──MEMBER_ACK, DRAINED──┘
type memberStream struct {
	session *session
	topic   *topic
	stream  transport.Stream
	lane    *transport.Lane
	member  *actors.Member
	counted *groupStats

	committer sync.WaitGroup // of the goroutine that answers commits
	over      chan struct{}  // closed when the member has left

	mu         sync.Mutex // guards the following
	parts      map[int32]*remotePart
	draining   bool
	drained    chan struct{} // closed when draining and nothing is left in flight; nil until drain
	joined     bool
	early      []byte   // frames that wait for JOINED
	lost       bool     // the lane is full or gone: nothing is said any more
	waiting    []uint64 // sequences of COMMIT frames to answer
	forced     bool     // a commit is wanted, for a partition to move at once
	committing bool
}

// remotePart is what a member has of a partition.
type remotePart struct {
	generation int32
	acked      int64 // where to read on; −1 where nothing was ever acked
	reported   int64 // to the group
	revoked    bool  // the client was told
	drained    bool  // nothing is in flight
}

var _ actors.MemberSink = (*memberStream)(nil)

// serveMember serves a stream that began with JOIN.
func (c *session) serveMember(stream transport.Stream, r *transport.Reader, h *wire.Header) error {
	var body wire.JoinBody
	if err := readBody(r, h, &body); err != nil {
		return err
	}
	if err := core.ValidateName("group", body.Group); err != nil {
		return err
	}
	if err := c.may(core.ActionRead, body.Topic); err != nil {
		return err
	}
	if err := c.node.coordinates("join", body.Group); err != nil {
		return err
	}
	t, err := c.node.topicFor("join a group on", body.Topic)
	if err != nil {
		return err
	}
	if err := c.node.refuseStream(t, body.Group); err != nil {
		return err
	}
	m := &memberStream{
		session: c, topic: t, stream: stream, lane: transport.NewLane(stream, memberBytes),
		over: make(chan struct{}), parts: make(map[int32]*remotePart),
		counted: c.server.stats.topic(t.name).group(body.Group),
	}
	m.member, err = c.node.groups.Join(body.Group, t.id, int32(len(t.partitions)), m)
	if err != nil {
		return err
	}
	c.opened(m)
	defer c.closed(m)
	if c.server.draining() { // whoever drains may have looked for members before this one was listed
		_ = m.leave() // it owned nothing that was delivered
		return core.NewError(core.CodeDraining, t.op("join a group on"), nil)
	}
	c.server.stats.members.Add(1)
	defer c.server.stats.members.Add(-1)
	m.hasJoined()
	return m.run(r)
}

// run takes what the client says until it leaves or is gone. Then the member leaves at once; what was
// acked is committed.
func (m *memberStream) run(r *transport.Reader) error {
	left, err := m.read(r)
	if err = ignoreEOF(err); err != nil {
		endStream(m.stream, err) // whoever writes gives up
	}
	closeErr := m.leave()
	m.committer.Wait()
	if left {
		h := wire.Header{Type: wire.Left}
		if closeErr != nil {
			h.Aux = uint16(core.CodeOf(outward(closeErr)))
		}
		m.say(h.Append(nil))
	}
	if err != nil {
		m.lane.Wait()
		return err
	}
	return m.lane.Close()
}

// leave commits what was acked and leaves the group.
func (m *memberStream) leave() error {
	ctx, cancel := context.WithTimeout(m.session.server.ctx, closeWait)
	defer cancel()
	err := m.member.Close(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.over:
	default:
		close(m.over)
	}
	return err
}

// say queues frames.
func (m *memberStream) say(frames []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sayLocked(frames)
}

// sayLocked queues frames in the order of what they say, which the lock keeps; queueing does not wait. What
// comes before JOINED waits for it. A client that reads nothing loses its membership with its stream.
func (m *memberStream) sayLocked(frames []byte) {
	switch {
	case m.lost:
	case !m.joined:
		m.early = append(m.early, frames...)
	case m.lane.Queue(frames) != nil:
		m.lost = true
		m.stream.Reset(core.CodeLimited)
	}
}

// hasJoined tells the client, and then what the group has said already.
func (m *memberStream) hasJoined() {
	body := &wire.JoinedBody{Member: m.member.ID(), TopicID: m.topic.id}
	frames := wire.Marshal(nil, wire.Header{Type: wire.Joined}, body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.joined = true
	m.sayLocked(append(frames, m.early...))
	m.early = nil
}

// Assigned implements actors.MemberSink. While the node drains the client hears of nothing new.
func (m *memberStream) Assigned(partition int32, offset int64, generation int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[partition] = &remotePart{
		generation: generation, acked: offset, reported: offset, revoked: m.draining, drained: m.draining,
	}
	if !m.draining {
		h := wire.Header{Type: wire.Assign, Aux: uint16(partition), Arg: uint64(offset), Length: 8}
		m.sayLocked(wire.AppendAssign(h.Append(nil), generation))
	}
}

// Revoking implements actors.MemberSink.
func (m *memberStream) Revoking(partition int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.parts[partition]; p != nil {
		m.revokeLocked(partition, p)
	}
}

// revokeLocked tells the client once.
func (m *memberStream) revokeLocked(partition int32, p *remotePart) {
	if p.revoked {
		return
	}
	p.revoked = true
	h := wire.Header{Type: wire.Revoke, Aux: uint16(partition), Arg: uint64(uint32(p.generation))}
	m.sayLocked(h.Append(nil))
}

// Released implements actors.MemberSink.
func (m *memberStream) Released(partition int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.parts, partition)
	m.tellDrainedLocked()
}

// Fenced implements actors.MemberSink. The client ends the stream then.
func (m *memberStream) Fenced(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.parts)
	m.tellDrainedLocked()
	m.sayLocked(errorFrame(nil, wire.Header{Type: wire.Fenced}, err, false))
}

// Acks implements actors.MemberSink.
func (m *memberStream) Acks(into []actors.PartitionAck) []actors.PartitionAck {
	m.mu.Lock()
	defer m.mu.Unlock()
	for number, p := range m.parts {
		if p.acked > p.reported {
			p.reported = p.acked
			into = append(into, actors.PartitionAck{
				Partition: number, Offset: p.acked, Generation: p.generation,
			})
		}
	}
	return into
}

// InFlight implements actors.MemberSink: what the client has is known only when it says that it is done.
func (m *memberStream) InFlight(partition int32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.parts[partition]
	return p != nil && !p.drained
}

// drain gives all partitions of the member back: the client is told, and finishes what it has in hand.
func (m *memberStream) drain(ctx context.Context) {
	m.mu.Lock()
	m.draining = true
	for number, p := range m.parts {
		m.revokeLocked(number, p)
	}
	if m.drained == nil {
		m.drained = make(chan struct{})
		m.tellDrainedLocked()
	}
	drained := m.drained
	m.mu.Unlock()
	select {
	case <-drained:
	case <-m.over:
		return
	case <-ctx.Done():
	}
	_ = m.leave() // the member actor has reported what could not be stored
}

// tellDrainedLocked wakes drain when the client has nothing left in hand.
func (m *memberStream) tellDrainedLocked() {
	if m.drained == nil || m.isDrainedLocked() {
		return
	}
	for _, p := range m.parts {
		if !p.drained {
			return
		}
	}
	close(m.drained)
}

func (m *memberStream) isDrainedLocked() bool {
	select {
	case <-m.drained:
		return true
	default:
		return false
	}
}
