package actors

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// heartbeatNanos is how often a member that has nothing to commit says that it is alive: three
// times in a session, and a bit.
const heartbeatNanos = int64(3e9)

// memberActor keeps the membership of one subscription: it folds acks into commits, hands back what
// the group revokes, and keeps the session alive. All fields are owned by the actor.
//
// One commit is on the way at a time; what is acked meanwhile goes with the next. It wakes every
// core.CommitFoldNanos while acks come or a partition has to go, else every heartbeatNanos.
type memberActor struct {
	system *System
	clock  clock.Clock
	handle *Member
	sink   MemberSink
	group  *PID
	self   *PID  // from Started on
	ended  error // why: fenced, left or killed. Then nothing is sent and the sink is not called any more

	owned    map[int32]*ownedPartition
	revoking int // partitions of owned that have to go

	sent     uint64 // seq of the last commit sent to the group
	answered uint64 // seq of the last one answered
	waiters  []memberWaiter

	wake   TimerID
	wakeAt int64 // on the clock's Mono, as all times here; 0 when no timer is set
	foldAt int64 // 0 when there is nothing to fold
	beatAt int64
}

// ownedPartition is a partition from its assignment to its release.
type ownedPartition struct {
	generation int32
	revoking   bool
	// drained: nothing is in flight, and the last acks are in the commit final or an earlier one.
	drained bool
	final   uint64
}

// releasedPartition is one that the sink does not use any more, with the generation it had it under.
type releasedPartition struct{ partition, generation int32 }

// memberWaiter waits for the commit seq, 0 if that was not sent yet.
type memberWaiter struct {
	seq   uint64
	reply Reply[struct{}]
}

// What the link brings.
type (
	// memberAssignment is what one step of the group changed for this member: assignments and
	// revocations in order.
	memberAssignment []core.GroupEffect
	memberFenced     struct{ err error }
	memberCommitted  struct {
		seq uint64
		err error
	}
	// memberUndelivered brings a message back that the group did not get.
	memberUndelivered struct {
		msg any
		err error
	}
)

// What a memberActor takes.
type (
	memberCommit struct{ Reply[struct{}] }
	memberClose  struct{ Reply[struct{}] }
	memberKill   struct{}
	// memberNudge says that a time has come, that the link brings something, or that there are acks:
	// every message looks at all three.
	memberNudge struct{}
)

func newMemberActor(handle *Member, group *PID, sink MemberSink) *memberActor {
	c := handle.coordinator
	return &memberActor{system: c.system, clock: c.clock, handle: handle, sink: sink, group: group,
		owned: map[int32]*ownedPartition{}, beatAt: c.clock.Mono() + heartbeatNanos}
}

// Receive handles one message. It waits for nothing but room in the lane of its group.
func (m *memberActor) Receive(ctx Context) {
	m.self = ctx.Self()
	for _, msg := range m.handle.link.take() {
		m.hear(msg)
	}
	switch msg := ctx.Message().(type) {
	case *Started:
		m.setWake()
	case memberCommit:
		m.commit(msg.Reply)
	case memberClose:
		m.leave(msg.Reply)
	case memberKill:
		m.end(m.closedErr())
		ctx.Stop(m.self)
	case *Restarting:
		m.failed()
	case *Stopping:
		m.stopped()
	}
	if m.handle.touched.Load() {
		m.foldSoon()
	}
	m.work()
}

// hear handles what came through the link.
func (m *memberActor) hear(msg any) {
	switch msg := msg.(type) {
	case memberAssignment:
		m.assigned(msg)
	case memberFenced:
		m.fenced(msg.err)
	case memberCommitted:
		m.committed(msg)
	case memberUndelivered:
		m.undelivered(msg)
	}
}

// undelivered says again what a group was too busy to hear.
func (m *memberActor) undelivered(msg memberUndelivered) {
	switch {
	case m.ended != nil:
		m.answerAll(msg.err)
	case errors.Is(msg.err, core.ErrFull):
		m.system.Send(m.group, msg.msg)
	default:
		m.fenced(msg.err)
	}
}

