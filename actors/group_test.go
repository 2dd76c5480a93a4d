package actors

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

func TestGroupOneMemberGetsAll(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 4)
		wantOwned(t, a, 0, 1, 2, 3)
		for _, start := range a.starts {
			if start.Offset != -1 || start.Generation < 1 {
				t.Errorf("assigned %+v, want offset -1 and a generation", start)
			}
		}
		state := b.state()
		want := GroupState{Group: testGroup, Topic: testTopic, Generation: state.Generation,
			Members: []string{"m1"}}
		for p := range int32(4) {
			want.Partitions = append(want.Partitions,
				GroupPartitionState{Partition: p, Member: "m1", Generation: state.Generation, Committed: -1})
		}
		if !reflect.DeepEqual(state, want) {
			t.Errorf("Describe() = %+v, want %+v", state, want)
		}
		if a.member.ID() != "m1" {
			t.Errorf("ID() = %q, want m1", a.member.ID())
		}
	})
}

func TestGroupIdlePartitionsMoveAtOnce(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		start := time.Now()
		a, c := b.join("a", 4), b.join("c", 4)
		wantOwned(t, a, 0, 1)
		wantOwned(t, c, 2, 3)
		if took := time.Since(start); took != 0 {
			t.Errorf("idle partitions took %v to move, want no time", took)
		}
	})
}

func TestGroupMovesOnlyWhatIsAcked(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.log.delay = func() time.Duration { return 20 * time.Millisecond }
		a := b.join("a", 2)
		a.deliver(0, 5)
		a.deliver(1, 7)
		c := b.join("c", 2)
		pass(9 * time.Second)
		wantOwned(t, a, 0, 1)
		wantOwned(t, c)
		if a.deliver(1, 1) {
			t.Error("a partition that is being revoked still delivers")
		}
		if err := a.ack(1); err != nil {
			t.Errorf("ack of a partition being revoked = %v", err)
		}
		pass(60 * time.Millisecond)
		wantOwned(t, c) // acked, but not stored yet
		pass(100 * time.Millisecond)
		wantOwned(t, a, 0)
		wantOwned(t, c, 1)
		if want := (PartitionAck{1, 7, c.starts[0].Generation}); c.starts[0] != want {
			t.Errorf("c starts at %+v, want %+v", c.starts[0], want)
		}
		if got := b.log.offset(testGroup, testTopic, 1); got != 7 {
			t.Errorf("stored offset = %d, want 7", got)
		}
		if err := a.fault(); err != nil {
			t.Errorf("a was fenced: %v", err)
		}
	})
}

func TestGroupFencesAStalledMember(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 2)
		a.deliver(0, 3)
		_ = a.ack(0)
		pass(time.Second)
		a.deliver(0, 1)
		a.deliver(1, 1)
		c := b.join("c", 2)
		pass(10*time.Second - time.Millisecond)
		wantOwned(t, c)
		pass(time.Millisecond)
		wantOwned(t, c, 0, 1)
		if want := []int64{3, -1}; c.starts[0].Offset != want[0] || c.starts[1].Offset != want[1] {
			t.Errorf("c starts at %+v, want offsets %v", c.starts, want)
		}
		if err := a.ack(0); !errors.Is(err, core.ErrFenced) {
			t.Errorf("the zombie's ack = %v, want %v", err, core.ErrFenced)
		}
		if err := a.member.Commit(t.Context()); !errors.Is(err, core.ErrFenced) {
			t.Errorf("the zombie's Commit = %v, want %v", err, core.ErrFenced)
		}
		if err := a.member.Close(t.Context()); err != nil {
			t.Errorf("the zombie's Close = %v", err)
		}
		pass(time.Minute)
		wantOwned(t, c, 0, 1)
		if got := b.log.offset(testGroup, testTopic, 0); got != 3 {
			t.Errorf("stored offset = %d, want 3", got)
		}
	})
}

