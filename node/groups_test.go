package node

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// readOn gives what a member of group "g" that comes now reads first of each partition of topic "t", and
// acks it all.
func (b *bed) readOn() map[int32]int64 {
	b.t.Helper()
	sub := b.subscribe("t", leat.Group("g"))
	first := map[int32]int64{}
	for b.lag() > 0 {
		for _, m := range take(b.t, sub, 1) {
			if _, seen := first[m.Partition]; !seen {
				first[m.Partition] = m.Offset
			}
			if err := sub.Backend().Ack(m.Partition, m.Offset); err != nil {
				b.t.Error(err)
			}
		}
		if err := sub.Commit(soon(b.t)); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := sub.Close(); err != nil {
		b.t.Fatal(err)
	}
	return first
}

// lag is what group "g" has not committed of topic "t".
func (b *bed) lag() int64 {
	lag := int64(0)
	for _, p := range b.settled(1).Partitions {
		lag += p.LagRecords
	}
	return lag
}

// TestResetGroup: the next member goes on at the position, in this run and in the next.
func TestResetGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
		b.fill(3)
		pass(time.Second)
		half := time.Now()
		b.fill(3)
		reset := func(to leat.Position) error { return b.ResetGroup(soon(t), "g", "t", to) }
		wantError(t, "reset of a group that is not there", reset(leat.Earliest), leat.ErrGroupNotFound)
		b.readOn()
		for name, tt := range map[string]struct {
			to   leat.Position
			want int64
		}{
			"Earliest": {leat.Earliest, 0}, "AtOffset": {leat.AtOffset(2), 2}, "AtTime": {leat.AtTime(half), 3},
			"Latest": {leat.Latest, 6},
		} {
			for _, restart := range []bool{false, true} {
				if err := reset(tt.to); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if restart {
					b = b.reopen()
				}
				for _, p := range b.group().Partitions {
					if p.Committed != tt.want || p.LagRecords != 6-tt.want {
						t.Errorf("%s: partition %+v, want it committed at %d", name, p, tt.want)
					}
				}
				want := fmt.Sprint(map[int32]int64{0: tt.want, 1: tt.want})
				if tt.want == 6 {
					want = "map[]"
				}
				if got := fmt.Sprint(b.readOn()); got != want {
					t.Errorf("%s: the next member started at %s, want %s", name, got, want)
				}
			}
		}
		if err := b.node.resetOffsets(soon(t), "g", "t", map[int32]int64{1: 4}); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(b.readOn()); got != "map[1:4]" {
			t.Errorf("after a reset of one partition the next member started at %s", got)
		}
	})
}

// TestResetGroupRefuses: what cannot be changes nothing.
func TestResetGroupRefuses(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	b.fill(3)
	b.readOn()
	member := b.subscribe("t", leat.Group("g"))
	b.settled(1)
	wantError(t, "with a member", b.ResetGroup(soon(t), "g", "t", leat.Earliest), leat.ErrGroupActive)
	wantError(t, "Delete with a member", b.DeleteGroup(soon(t), "g", "t"), leat.ErrGroupActive)
	if err := member.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no position":  b.ResetGroup(soon(t), "g", "t", leat.Position{}),
		"":             b.ResetGroup(soon(t), "", "t", leat.Earliest),
		"no topic":     b.ResetGroup(soon(t), "g", "u", leat.Earliest),
		"past the end": b.ResetGroup(soon(t), "g", "t", leat.AtOffset(4)),
		"no partition": b.node.resetOffsets(soon(t), "g", "t", map[int32]int64{0: 0, 2: 0}),
		"negative":     b.node.resetOffsets(soon(t), "g", "t", map[int32]int64{0: 0, 1: -1}),
	} {
		want := map[string]error{"no position": leat.ErrInvalidConfig, "": leat.ErrInvalidName,
			"no topic": leat.ErrTopicNotFound, "past the end": leat.ErrOffsetOutOfRange,
			"no partition": leat.ErrPartitionUnknown, "negative": leat.ErrOffsetOutOfRange}[name]
		wantError(t, name, err, want)
	}
	for _, p := range b.group().Partitions {
		if p.Committed != 3 {
			t.Errorf("partition %d is committed at %d after refusals, want 3", p.Partition, p.Committed)
		}
	}
}

// TestDeleteGroup: its commits are gone for good, while those of others stay.
func TestDeleteGroup(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckDisk}, WithTopic("u", leat.TopicConfig{}))
	b.fill(3)
	b.readOn()
	wantError(t, "on a topic it did not read", b.DeleteGroup(soon(t), "g", "u"), leat.ErrGroupNotFound)
	wantError(t, "of no group", b.DeleteGroup(soon(t), "h", "t"), leat.ErrGroupNotFound)

	// A snapshot of the commits is under way: it may hold them, so deleting waits.
	busy := b.node.commits.cutting[core.GroupsPartition("g")]
	busy <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.DeleteGroup(ctx, "g", "t"); err != context.DeadlineExceeded {
		t.Errorf("DeleteGroup during a snapshot: %v", err)
	}
	<-busy
	if g := b.group(); len(g.Partitions) != 2 {
		t.Fatalf("group %+v: it was deleted by a call that failed", g)
	}
	if err := b.DeleteGroup(soon(t), "g", "t"); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if groups, err := b.Groups(soon(t)); err != nil || len(groups) != 0 {
			t.Errorf("groups %+v, %v", groups, err)
		}
		wantError(t, "delete again", b.DeleteGroup(soon(t), "g", "t"), leat.ErrGroupNotFound)
		wantError(t, "reset of it", b.ResetGroup(soon(t), "g", "t", leat.Latest), leat.ErrGroupNotFound)
	}
	check()
	b.fs = b.fs.Crash(3)
	b = b.reopen()
	check()
	if got := fmt.Sprint(b.readOn()); got != "map[0:0 1:0]" {
		t.Errorf("a group of the same name started at %s", got)
	}
}

// TestCommitAfterALostTail: a power cut took records that were committed, and their offsets were given
// again. Commits made since count, though they are lower.
func TestCommitAfterALostTail(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(8)
	for _, c := range []core.Commit{{Generation: 1, Offset: 100}, {Generation: 2, Offset: 6}} {
		c.Group, c.TopicID = "g", b.node.topicNamed("t").id
		if _, err := b.node.commits.disk.Publish(soon(t), commitMessage(&c)); err != nil {
			t.Fatal(err)
		}
	}
	b = b.reopen()
	if got := b.readOn()[0]; got != 6 {
		t.Errorf("the group went on at %d, want 6", got)
	}
}