// failed is what remains after a panic, which was the sink's: the member leaves.
func (m *memberActor) failed() {
	if m.ended == nil {
		m.system.Send(m.group, groupLeave{member: m.handle.id})
		m.fenced(core.NewError(core.CodeInternal, "member "+m.handle.id, nil))
	}
}

// stopped lets neither the group nor the loop wait for an actor that nobody closed.
func (m *memberActor) stopped() {
	if m.ended == nil {
		m.leave(Reply[struct{}]{})
		m.sink.Fenced(m.ended)
	}
	m.answerAll(m.ended)
}

func (m *memberActor) closedErr() error {
	return core.NewError(core.CodeClosed, "member "+m.handle.id, nil)
}

func (m *memberActor) assigned(orders memberAssignment) {
	if m.ended != nil {
		return
	}
	for _, order := range orders {
		p := m.owned[order.Partition]
		switch {
		case order.Kind == core.GroupAssign && p == nil:
			m.owned[order.Partition] = &ownedPartition{generation: order.Generation}
			m.sink.Assigned(order.Partition, order.Offset, order.Generation)
		case order.Kind == core.GroupRevoke && p != nil && !p.revoking:
			p.revoking = true
			m.revoking++
			m.sink.Revoking(order.Partition)
		}
	}
	if m.revoking > 0 {
		// An idle partition moves at once.
		m.fold()
	}
}

// foldSoon starts the pause in which acks are collected. While a commit is on the way it does
// nothing: the answer looks again.
func (m *memberActor) foldSoon() {
	if m.ended != nil || m.foldAt != 0 || m.sent != m.answered {
		return
	}
	m.foldAt = m.clock.Mono() + core.CommitFoldNanos
	m.setWake()
}

// fold sends the newest acks as one commit and hands back what can go. While a commit is on the way
// it does nothing: its answer folds again.
func (m *memberActor) fold() {
	m.foldAt = 0
	if m.sent != m.answered {
		return
	}
	// Reset before Acks is called, so that an ack it does not see touches again.
	m.handle.touched.Store(false)
	// A partition is drained before Acks is called, so that these acks are its last.
	drained := m.drain()
	acks := m.sink.Acks(nil)
	if len(acks) > 0 || m.unsent() {
		m.send(acks)
	}
	for _, p := range drained {
		p.drained, p.final = true, m.sent
	}
	m.release()
	if m.revoking > 0 {
		m.foldSoon()
	}
}

// drain finds the revoked partitions in which nothing is in flight any more.
func (m *memberActor) drain() []*ownedPartition {
	if m.revoking == 0 {
		return nil
	}
	var drained []*ownedPartition
	for partition, p := range m.owned {
		if p.revoking && !p.drained && !m.sink.InFlight(partition) {
			drained = append(drained, p)
		}
	}
	return drained
}

// send gives acks and everyone who waits a sequence number.
func (m *memberActor) send(acks []PartitionAck) {
	m.sent++
	for i := range m.waiters {
		if m.waiters[i].seq == 0 {
			m.waiters[i].seq = m.sent
		}
	}
	m.beatAt = m.clock.Mono() + heartbeatNanos
	m.system.Send(m.group, groupCommit{member: m.handle.id, link: m.handle.link, seq: m.sent, acks: acks})
}

// release hands back the drained partitions whose last commit was answered. Where that was with an
// error the group still knows the offset, so nothing is lost while this node runs.
func (m *memberActor) release() {
	if m.revoking == 0 {
		return
	}
	var gone []releasedPartition
	for partition, p := range m.owned {
		if p.drained && p.final <= m.answered {
			gone = append(gone, releasedPartition{partition, p.generation})
		}
	}
	if len(gone) == 0 {
		return
	}
	slices.SortFunc(gone, func(a, b releasedPartition) int { return int(a.partition - b.partition) })
	for _, p := range gone {
		delete(m.owned, p.partition)
		m.revoking--
		m.sink.Released(p.partition)
	}
	m.beatAt = m.clock.Mono() + heartbeatNanos
	m.system.Send(m.group, groupRevoked{member: m.handle.id, link: m.handle.link, partitions: gone})
}

