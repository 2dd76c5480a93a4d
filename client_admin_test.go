package leat

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// TestRemoteAdministration is in a bubble, so that a slow machine does not make a node seem to be away.
func TestRemoteAdministration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 3)
		bus, c := f.client(WithUnreachableAfter(50 * time.Millisecond))
		if err := bus.CreateTopic(soon(t), "a/b", TopicConfig{}); !errors.Is(err, ErrInvalidName) {
			t.Errorf("bad name: %v", err)
		}
		c.mu.Lock()
		c.topology.Meta = 2 // an old map: node 1 is asked after NOT_LEADER
		c.mu.Unlock()
		if err := bus.CreateTopic(soon(t), "t", TopicConfig{Partitions: 3}); err != nil {
			t.Fatal(err)
		}
		if err := bus.CreateTopic(soon(t), "t", TopicConfig{}); !errors.Is(err, ErrTopicExists) {
			t.Errorf("again: %v", err)
		}
		fillTopic(t, bus, "t", 3, 10)
		sub := subscribeTo(t, bus, "t", Group("g"))
		takeAcked(t, sub, 30)
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		if err := bus.ResetGroup(soon(t), "g", "t", AtOffset(4)); err != nil {
			t.Fatal(err)
		}
		groups, err := bus.Groups(soon(t))
		if err != nil || len(groups) != 1 || groups[0].Partitions[1].Committed != 4 ||
			groups[0].Partitions[1].LagRecords != 6 {
			t.Errorf("groups %+v, %v", groups, err)
		}
		if err := bus.ResetGroup(soon(t), "g", "t", AtOffset(40)); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("reset beyond the end: %v", err)
		}
		if info, err := bus.Cluster(soon(t)); err != nil || len(info.Nodes) != 3 || info.Meta != 1 {
			t.Errorf("cluster %+v, %v", info, err)
		}
		f.cut(3, true)
		topics, err := bus.Topics(soon(t))
		if err != nil || len(topics) != 1 {
			t.Fatalf("topics %+v, %v", topics, err)
		}
		for _, p := range topics[0].Partitions {
			if away := p.Node == 3; away != errors.Is(p.Err, ErrUnavailable) || !away && p.End != 10 {
				t.Errorf("partition of node %d: end %d, %v", p.Node, p.End, p.Err)
			}
		}
		// What cannot be asked is told, beside what can.
		groups, err = bus.Groups(soon(t))
		if !errors.Is(err, ErrUnavailable) || len(groups) != 1 {
			t.Fatalf("groups without node 3: %+v, %v", groups, err)
		}
		for i, p := range groups[0].Partitions {
			want := int64(6)
			if topics[0].Partitions[i].Node == 3 {
				want = -1
			}
			if p.LagRecords != want {
				t.Errorf("partition %d has a lag of %d, want %d", p.Partition, p.LagRecords, want)
			}
		}
	})
}

// TestRemoteGoAway: after GOAWAY new streams go to another connection, and the end of the old one costs
// nobody an error.
func TestRemoteGoAway(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	p := producerOn(t, bus, "t")
	if _, err := p.Publish(soon(t), Message{}); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	control := f.nodes[0].newest
	f.mu.Unlock()
	if err := control.send(wire.Header{Type: wire.GoAway, Arg: 1000}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new streams need another connection", func() bool {
		_, err := bus.Topics(soon(t))
		f.mu.Lock()
		defer f.mu.Unlock()
		return err == nil && f.nodes[0].dials == 2
	})
	if _, err := p.Publish(soon(t), Message{}); err != nil {
		t.Errorf("on the old connection: %v", err)
	}
	control.conn.Close(core.CodeDraining, "drained")
	if r, err := p.Publish(soon(t), Message{}); err != nil || r.Offset != 2 {
		t.Errorf("after it ended: %+v, %v", r, err)
	}
}