// TestGroupRejectsAZombiesCommit speaks for a member that has not heard yet that it was fenced.
func TestGroupRejectsAZombiesCommit(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 1)
		generation := a.starts[0].Generation
		link := &memberLink{system: b.system, pid: a.member.link.pid}
		group := b.coordinator.groups[groupKey{testGroup, testTopic}]
		commit := groupCommit{member: "m9", link: link, seq: 1, acks: []PartitionAck{{0, 99, generation}}}
		b.system.Send(group, commit)
		synctest.Wait()
		link.mu.Lock()
		queue := slices.Clone(link.queue)
		link.mu.Unlock()
		if len(queue) != 2 {
			t.Fatalf("the zombie was told %v, want that it is fenced and that its commit is", queue)
		}
		if told, ok := queue[0].(memberFenced); !ok || !errors.Is(told.err, core.ErrFenced) {
			t.Errorf("told %#v, want memberFenced", queue[0])
		}
		if told, ok := queue[1].(memberCommitted); !ok || !errors.Is(told.err, core.ErrFenced) {
			t.Errorf("told %#v, want memberCommitted with %v", queue[1], core.ErrFenced)
		}
		pass(time.Second)
		if got := b.log.offset(testGroup, testTopic, 0); got != -1 {
			t.Errorf("stored offset = %d, want none", got)
		}
	})
}

func TestGroupLeaveMovesAtOnce(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a, c := b.join("a", 2), b.join("c", 2)
		a.deliver(0, 4)
		_ = a.ack(0)
		a.deliver(0, 2) // in flight when it leaves
		start := time.Now()
		if err := a.member.Close(t.Context()); err != nil {
			t.Errorf("Close = %v", err)
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("leaving took %v, want no time", took)
		}
		wantOwned(t, c, 0, 1)
		if last := c.starts[len(c.starts)-1]; last.Partition != 0 || last.Offset != 4 {
			t.Errorf("c got %+v, want partition 0 at offset 4", last)
		}
		if got := b.log.offset(testGroup, testTopic, 0); got != 4 {
			t.Errorf("stored offset = %d, want 4", got)
		}
		if err := a.member.Close(t.Context()); err != nil {
			t.Errorf("second Close = %v", err)
		}
		if err := a.member.Commit(t.Context()); !errors.Is(err, core.ErrClosed) {
			t.Errorf("Commit after Close = %v, want %v", err, core.ErrClosed)
		}
	})
}

func TestGroupMovesFromTheDeadAfterTheSession(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a, c := b.join("a", 2), b.join("c", 2)
		pass(31 * time.Second) // a beat at 30 s
		a.kill()
		pass(9*time.Second - time.Millisecond)
		wantOwned(t, c, 1)
		pass(time.Millisecond)
		wantOwned(t, c, 0, 1)
		if got := b.state().Members; !slices.Equal(got, []string{"m2"}) {
			t.Errorf("members = %v, want m2 only", got)
		}
	})
}

func TestGroupKeepsIdleMembers(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 2)
		pass(10 * time.Minute)
		wantOwned(t, a, 0, 1)
		if err := a.fault(); err != nil {
			t.Errorf("an idle member was fenced: %v", err)
		}
	})
}

func TestGroupCommitSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog(t)
		b := newGroupBed(t, log)
		a := b.join("a", 3)
		a.deliver(1, 42)
		_ = a.ack(1)
		if err := a.member.Commit(t.Context()); err != nil {
			t.Errorf("Commit = %v", err)
		}
		if got := log.offset(testGroup, testTopic, 1); got != 42 {
			t.Errorf("stored offset after Commit = %d, want 42", got)
		}
		b.close()

		b = newGroupBed(t, log)
		for _, c := range []core.Commit{
			{Partition: 1, Offset: 90, Generation: 2}, // from before a reset
			{Partition: 1, Offset: 42, Generation: 3},
			{Partition: 1, Offset: 41, Generation: 3}, // an older one of a snapshot
			{Partition: 1, Offset: 95, Generation: 2}, // and one from before the reset
			{Partition: 2, Offset: 3},
			{Partition: 2, Removed: true},
			{Partition: 7, Offset: 5, Generation: 6}, // the topic has no such partition
			{Group: "gone", Offset: 3},
			{Group: "gone", Removed: true},
			{Group: "gone", Removed: true},
		} {
			c.Group, c.TopicID = cmp.Or(c.Group, testGroup), testTopic
			b.coordinator.Restore(c)
		}
		before := b.state()
		want := []GroupPartitionState{{Partition: 1, Committed: 42}, {Partition: 7, Committed: 5}}
		if !slices.Equal(before.Partitions, want) {
			t.Errorf("Describe() before the first join = %+v, want %+v", before.Partitions, want)
		}
		a = b.join("a", 3)
		for _, start := range a.starts {
			if start.Generation <= 6 {
				t.Errorf("generation %d, want it to go on after 6", start.Generation)
			}
			if want := []int64{-1, 42, -1}[start.Partition]; start.Offset != want {
				t.Errorf("partition %d starts at %d, want %d", start.Partition, start.Offset, want)
			}
		}
		b.close()
	})
}

