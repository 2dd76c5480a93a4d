package leat

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

// takeAcked reads n messages and acks each.
func takeAcked(t testing.TB, sub *Subscription, n int) []*Message {
	t.Helper()
	list := make([]*Message, 0, n)
	for len(list) < n {
		before := len(list)
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				t.Fatal(err)
			}
			if list = append(list, m.Clone()); m.Ack() != nil {
				t.Errorf("ack of %d/%d failed", m.Partition, m.Offset)
			}
			break
		}
		if len(list) == before {
			t.Fatalf("the loop ended after %d of %d messages", before, n)
		}
	}
	return list
}

func TestRemoteGroup(t *testing.T) {
	f := newFake(t, 3)
	f.topic("t", core.TopicConfig{Partitions: 4})
	bus, _ := f.client()
	fillTopic(t, bus, "t", 4, 50)
	sub := subscribeTo(t, bus, "t", Group("g"))
	list := takeAcked(t, sub, 100)
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	acked := map[int32]int64{}
	for _, m := range list {
		acked[m.Partition] = m.Offset + 1
	}
	for p, want := range acked {
		if got := f.committed("g", p); got != want {
			t.Errorf("partition %d: committed %d, want %d", p, got, want)
		}
	}
	unacked := takeFrom(t, sub, 1)[0]
	if err := sub.Backend().Ack(unacked.Partition, unacked.Offset+1); !errors.Is(err, ErrInvalidRecord) {
		t.Errorf("ack of what was not delivered: %v", err)
	}
	if err := sub.Backend().Ack(77, 0); !errors.Is(err, ErrFenced) {
		t.Errorf("ack of another's partition: %v", err)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	again := subscribeTo(t, bus, "t", Group("g"))
	inOrder(t, append(list, takeAcked(t, again, 100)...))
	eventually(t, "acks are folded", func() bool { return f.committed("g", 2) == 50 })
	groups, err := bus.Groups(soon(t))
	if err != nil || len(groups) != 1 || groups[0].Group != "g" || groups[0].Partitions[2].LagRecords != 0 {
		t.Errorf("groups %+v, %v", groups, err)
	}
}

// TestRemoteGroupCuts: after a cut, what was delivered and not acked stays in flight, and nothing is
// delivered twice to the same member.
func TestRemoteGroupCuts(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{Partitions: 2})
	bus, _ := f.client()
	fillTopic(t, bus, "t", 2, 40)
	for cutAt := 1; cutAt < 20; cutAt++ {
		group := fmt.Sprint("g", cutAt)
		sub := subscribeTo(t, bus, "t", Group(group))
		list := takeFrom(t, sub, cutAt)
		f.mu.Lock()
		f.cutAt = f.frames + cutAt
		f.mu.Unlock()
		f.cut(0, false)
		last := list[len(list)-1]
		if err := sub.Backend().Ack(last.Partition, last.Offset); err != nil {
			t.Fatalf("ack after the cut: %v", err)
		}
		if err := sub.Commit(soon(t)); err != nil {
			t.Fatalf("commit after the cut: %v", err)
		}
		if got := f.committed(group, last.Partition); got != last.Offset+1 {
			t.Fatalf("cut at %d: committed %d, want %d", cutAt, got, last.Offset+1)
		}
		inOrder(t, append(list, takeAcked(t, sub, 80-cutAt)...))
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemoteRevoke(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{Partitions: 2})
	bus, _ := f.client()
	fillTopic(t, bus, "t", 2, 20)
	var mu sync.Mutex
	var assigned, revoked []int32
	sub := subscribeTo(t, bus, "t", Group("g"), OnAssign(func(a, r []int32) {
		mu.Lock()
		defer mu.Unlock()
		assigned, revoked = append(assigned, a...), append(revoked, r...)
	}))
	m := takeFrom(t, sub, 1)[0]
	eventually(t, "it has the other, too", func() bool { return f.owns("g", 1-m.Partition) })
	f.revoke("g", m.Partition)
	f.revoke("g", 1-m.Partition)
	eventually(t, "the idle one is given back", func() bool { return !f.owns("g", 1-m.Partition) })
	if !f.owns("g", m.Partition) {
		t.Error("a partition was given back with a message in flight")
	}
	if err := sub.Backend().Ack(m.Partition, m.Offset); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other is given back", func() bool { return !f.owns("g", m.Partition) })
	if got := f.committed("g", m.Partition); got != m.Offset+1 {
		t.Errorf("committed %d before it was given back, want %d", got, m.Offset+1)
	}
	if err := sub.Backend().Ack(m.Partition, m.Offset); !errors.Is(err, ErrFenced) {
		t.Errorf("ack of a partition that was given back: %v", err)
	}
	f.mu.Lock()
	member := f.groups["g"].members[0]
	f.mu.Unlock()
	if err := f.assign(member, m.Partition); err != nil {
		t.Fatal(err)
	}
	if next := takeAcked(t, sub, 1)[0]; next.Partition != m.Partition || next.Offset != m.Offset+1 {
		t.Errorf("%d/%d after it came back, want %d/%d", next.Partition, next.Offset, m.Partition, m.Offset+1)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(revoked)
	if len(assigned) != 3 || !slices.Equal(revoked, []int32{0, 1}) {
		t.Errorf("OnAssign told %v and %v", assigned, revoked)
	}
}

func TestRemoteFenced(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	fillTopic(t, bus, "t", 1, 20)
	sub := subscribeTo(t, bus, "t", Group("g"))
	list := takeAcked(t, sub, 2)
	f.fence("g", core.CodeDraining) // it joins again by itself
	eventually(t, "it joins again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		g := f.groups["g"]
		return len(g.members) == 1 && g.members[0].name == "m2" && g.owner[0] == g.members[0]
	})
	list = append(list, takeFrom(t, sub, 3)...)
	inOrder(t, list)
	f.fence("g", core.CodeFenced)
	eventually(t, "acks fail", func() bool { return errors.Is(sub.Backend().Ack(0, 3), ErrFenced) })
	if err := sub.Commit(soon(t)); !errors.Is(err, ErrFenced) {
		t.Errorf("commit: %v", err)
	}
	for loop := range 2 {
		errs := 0
		for _, err := range sub.Messages(soon(t)) {
			if errs++; !errors.Is(err, ErrFenced) {
				t.Errorf("yielded %v", err)
			}
		}
		if errs != 1-loop {
			t.Errorf("loop %d yielded %d errors", loop, errs)
		}
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

// TestRemoteCommittedOutsideLog: a commit that retention overtook, or that lies beyond a lost tail, is no
// error.
func TestRemoteCommittedOutsideLog(t *testing.T) {
	f := newFake(t, 1)
	topic := f.topic("t", core.TopicConfig{Partitions: 2})
	bus, _ := f.client()
	fillTopic(t, bus, "t", 2, 20)
	topic.parts[0].start = 7
	f.groups["g"] = &fakeGroup{topic: topic, committed: map[int32]int64{0: 3, 1: 99},
		owner: map[int32]*fakeMember{}}
	sub := subscribeTo(t, bus, "t", Group("g"))
	for i, m := range takeAcked(t, sub, 13) {
		if m.Partition != 0 || m.Offset != int64(7+i) {
			t.Fatalf("%d/%d", m.Partition, m.Offset)
		}
	}
	s := sub.Backend().(*remoteSubscription)
	eventually(t, "both have a place", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.cursorOf(1) // nil until the partition is assigned
		return c != nil && c.want == 20
	})
	fillTopic(t, bus, "t", 2, 1)
	for _, m := range takeAcked(t, sub, 2) {
		if m.Offset != 20 {
			t.Errorf("%d/%d after the new end", m.Partition, m.Offset)
		}
	}
}

// TestRemoteAssignCall: Close waits for a call of OnAssign that runs, and none begins afterwards.
func TestRemoteAssignCall(t *testing.T) {
	f := newFake(t, 1)
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	running, hold := make(chan struct{}), make(chan struct{})
	sub := subscribeTo(t, bus, "t", Group("g"), OnAssign(func(_, _ []int32) {
		close(running)
		<-hold
	}))
	looped := make(chan struct{})
	go func() {
		defer close(looped)
		for range sub.Messages(soon(t)) {
			t.Error("a message")
		}
	}()
	<-running
	s := sub.Backend().(*remoteSubscription)
	closed := make(chan error)
	go func() { closed <- sub.Close() }()
	<-s.ctx.Done() // Close has left the group
	s.tasks.Wait()
	select {
	case <-closed:
		t.Error("Close did not wait for OnAssign")
		close(hold)
	case <-time.After(20 * time.Millisecond):
		close(hold)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	<-looped
}
