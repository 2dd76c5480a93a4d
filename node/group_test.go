package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// owners gives who owns which partition of group "g" on topic "t", and the commits.
func (b *bed) group() leat.GroupInfo {
	b.t.Helper()
	groups, err := b.Groups(soon(b.t))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, g := range groups {
		if g.Group == "g" && g.Topic == "t" {
			return g
		}
	}
	return leat.GroupInfo{}
}

// settled waits until every partition has an owner and they are so many.
func (b *bed) settled(members int) leat.GroupInfo {
	b.t.Helper()
	var info leat.GroupInfo
	eventually(b.t, fmt.Sprint("partitions are shared by ", members), func() bool {
		info = b.group()
		owners := map[string]bool{}
		for _, p := range info.Partitions {
			owners[p.Member] = true
		}
		return len(info.Members) == members && len(owners) == members && !owners[""] && len(info.Partitions) > 0
	})
	return info
}

// reader runs the loop of a member on a goroutine and keeps what it got.
type reader struct {
	sub  *leat.Subscription
	done chan error // the error that ended the loop, or nil

	mu  sync.Mutex // guards the following
	got []*leat.Message
}

// read starts a reader; each message goes to handle first.
func (b *bed) read(sub *leat.Subscription, handle func(m *leat.Message)) *reader {
	r := &reader{sub: sub, done: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience) // virtual time may fly
	b.t.Cleanup(cancel)
	go func() {
		var last error
		for m, err := range sub.Messages(ctx) {
			if last = err; err == nil {
				r.mu.Lock()
				r.got = append(r.got, m.Clone())
				r.mu.Unlock()
				handle(m)
			}
		}
		r.done <- last
	}()
	return r
}

func (r *reader) messages() []*leat.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *reader) count() int { return len(r.messages()) }

func ack(t *testing.T) func(*leat.Message) {
	return func(m *leat.Message) {
		if err := m.Ack(); err != nil {
			t.Errorf("Ack of %d/%d: %v", m.Partition, m.Offset, err)
		}
	}
}

// fill publishes n messages to each partition of topic "t".
func (b *bed) fill(n int) {
	b.t.Helper()
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for number := range b.node.topicNamed("t").partitions {
		for i := range n {
			publish(b.t, p, leat.Message{Partition: int32(number), Value: fmt.Append(nil, i)})
		}
	}
}

func TestMembersShare(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	first := b.read(b.subscribe("t", leat.Group("g")), ack(t))
	b.settled(1)
	b.fill(5)
	eventually(t, "one member reads all", func() bool { return first.count() == 20 })
	second := b.read(b.subscribe("t", leat.Group("g")), ack(t))
	info := b.settled(2)
	load := map[string]int{}
	for _, p := range info.Partitions {
		load[p.Member]++
	}
	for member, n := range load {
		if n != 2 {
			t.Errorf("%s has %d of 4 partitions", member, n)
		}
	}
	b.fill(5)
	eventually(t, "both read", func() bool { return first.count()+second.count() == 40 })
	if first.count() != 30 || second.count() != 10 {
		t.Errorf("the members read %d and %d messages, want 30 and 10", first.count(), second.count())
	}
	if err := second.sub.Close(); err != nil {
		t.Error(err)
	}
	if err := receive(t, "loop ends", second.done); err != nil {
		t.Errorf("the loop of the member that left: %v", err)
	}
	b.settled(1)
	b.fill(5)
	eventually(t, "the first reads on alone", func() bool { return first.count() == 50 })
	seen := map[string]bool{}
	for _, m := range append(first.messages(), second.messages()...) {
		at := fmt.Sprint(m.Partition, "/", m.Offset)
		if seen[at] {
			t.Errorf("message %s came twice though all was acked in time", at)
		}
		seen[at] = true
	}
}

// TestPartitionsMoveAfterAck: a second member joins while the first has a message in its hands. The
// partition moves when that is acked, not before.
func TestPartitionsMoveAfterAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
		b.fill(3)
		holding, let := make(chan *leat.Message, 100), make(chan struct{})
		first := b.read(b.subscribe("t", leat.Group("g")), func(m *leat.Message) {
			holding <- m
			<-let
			_ = m.Ack() // the partition may be gone by the end
		})
		<-holding
		second := b.read(b.subscribe("t", leat.Group("g")), ack(t))
		pass(5 * time.Second) // less than a session
		held := first.messages()[0]
		for _, m := range second.messages() {
			if m.Partition == held.Partition {
				t.Errorf("%d/%d came to the second member while the first holds the partition", m.Partition, m.Offset)
			}
		}
		close(let)
		pass(time.Second)
		all := append(first.messages(), second.messages()...)
		if len(all) != 6 {
			t.Errorf("%d messages were delivered, want each of 6 once", len(all))
		}
		if second.count() != 3 && second.count() != 2 {
			t.Errorf("the second member read %d", second.count())
		}
	})
}

