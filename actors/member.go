package actors

import (
	"context"
	"sync/atomic"
)

// MemberSink is the subscription a member works for. The member's actor calls it, one call at a
// time; no method may block, nor wait for a call of Member. Touch may be called from any of them.
type MemberSink interface {
	// Assigned gives a partition to the subscription. offset is the committed one, -1 where the group
	// has none; acks of this partition carry generation until it is released.
	Assigned(partition int32, offset int64, generation int32)
	// Revoking asks to stop delivering from a partition; what is in flight may still be acked. A
	// message that was being taken is either not delivered or seen by the next InFlight.
	Revoking(partition int32)
	// Released says that a partition is gone: its acks are refused from now on.
	Released(partition int32)
	// Fenced says that the member is out of its group, with the reason. Every Ack answers err from now
	// on; the loop yields it once and ends. It is the last call.
	Fenced(err error)
	// Acks appends the partitions whose acked position moved since the last call.
	Acks(into []PartitionAck) []PartitionAck
	// InFlight reports whether a message of the partition was delivered and is not acked yet, or is
	// being handled.
	InFlight(partition int32) bool
}

// PartitionAck is how far a subscription acked one partition.
type PartitionAck struct {
	Partition  int32
	Offset     int64 // first offset not acked: where to read on
	Generation int32 // as given by MemberSink.Assigned
}

// maxCommits is how many calls of Commit may be on the way to one member: few, so that its control
// lane always has room for the notices of its group. The others wait.
const maxCommits = 16

// Member is the membership of one subscription in its group, made by Coordinator.Join. Its methods
// may be called from any goroutine.
type Member struct {
	coordinator *Coordinator
	id          string
	link        *memberLink
	commits     chan struct{} // a token per Commit on the way
	touched     atomic.Bool   // acks wait for the fold
	closing     atomic.Bool
	closed      chan struct{} // closed when Close or Kill is done
}

// ID names the member within its node's run: "m1" for the first.
func (m *Member) ID() string { return m.id }

// Touch says that there are acks to fold. It does not block, and costs one atomic load while an
// earlier Touch still counts.
func (m *Member) Touch() {
	if !m.touched.Load() && m.touched.CompareAndSwap(false, true) {
		// Where the mailbox is too full for a nudge, other messages follow and look.
		m.coordinator.system.deliver(m.link.pid, memberNudge{})
	}
}

// Commit folds now and waits until everything acked before the call is stored, or ctx ends. It
// answers core.ErrFenced where the group does not take commits of this member any more.
func (m *Member) Commit(ctx context.Context) error {
	select {
	case m.commits <- struct{}{}:
		defer func() { <-m.commits }()
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := Call(ctx, m.coordinator.system, m.link.pid, func(r Reply[struct{}]) any { return memberCommit{r} })
	return err
}

// Close commits what was acked and leaves the group, which moves the partitions at once, then waits
// until the commit is stored or ctx ends. A second Close waits for the first. The sink is not used
// any more when it returns without an error; one whose ctx had ended before may hear core.ErrClosed.
func (m *Member) Close(ctx context.Context) error {
	if !m.closing.CompareAndSwap(false, true) {
		select {
		case <-m.closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(m.closed)
	_, err := Call(ctx, m.coordinator.system, m.link.pid, func(r Reply[struct{}]) any { return memberClose{r} })
	m.coordinator.left(m)
	if stopErr := m.coordinator.system.Stop(ctx, m.link.pid); err == nil {
		err = stopErr
	}
	return err
}

// Kill ends the member as a crash would: no commit, no leave, no word to the sink. The group notices
// when the session runs out. For tests.
func (m *Member) Kill() {
	if m.closing.CompareAndSwap(false, true) {
		m.coordinator.system.Send(m.link.pid, memberKill{})
		m.coordinator.left(m)
		close(m.closed)
	}
}
