package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leatbus/leat"
)

// TestClusterQueueGroup: a client sees one queue group on three nodes as one, resets and deletes all of it,
// and nothing of it while there are members.
func TestClusterQueueGroup(t *testing.T) {
	r := newQUICTrio(t)
	bus := r.dial(2)
	if err := bus.CreateTopic(soon(t), "t", leat.TopicConfig{Partitions: 6, Ack: leat.AckPage}); err != nil {
		t.Fatal(err)
	}
	p := openProducer(t, bus, "t", leat.WithPartitioner(leat.Manual))
	const each = 4
	for i := range 6 * each {
		publish(t, p, leat.Message{Partition: int32(i % 6), Value: fmt.Append(nil, i)})
	}
	far := &bed{Bus: bus, t: t}
	seen := func(what string, members int, lag int64) {
		t.Helper()
		groups, err := bus.Groups(soon(t))
		if err != nil || len(groups) != 1 {
			t.Fatalf("%s: groups %+v, %v; want one", what, groups, err)
		}
		g := far.group()
		if g.Mode != leat.GroupKeyShared || len(g.Members) != members || len(g.Partitions) != 6 {
			t.Errorf("%s: %+v, want %d members", what, g, members)
		}
		for i, p := range g.Partitions {
			if p.Partition != int32(i) || p.LagRecords != lag {
				t.Errorf("%s: partition %+v, want a lag of %d", what, p, lag)
			}
		}
	}
	join := func() *leat.Subscription { return far.subscribe("t", leat.Group("g"), leat.KeyShared()) }
	sub := join()
	seen("before an ack", 1, each)
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		mustDo(t, "Ack", m.Ack())
		mustDo(t, "Commit", sub.Commit(soon(t)))
		if far.queueLag() == 0 {
			break
		}
	}
	seen("when all is acked", 1, 0)
	if err := bus.ResetGroup(soon(t), "g", "t", leat.Earliest); !errors.Is(err, leat.ErrGroupActive) {
		t.Errorf("ResetGroup with a member: %v", err)
	}
	if err := bus.DeleteGroup(soon(t), "g", "t"); !errors.Is(err, leat.ErrGroupActive) {
		t.Errorf("DeleteGroup with a member: %v", err)
	}
	mustDo(t, "Close", sub.Close())
	mustDo(t, "ResetGroup", bus.ResetGroup(soon(t), "g", "t", leat.AtOffset(1)))
	seen("after the reset", 0, each-1)
	again := join()
	take(t, again, 6*(each-1))
	mustDo(t, "Close", again.Close())
	mustDo(t, "DeleteGroup", bus.DeleteGroup(soon(t), "g", "t"))
	if groups, err := bus.Groups(soon(t)); err != nil || len(groups) != 0 {
		t.Errorf("groups %+v, %v after DeleteGroup", groups, err)
	}
	for _, b := range r.beds {
		if list := b.node.queues.describe(); len(list) != 0 {
			t.Errorf("node %d still has %+v", b.node.id(), list)
		}
	}
}