// TestStalledMemberIsFenced is the same with a member that never comes back: no message reaches both
// before its session ends; then the second member gets what was not acked, the zombie's Ack says
// ErrFenced, and its loop yields ErrFenced once.
func TestStalledMemberIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
		b.fill(10)
		stalled, let := make(chan struct{}), make(chan struct{})
		var ackErr error
		held := map[int32]bool{}
		zombie := b.read(b.subscribe("t", leat.Group("g")), func(m *leat.Message) {
			if m.Offset < 3 {
				ack(t)(m)
				return
			}
			// Not acked, in both partitions: whichever is to move is in flight.
			if held[m.Partition] = true; len(held) == 2 {
				close(stalled)
				<-let
				ackErr = m.Ack()
			}
		})
		<-stalled
		joined := time.Now()
		second := b.read(b.subscribe("t", leat.Group("g")), ack(t))
		var overlap time.Duration
		for range 200 {
			pass(100 * time.Millisecond)
			if both(zombie, second) && overlap == 0 {
				overlap = time.Since(joined)
			}
		}
		const session = time.Duration(core.SessionTimeoutNanos)
		if overlap == 0 || overlap < session || overlap > session+time.Second {
			t.Errorf("the stalled message reached the second member after %v, a session is %v", overlap, session)
		}
		info := b.group()
		if len(info.Members) != 1 {
			t.Errorf("members %q after the session of one has ended", info.Members)
		}
		close(let)
		if err := receive(t, "the zombie's loop ends", zombie.done); !errors.Is(err, leat.ErrFenced) {
			t.Errorf("the zombie's loop ended with %v, want ErrFenced", err)
		}
		wantError(t, "the zombie's Ack", ackErr, leat.ErrFenced)
		if err := receive(t, "a later loop ends", loop(soon(t), zombie.sub)); err != nil {
			t.Errorf("a later loop yielded %v: ErrFenced comes once", err)
		}
		acked := map[int32]int64{}
		for _, m := range second.messages() {
			acked[m.Partition] = m.Offset + 1
		}
		if acked[0] != 10 || acked[1] != 10 {
			t.Errorf("the second member read up to %v", acked)
		}
		pass(time.Second)
		for _, p := range b.group().Partitions {
			if p.Committed != 10 || p.LagRecords != 0 {
				t.Errorf("partition %d: committed %d, lag %d", p.Partition, p.Committed, p.LagRecords)
			}
		}
	})
}

// both reports whether any message reached both members.
func both(a, b *reader) bool {
	seen := map[string]bool{}
	for _, m := range a.messages() {
		seen[fmt.Sprint(m.Partition, "/", m.Offset)] = true
	}
	for _, m := range b.messages() {
		if seen[fmt.Sprint(m.Partition, "/", m.Offset)] {
			return true
		}
	}
	return false
}

// TestLeaveMovesAtOnce: a member that closes gives its partitions up without waiting for a session.
func TestLeaveMovesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
		b.fill(4)
		first := b.subscribe("t", leat.Group("g"))
		for _, m := range take(t, first, 8) {
			if m.Offset < 2 {
				ack(t)(m)
			}
		}
		left := time.Now()
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second := take(t, b.subscribe("t", leat.Group("g")), 4)
		if took := time.Since(left); took > time.Second {
			t.Errorf("the partitions moved after %v", took)
		}
		for _, m := range second {
			if m.Offset < 2 {
				t.Errorf("%d/%d came again though it was acked", m.Partition, m.Offset)
			}
		}
	})
}