func TestGroupRetriesAFailedAppend(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		broken := errors.New("no room")
		b.log.failWith(broken)
		a := b.join("a", 2)
		a.deliver(0, 1)
		_ = a.ack(0)
		done := make(chan error, 1)
		go func() { done <- a.member.Commit(context.Background()) }()
		pass(10 * time.Second)
		select {
		case err := <-done:
			t.Fatalf("Commit = %v while nothing was stored", err)
		default:
		}
		if appends, _ := b.log.count(); appends < 5 || appends > 12 {
			t.Errorf("%d appends in 10 s, want a growing pause between them", appends)
		}
		if err := b.state().CommitErr; !errors.Is(err, broken) {
			t.Errorf("CommitErr = %v, want %v", err, broken)
		}
		a.deliver(0, 9)
		a.deliver(1, 2)
		a.ackAll()
		b.log.failWith(nil)
		pass(15 * time.Second)
		if err := <-done; err != nil {
			t.Errorf("Commit = %v after the log healed", err)
		}
		for p, want := range []int64{10, 2} {
			if got := b.log.offset(testGroup, testTopic, int32(p)); got != want {
				t.Errorf("stored offset of %d = %d, want %d", p, got, want)
			}
		}
		if err := b.state().CommitErr; err != nil {
			t.Errorf("CommitErr = %v after a success", err)
		}
	})
}

func TestGroupAnswersWhatCannotHeal(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.log.failWith(core.ErrLogFenced)
		a := b.join("a", 1)
		a.deliver(0, 1)
		_ = a.ack(0)
		if err := a.member.Commit(t.Context()); !errors.Is(err, core.ErrLogFenced) {
			t.Errorf("Commit = %v, want %v", err, core.ErrLogFenced)
		}
		// A log that is lost does not keep the members from sharing the partitions.
		a.deliver(0, 1)
		_ = a.ack(0)
		c := b.join("c", 2)
		pass(8 * time.Second)
		wantOwned(t, a, 0)
		wantOwned(t, c, 1)
		b.log.failWith(nil)
		pass(6 * time.Second)
		if got := b.log.offset(testGroup, testTopic, 0); got != 2 {
			t.Errorf("stored offset after the log healed = %d, want 2", got)
		}
	})
}

func TestGroupCommitEndsWithItsContext(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.log.delay = func() time.Duration { return time.Minute }
		a := b.join("a", 1)
		a.deliver(0, 1)
		_ = a.ack(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wait sync.WaitGroup
		for range 3 * maxCommits {
			wait.Go(func() {
				if err := a.member.Commit(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Commit = %v, want %v", err, context.DeadlineExceeded)
				}
			})
		}
		wait.Wait()
		closing, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.member.Close(closing); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close = %v, want %v", err, context.DeadlineExceeded)
		}
		c := b.join("c", 1)
		wantOwned(t, c, 0) // it left all the same
		if c.starts[0].Offset != 1 {
			t.Errorf("c starts at %d, want 1: the commit was taken before", c.starts[0].Offset)
		}
	})
}

