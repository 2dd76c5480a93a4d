package actors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

// commitTo makes a member, which commits an offset of every partition, and lets it leave.
func (b *groupBed) commitTo(offsets ...int64) {
	b.t.Helper()
	s := b.join("once", int32(len(offsets)))
	for partition, offset := range offsets {
		s.deliver(int32(partition), offset-s.parts[int32(partition)].next)
		_ = s.ack(int32(partition))
	}
	if err := s.member.Close(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// restart closes the bed and opens one that has read the log.
func (b *groupBed) restart() *groupBed {
	b.close()
	again := newGroupBed(b.t, b.log)
	for _, c := range b.log.history {
		again.coordinator.Restore(c)
	}
	return again
}

func (b *groupBed) wantStarts(offsets ...int64) {
	b.t.Helper()
	s := b.join("next", int32(len(offsets)))
	for _, start := range s.starts {
		if want := offsets[start.Partition]; start.Offset != want {
			b.t.Errorf("partition %d starts at %d, want %d", start.Partition, start.Offset, want)
		}
	}
	if len(s.starts) != len(offsets) {
		b.t.Errorf("%d partitions assigned, want %d", len(s.starts), len(offsets))
	}
	if err := s.member.Close(b.t.Context()); err != nil {
		b.t.Error(err)
	}
}

func wantCode(t *testing.T, what string, err error, want core.Code) {
	t.Helper()
	if err == nil || core.CodeOf(err) != want {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// TestGroupReset: back and forth, with and without an actor, before and after a restart.
func TestGroupReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGroupBed(t, newMemoryLog(t))
		reset := func(offsets map[int32]int64) error {
			return b.coordinator.Reset(t.Context(), testGroup, testTopic, 3, offsets)
		}
		wantCode(t, "reset of no group", reset(map[int32]int64{0: 1}), core.CodeGroupNotFound)
		b.commitTo(10, 20, 30)
		s := b.join("a", 3)
		wantCode(t, "reset of a group with a member", reset(map[int32]int64{0: 1}), core.CodeGroupActive)
		if err := s.member.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "reset of no partition", reset(map[int32]int64{0: 1, 3: 1}), core.CodePartitionUnknown)
		if err := reset(map[int32]int64{0: 4, 1: 25}); err != nil {
			t.Fatal(err)
		}
		for partition, want := range []int64{4, 25, 30} {
			if got := b.log.offset(testGroup, testTopic, int32(partition)); got != want {
				t.Errorf("stored offset of partition %d when Reset returned: %d, want %d", partition, got, want)
			}
		}
		b.wantStarts(4, 25, 30)
		b = b.restart()
		if err := reset(map[int32]int64{2: 0}); err != nil { // of a group without an actor
			t.Fatal(err)
		}
		b.wantStarts(4, 25, 0)
		b.commitTo(5, 26, 1)
		b = b.restart()
		b.wantStarts(5, 26, 1)
		b.close()
	})
}

// TestGroupResetWaitsForTheLog: it answers when it is stored, after as many tries as that takes, or with
// what cannot heal.
func TestGroupResetWaitsForTheLog(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.commitTo(10)
		b.log.failWith(errors.New("no room"))
		answer := make(chan error, 1)
		go func() {
			answer <- b.coordinator.Reset(context.Background(), testGroup, testTopic, 1, map[int32]int64{0: 3})
		}()
		pass(time.Second)
		select {
		case err := <-answer:
			t.Fatalf("Reset = %v before it was stored", err)
		default:
		}
		b.log.failWith(nil)
		if err := <-answer; err != nil {
			t.Errorf("Reset = %v", err)
		}
		if got := b.log.offset(testGroup, testTopic, 0); got != 3 {
			t.Errorf("stored offset %d, want 3", got)
		}
		b.log.failWith(core.ErrLogFenced)
		err := b.coordinator.Reset(t.Context(), testGroup, testTopic, 1, map[int32]int64{0: 1})
		wantCode(t, "Reset on a fenced log", err, core.CodeLogFenced)
		b.log.failWith(nil)
	})
}

// TestGroupDelete: the commits go for good, and who comes later starts anew.
func TestGroupDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGroupBed(t, newMemoryLog(t))
		remove := func() error { return b.coordinator.Delete(t.Context(), testGroup, testTopic, 2) }
		wantCode(t, "delete of no group", remove(), core.CodeGroupNotFound)
		b.commitTo(10, 20)
		s := b.join("a", 2)
		wantCode(t, "delete of a group with a member", remove(), core.CodeGroupActive)
		if err := s.member.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "delete again", remove(), core.CodeGroupNotFound)
		if states := b.coordinator.Describe(); len(states) != 0 {
			t.Errorf("a deleted group is described: %+v", states)
		}
		live, err := b.coordinator.Snapshot(core.GroupsPartition(testGroup))
		if err != nil || len(live) != 0 {
			t.Errorf("a snapshot holds %+v, %v", live, err)
		}
		b.wantStarts(-1, -1)
		b = b.restart()
		wantCode(t, "delete after a restart", remove(), core.CodeGroupNotFound)
		b.commitTo(3, 4)
		b = b.restart()
		b.wantStarts(3, 4)
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		b.commitTo(5, 6) // in the same run, under later generations
		b = b.restart()
		b.wantStarts(5, 6)
		b.close()
	})
}