// TestCommitsSurvive: Commit waits until the acks are stored, the fold stores them within 50 ms, Close
// stores them too; each survives reopening.
func TestCommitsSurvive(t *testing.T) {
	for name, keep := range map[string]func(*bed, *leat.Subscription){
		"Commit": func(b *bed, sub *leat.Subscription) {
			if err := sub.Commit(soon(b.t)); err != nil {
				b.t.Error(err)
			}
			if c := b.group().Partitions[0].Committed; c != 3 {
				b.t.Errorf("committed %d when Commit returned, want 3", c)
			}
			b.fs = b.fs.Crash(7) // of what was not synced nothing need survive
		},
		"fold":      func(*bed, *leat.Subscription) { pass(60 * time.Millisecond); synctest.Wait() },
		"Close":     func(b *bed, sub *leat.Subscription) { _ = sub.Close() },
		"bus Close": func(*bed, *leat.Subscription) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
				b.fill(6)
				sub := b.subscribe("t", leat.Group("g"))
				for _, m := range take(t, sub, 3) {
					ack(t)(m)
				}
				b.settled(1)
				keep(b, sub)
				if name == "fold" {
					if c := b.group().Partitions[0].Committed; c != 3 {
						t.Errorf("committed %d after 60 ms, want 3", c)
					}
				}
				b = b.reopen()
				if p := b.group().Partitions; len(p) != 1 || p[0].Committed != 3 || p[0].LagRecords != 3 {
					t.Errorf("after reopening: %+v", p)
				}
				if got := values(take(t, b.subscribe("t", leat.Group("g")), 3)); got != "3 4 5" {
					t.Errorf("read %q", got)
				}
			})
		})
	}
}

// TestFromCountsWithoutCommit: a group starts at earliest unless told, and From counts only where it
// has committed nothing.
func TestFromCountsWithoutCommit(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(4)
	if got := values(take(t, b.subscribe("t", leat.Group("a")), 4)); got != "0 1 2 3" {
		t.Errorf("a new group read %q", got)
	}
	sub := b.subscribe("t", leat.Group("b"), leat.From(leat.AtOffset(2)))
	m := take(t, sub, 1)[0]
	ack(t)(m)
	if string(m.Value) != "2" {
		t.Errorf("from offset 2: read %s", m.Value)
	}
	if err := errors.Join(sub.Commit(soon(t)), sub.Close()); err != nil {
		t.Fatal(err)
	}
	sub = b.subscribe("t", leat.Group("b"), leat.From(leat.Earliest))
	if got := values(take(t, sub, 1)); got != "3" {
		t.Errorf("with a commit: read %q", got)
	}
}

// TestAckArguments: what was not delivered cannot be acked, and an old ack changes nothing.
func TestAckArguments(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(5)
	sub := b.subscribe("t", leat.Group("g"))
	take(t, sub, 3)
	backend := sub.Backend()
	wantError(t, "an offset not delivered", backend.Ack(0, 3), leat.ErrInvalidRecord)
	wantError(t, "a partition that does not exist", backend.Ack(7, 0), leat.ErrFenced)
	wantError(t, "a negative partition", backend.Ack(-1, 0), leat.ErrFenced)
	for _, offset := range []int64{2, 0, 2, -1} {
		if err := backend.Ack(0, offset); err != nil {
			t.Errorf("Ack(%d): %v", offset, err)
		}
	}
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	if c := b.group().Partitions[0].Committed; c != 3 {
		t.Errorf("committed %d, want 3", c)
	}
}

func TestAutoAck(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(5)
	sub := b.subscribe("t", leat.Group("g"), leat.AutoAck())
	take(t, sub, 3) // the third is not acked: nobody asked for the next
	if err := sub.Commit(soon(t)); err != nil {
		t.Fatal(err)
	}
	if c := b.group().Partitions[0].Committed; c != 2 {
		t.Errorf("committed %d after three messages, want 2", c)
	}
	b = b.reopen()
	if got := values(take(t, b.subscribe("t", leat.Group("g")), 3)); got != "2 3 4" {
		t.Errorf("read %q", got)
	}
}

// TestAtLeastOnce reads and acks, cuts the power again and again, and finds every message delivered.
func TestAtLeastOnce(t *testing.T) {
	const n = 300
	fs := mmaplog.Heap()
	got := map[int64]int{}
	for life := range 20 {
		b := openBed(t, fs, WithTopic("t", leat.TopicConfig{Ack: leat.AckDisk}))
		if life == 0 {
			b.fill(n)
		}
		start := max(b.commitOf(0), 0)
		sub := b.subscribe("t", leat.Group("g"))
		for i, m := range take(t, sub, int(min(25, n-start))) {
			if m.Offset != start+int64(i) {
				t.Fatalf("life %d: offset %d, committed was %d", life, m.Offset, start)
			}
			got[m.Offset]++
			if i < 20 {
				ack(t)(m)
			}
		}
		if life%2 == 0 {
			if err := sub.Commit(soon(t)); err != nil {
				t.Fatal(err)
			}
		}
		resume := b.stall()
		fs = b.fs.Crash(uint64(life))
		resume()
		b.close()
	}
	for offset := range int64(150) {
		if got[offset] == 0 {
			t.Errorf("offset %d was never delivered", offset)
		}
	}
}