func TestGroupFoldsAcks(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a := b.join("a", 2)
		for range 1000 {
			a.deliver(0, 1)
			a.deliver(1, 1)
			a.ackAll()
			pass(time.Millisecond)
		}
		pass(time.Second)
		if appends, _ := b.log.count(); appends < 15 || appends > 21 {
			t.Errorf("%d appends for 1 s of acks, want one each 50 ms", appends)
		}
		for p := range int32(2) {
			if got := b.log.offset(testGroup, testTopic, p); got != 1000 {
				t.Errorf("stored offset of %d = %d, want 1000", p, got)
			}
		}
	})
}

func TestGroupFoldsMoreWhileTheLogIsSlow(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.log.delay = func() time.Duration { return 2 * time.Second }
		a := b.join("a", 1)
		for range 200 {
			a.deliver(0, 1)
			_ = a.ack(0)
			pass(50 * time.Millisecond)
		}
		if err := a.member.Commit(t.Context()); err != nil {
			t.Errorf("Commit = %v", err)
		}
		if appends, _ := b.log.count(); appends > 8 {
			t.Errorf("%d appends in 12 s at 2 s each", appends)
		}
		if got := b.log.offset(testGroup, testTopic, 0); got != 200 {
			t.Errorf("stored offset = %d, want 200", got)
		}
	})
}

func TestGroupTopicGrows(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a, c := b.join("a", 2), b.join("c", 6)
		if n, m := len(a.owned()), len(c.owned()); n != 3 || m != 3 {
			t.Errorf("a owns %v, c owns %v; want 3 each", a.owned(), c.owned())
		}
		for _, partitions := range []int32{0, -1, core.MaxPartitions + 1} {
			_, err := b.coordinator.Join(testGroup, testTopic, partitions, b.sink("x"))
			if core.CodeOf(err) != core.CodeInvalidConfig {
				t.Errorf("Join with %d partitions = %v, want an invalid configuration", partitions, err)
			}
		}
	})
}

func TestGroupMoreMembersThanPartitions(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		a, c := b.join("a", 1), b.join("c", 1)
		wantOwned(t, a, 0)
		wantOwned(t, c)
		pass(time.Minute)
		if err := a.member.Close(t.Context()); err != nil {
			t.Errorf("Close = %v", err)
		}
		synctest.Wait()
		wantOwned(t, c, 0)
	})
}

// TestGroupOfManyMembers joins more members at once than messages fit into a control lane.
func TestGroupOfManyMembers(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		const members, partitions = 300, 600
		start := time.Now()
		sinks := make([]*fakeSink, members)
		var wait sync.WaitGroup
		for i := range sinks {
			sinks[i] = b.sink("m")
			wait.Go(func() { b.joinAs(sinks[i], partitions) })
		}
		wait.Wait()
		synctest.Wait()
		for _, s := range sinks {
			if n := len(s.owned()); n != partitions/members {
				t.Fatalf("a member owns %d partitions, want %d", n, partitions/members)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("joining took %v of virtual time: somebody waited", took)
		}
		if n := b.system.DeadLetters(); n != 0 {
			t.Errorf("%d dead letters, want none", n)
		}
	})
}