func (m *memberActor) committed(msg memberCommitted) {
	m.answered = max(m.answered, msg.seq)
	m.answer(msg.seq, msg.err)
	if m.ended != nil {
		return
	}
	m.release()
	if m.unsent() {
		m.fold()
	} else if m.revoking > 0 {
		m.foldSoon()
	}
}

// unsent reports whether somebody waits for a commit that was not sent yet.
func (m *memberActor) unsent() bool {
	return slices.ContainsFunc(m.waiters, func(w memberWaiter) bool { return w.seq == 0 })
}

func (m *memberActor) commit(reply Reply[struct{}]) {
	if m.ended != nil {
		reply.Answer(struct{}{}, m.ended)
		return
	}
	m.waiters = append(m.waiters, memberWaiter{reply: reply})
	m.fold()
}

// leave sends the final commit even while another is on its way, and leaves without waiting for it:
// the group has taken it when it moves the partitions.
func (m *memberActor) leave(reply Reply[struct{}]) {
	if m.ended != nil {
		reply.Answer(struct{}{}, nil)
		return
	}
	m.waiters = append(m.waiters, memberWaiter{reply: reply})
	m.send(m.sink.Acks(nil))
	for _, partition := range slices.Sorted(maps.Keys(m.owned)) {
		m.sink.Released(partition)
	}
	m.system.Send(m.group, groupLeave{member: m.handle.id})
	m.stopWake()
	m.ended = m.closedErr()
}

// fenced ends a member that did not ask for it.
func (m *memberActor) fenced(err error) {
	if m.ended == nil {
		m.end(err)
		m.sink.Fenced(err)
	}
}

func (m *memberActor) end(err error) {
	if m.ended == nil {
		m.stopWake()
		m.ended = err
		m.answerAll(err)
	}
}

// answer tells everyone whose commit has the sequence number seq or a lower one.
func (m *memberActor) answer(seq uint64, err error) {
	m.waiters = slices.DeleteFunc(m.waiters, func(w memberWaiter) bool {
		ready := w.seq != 0 && w.seq <= seq
		if ready {
			w.reply.Answer(struct{}{}, err)
		}
		return ready
	})
}

func (m *memberActor) answerAll(err error) {
	for _, w := range m.waiters {
		w.reply.Answer(struct{}{}, err)
	}
	m.waiters = nil
}

// work folds and beats when that is due.
func (m *memberActor) work() {
	if m.wakeAt == 0 || m.clock.Mono() < m.wakeAt {
		return
	}
	m.stopWake()
	now := m.clock.Mono()
	if m.foldAt != 0 && m.foldAt <= now {
		m.fold()
	}
	if m.beatAt <= now {
		m.beatAt = now + heartbeatNanos
		m.system.Send(m.group, groupHeartbeat{member: m.handle.id, link: m.handle.link})
	}
	m.setWake()
}

// setWake makes sure that the timer fires no later than the next thing to do. An earlier one stays.
func (m *memberActor) setWake() {
	next := m.beatAt
	if m.foldAt != 0 {
		next = min(next, m.foldAt)
	}
	if m.wakeAt != 0 && m.wakeAt <= next {
		return
	}
	m.stopWake()
	m.wakeAt = next
	m.wake = m.system.After(time.Duration(max(next-m.clock.Mono(), 0)), m.self, memberNudge{})
}

func (m *memberActor) stopWake() {
	if m.wakeAt != 0 {
		m.system.Cancel(m.wake)
		m.wakeAt = 0
	}
}