// commitOf is what group "g" has committed in a partition, or -1.
func (b *bed) commitOf(number int) int64 {
	if p := b.group().Partitions; number < len(p) {
		return p[number].Committed
	}
	return -1
}

// TestOrderAcrossRebalance: members come and go while messages flow; per key every message is handled,
// and the first handlings are in order.
func TestOrderAcrossRebalance(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 8, Ack: leat.AckPage})
	const keys = 20
	each := cut(400, 100)
	var mu sync.Mutex
	next := map[string]int{}
	handle := func(m *leat.Message) {
		mu.Lock()
		var n int
		_, err := fmt.Sscan(string(m.Value), &n)
		if due := next[string(m.Key)]; err != nil || n > due {
			t.Errorf("key %s: message %d where %d is due, %v", m.Key, n, due, err)
		} else if n == due {
			next[string(m.Key)]++
		}
		mu.Unlock()
		// Its subscription may have been closed, or replaced, meanwhile.
		if err := m.Ack(); err != nil && !errors.Is(err, leat.ErrFenced) && !errors.Is(err, leat.ErrClosed) {
			t.Error(err)
		}
	}
	var group sync.WaitGroup
	group.Go(func() {
		p := b.producer("t")
		for i := range each {
			for key := range keys {
				p.PublishAsync(keyed(fmt.Sprint("key", key), fmt.Sprint(i)), nil)
			}
			if i%10 == 0 {
				if err := p.Flush(soon(t)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	stay := b.read(b.subscribe("t", leat.Group("g")), handle)
	for range cut(20, 8) {
		come := b.read(b.subscribe("t", leat.Group("g")), handle)
		before := come.count()
		settles(func() bool { return come.count() > before || b.total(&mu, next) == each*keys })
		if err := come.sub.Close(); err != nil {
			t.Error(err)
		}
		if err := receive(t, "loop", come.done); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
	eventually(t, "all messages are handled", func() bool { return b.total(&mu, next) == each*keys })
	if err := stay.sub.Close(); err != nil {
		t.Error(err)
	}
	if err := receive(t, "loop", stay.done); err != nil {
		t.Error(err)
	}
}

func (b *bed) total(mu *sync.Mutex, next map[string]int) int {
	mu.Lock()
	defer mu.Unlock()
	sum := 0
	for _, n := range next {
		sum += n
	}
	return sum
}

// TestGroupsLogIsCut commits until __groups has rolled a few times: it stays small, and all commits of
// all groups survive.
func TestGroupsLogIsCut(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage}, WithTopic("other", leat.TopicConfig{Ack: leat.AckPage}))
	quiet := b.subscribe("other", leat.Group("quiet"))
	publish(t, b.producer("other"), text("v"))
	ack(t)(take(t, quiet, 1)[0])
	if err := quiet.Close(); err != nil {
		t.Fatal(err)
	}
	// Groups of one partition of __groups, one of them with a long name, to fill segments soon.
	partition := core.GroupsPartition("quiet")
	var names []string
	for i := 0; len(names) < 3; i++ {
		if name := fmt.Sprint(i, strings.Repeat("x", 200)); core.GroupsPartition(name) == partition {
			names = append(names, name)
		}
	}
	log := b.node.commits.topic.partitions[partition].log
	const n = 2500
	for range n / 500 {
		b.fill(500)
	}
	for _, name := range names {
		sub := b.subscribe("t", leat.Group(name))
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				t.Fatal(err)
			}
			ack(t)(m)
			if err := sub.Commit(soon(t)); err != nil {
				t.Fatal(err)
			}
			if m.Offset == n-1 {
				break
			}
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if log.End() < 3*n {
		t.Fatalf("%d commits are stored, want at least %d", log.End(), 3*n)
	}
	eventually(t, "the log of commits is cut", func() bool { return log.Start() > 0 && log.Segments() <= 3 })
	b = b.reopen()
	groups, err := b.Groups(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"quiet": 1, names[0]: n, names[1]: n, names[2]: n}
	for _, g := range groups {
		if c := g.Partitions[0].Committed; c != want[g.Group] {
			t.Errorf("group %.10s: committed %d, want %d", g.Group, c, want[g.Group])
		}
		delete(want, g.Group)
	}
	if len(want) > 0 {
		t.Errorf("commits of %d groups are lost", len(want))
	}
}