func TestGroupsAreApart(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.owners = nil // three groups own the same numbers
		a := b.join("a", 2)
		other, sameName := b.sink("other"), b.sink("same name")
		for _, join := range []struct {
			group string
			topic uint64
			sink  *fakeSink
		}{{"alerts", testTopic, other}, {testGroup, 18, sameName}} {
			m, err := b.coordinator.Join(join.group, join.topic, 2, join.sink)
			if err != nil {
				t.Fatalf("Join = %v", err)
			}
			join.sink.member = m
		}
		synctest.Wait()
		for _, s := range []*fakeSink{a, other, sameName} {
			wantOwned(t, s, 0, 1)
			s.deliver(0, 3)
			s.ackAll()
		}
		pass(time.Second)
		var got []groupKey
		for _, state := range b.coordinator.Describe() {
			got = append(got, groupKey{state.Group, state.Topic})
		}
		if want := []groupKey{{"alerts", 17}, {testGroup, 17}, {testGroup, 18}}; !slices.Equal(got, want) {
			t.Errorf("Describe() = %v, want %v", got, want)
		}
		b.coordinator.Restore(core.Commit{Group: "old", TopicID: testTopic, Partition: 1, Offset: 30})
		var forgotten []groupKey
		for _, c := range b.coordinator.ForgetTopic(testTopic) {
			forgotten = append(forgotten, groupKey{c.Group, c.TopicID})
		}
		if want := []groupKey{{"alerts", 17}, {"old", 17}, {testGroup, 17}}; !slices.Equal(forgotten, want) {
			t.Errorf("ForgetTopic gave commits of %v, want %v", forgotten, want)
		}
		synctest.Wait()
		for _, s := range []*fakeSink{a, other} {
			if err := s.fault(); !errors.Is(err, core.ErrTopicNotFound) {
				t.Errorf("%s: fault = %v, want %v", s.name, err, core.ErrTopicNotFound)
			}
		}
		if err := sameName.fault(); err != nil {
			t.Errorf("a member on another topic got %v", err)
		}
		if n := len(b.coordinator.Describe()); n != 1 {
			t.Errorf("%d groups left, want 1", n)
		}
	})
}

func TestGroupSnapshot(t *testing.T) {
	inGroupBed(t, func(t *testing.T, b *groupBed) {
		b.owners = nil
		b.coordinator.Restore(core.Commit{Group: "old", TopicID: 20, Partition: 3, Offset: 30})
		a := b.join("a", 2)
		a.deliver(1, 8)
		b.log.delay = func() time.Duration { return time.Minute }
		_ = a.ack(1)
		pass(time.Second) // handed to the log, not answered
		var all []core.Commit
		for p := range int32(core.GroupsPartitions) {
			live, err := b.coordinator.Snapshot(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range live {
				if core.GroupsPartition(c.Group) != p {
					t.Errorf("Snapshot(%d) holds group %q of partition %d", p, c.Group, core.GroupsPartition(c.Group))
				}
				c.Time = 0
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(a, b core.Commit) int { return int(a.TopicID) - int(b.TopicID) })
		want := []core.Commit{
			{Group: testGroup, TopicID: testTopic, Partition: 1, Offset: 8, Generation: a.starts[1].Generation},
			{Group: "old", TopicID: 20, Partition: 3, Offset: 30},
		}
		if !slices.Equal(all, want) {
			t.Errorf("snapshots hold %+v, want %+v", all, want)
		}
	})
}

func TestCoordinatorClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGroupBed(t, newMemoryLog(t))
		b.log.delay = func() time.Duration { return 300 * time.Millisecond }
		a, c := b.join("a", 2), b.join("c", 2)
		for _, s := range []*fakeSink{a, c} {
			s.deliver(s.owned()[0], 5)
			s.ackAll()
		}
		b.close()
		for p := range int32(2) {
			if got := b.log.offset(testGroup, testTopic, p); got != 5 {
				t.Errorf("stored offset of %d = %d, want 5", p, got)
			}
		}
		if _, err := b.coordinator.Join(testGroup, testTopic, 2, b.sink("x")); !errors.Is(err, core.ErrClosed) {
			t.Errorf("Join after Close = %v, want %v", err, core.ErrClosed)
		}
		b.coordinator.Restore(core.Commit{Group: testGroup, TopicID: testTopic, Partition: 0, Offset: 1})
		if states := b.coordinator.Describe(); len(states) != 0 {
			t.Errorf("Describe() after Close = %v", states)
		}
	})
}

func TestCoordinatorCloseDoesNotWaitForAStuckLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newGroupBed(t, newMemoryLog(t))
		b.log.delay = func() time.Duration { return time.Hour }
		a := b.join("a", 1)
		a.deliver(0, 5)
		_ = a.ack(0)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := b.coordinator.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close = %v, want %v", err, context.DeadlineExceeded)
		}
		if err := b.system.Close(t.Context()); err != nil {
			t.Errorf("System.Close = %v", err)
		}
		pass(2 * time.Hour) // the log answers nobody
	})
}
