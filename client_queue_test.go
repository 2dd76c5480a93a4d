package leat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// queued opens a fake cluster with a topic t of four partitions and so many messages in each.
func queued(t *testing.T, nodes, each int) (*fakeCluster, *Bus) {
	t.Helper()
	f := newFake(t, nodes)
	f.topic("t", core.TopicConfig{Partitions: 4})
	bus, _ := f.client()
	if each > 0 {
		fillTopic(t, bus, "t", 4, each)
	}
	return f, bus
}

// TestRemoteQueue: members share the messages of three nodes, each message goes to one of them.
func TestRemoteQueue(t *testing.T) {
	f, bus := queued(t, 3, 100)
	subs := []*Subscription{subscribeTo(t, bus, "t", Group("g"), Queue(), MaxHeld(30)),
		subscribeTo(t, bus, "t", Group("g"), Queue(), MaxHeld(30))}
	seen := map[string]int{}
	var mu sync.Mutex
	var reading sync.WaitGroup
	ctx, stop := context.WithCancel(soon(t))
	defer stop()
	for _, sub := range subs {
		reading.Go(func() {
			for m, err := range sub.Messages(ctx) {
				if err != nil || m.Attempt != 1 || m.Ack() != nil {
					t.Errorf("%v, %+v", err, m)
					return
				}
				mu.Lock()
				if seen[fmt.Sprint(m.Partition, "/", m.Offset)]++; len(seen) == 400 {
					stop()
				}
				mu.Unlock()
			}
		})
	}
	reading.Wait()
	if len(seen) != 400 {
		t.Errorf("%d different messages, want 400", len(seen))
	}
	for _, sub := range subs {
		if err := sub.Commit(soon(t)); err != nil {
			t.Error(err)
		}
	}
	if lag := f.queueLag("g"); lag != 0 {
		t.Errorf("%d messages are not settled", lag)
	}
	for _, open := range f.queues.opened {
		if open.MaxHeld != 10 || open.Mode != uint8(GroupQueue) || open.Kind != uint8(core.PositionDefault) {
			t.Errorf("a node was told %+v; want a third of 30 held", open)
		}
	}
}

// TestRemoteQueueAnswers: what a member says of a message has its effect once.
func TestRemoteQueueAnswers(t *testing.T) {
	f, bus := queued(t, 1, 2)
	sub := subscribeTo(t, bus, "t", Group("g"), Queue(QueueConfig{Lease: time.Hour}))
	first := takeFrom(t, sub, 8)
	if err := first[0].NackBecause(0, "later"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a reason for a node that takes none: %v", err)
	}
	if err := first[0].NackBecause(0, ""); err != nil {
		t.Fatal(err)
	}
	again := takeFrom(t, sub, 1)[0]
	if again.Partition != first[0].Partition || again.Offset != first[0].Offset || again.Attempt != 2 {
		t.Errorf("after a nack: %d/%d, attempt %d", again.Partition, again.Offset, again.Attempt)
	}
	for name, answer := range map[string]func() error{
		"ack": first[0].Ack, "nack": func() error { return first[0].Nack(-1) }, "extend": first[0].Extend,
		"reject": func() error { return first[0].Reject("no") }, "another offset": func() error {
			m := *again
			m.Offset += 70
			return m.Ack()
		},
	} {
		if err := answer(); !errors.Is(err, ErrStaleAck) {
			t.Errorf("%s of what was answered before: %v", name, err)
		}
	}
	if err := again.Extend(); err != nil {
		t.Error(err)
	}
	if err := again.Reject(strings.Repeat("why", 1000)); err != nil {
		t.Error(err)
	}
	for _, m := range first[1:] {
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
	}
	if err := sub.Commit(soon(t)); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	if len(f.queues.reasons) != 1 || len(f.queues.reasons[0]) != wire.MaxReasonBytes {
		t.Errorf("reasons %q; want one of %d bytes", f.queues.reasons, wire.MaxReasonBytes)
	}
	if lease := f.queues.opened[0].Config.Lease; lease != int64(time.Hour) {
		t.Errorf("the node was told of a lease of %d", lease)
	}
	f.mu.Unlock()
	if lag := f.queueLag("g"); lag != 0 {
		t.Errorf("%d messages are not settled", lag)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if err := again.Ack(); !errors.Is(err, ErrClosed) {
		t.Errorf("ack after Close: %v", err)
	}
	if err := sub.Commit(soon(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
}

// TestRemoteQueueReasons: the reason of a nack reaches a node that takes it, whole characters of it.
func TestRemoteQueueReasons(t *testing.T) {
	f := newFake(t, 1)
	f.features |= wire.FeatureReasons
	f.topic("t", core.TopicConfig{Partitions: 1})
	bus, _ := f.client()
	fillTopic(t, bus, "t", 1, 1)
	sub := subscribeTo(t, bus, "t", Group("g"), Queue(QueueConfig{Lease: time.Hour}))
	for attempt, reason := range []string{"busy", "still busy", "x" + strings.Repeat("é", wire.MaxReasonBytes),
		strings.Repeat("\x80", 2*wire.MaxReasonBytes)} {
		m := takeFrom(t, sub, 1)[0]
		if m.Attempt != int32(attempt+1) {
			t.Errorf("attempt %d, want %d", m.Attempt, attempt+1)
		}
		if err := m.NackBecause(0, reason); err != nil {
			t.Fatal(err)
		}
	}
	if err := takeFrom(t, sub, 1)[0].Nack(0); err != nil {
		t.Fatal(err)
	}
	takeFrom(t, sub, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	want := []string{"busy", "still busy", "x" + strings.Repeat("é", wire.MaxReasonBytes/2-1),
		strings.Repeat("\x80", wire.MaxReasonBytes-utf8.UTFMax)}
	if !slices.Equal(f.queues.reasons, want) {
		t.Errorf("reasons %q, want %q", f.queues.reasons, want)
	}
}

// TestRemoteQueueLease: when a lease is over the message comes again, and an answer to the first delivery
// settles nothing. Commit tells of it.
func TestRemoteQueueLease(t *testing.T) {
	f, bus := queued(t, 1, 1)
	sub := subscribeTo(t, bus, "t", Group("g"), Queue(), MaxHeld(4))
	first := takeFrom(t, sub, 4)
	f.pass(int64(core.QueueLease))
	f.pass(int64(time.Minute))
	again := takeFrom(t, sub, 4)
	for _, m := range first {
		_ = m.Ack() // the client may have heard of it or not
	}
	if err := sub.Commit(soon(t)); !errors.Is(err, ErrStaleAck) {
		t.Errorf("Commit of late acks: %v", err)
	}
	if lag := f.queueLag("g"); lag != 4 {
		t.Errorf("%d messages are not settled, want all 4", lag)
	}
	for _, m := range again {
		if m.Attempt != 2 || m.Ack() != nil {
			t.Errorf("attempt %d of %d", m.Attempt, m.Partition)
		}
	}
	if err := sub.Commit(soon(t)); err != nil || f.queueLag("g") != 0 {
		t.Errorf("Commit: %v; %d messages are not settled", err, f.queueLag("g"))
	}
}

// TestRemoteQueueStale: a node may say that a lease is over before it is asked; what was not delivered yet is
// left out then.
func TestRemoteQueueStale(t *testing.T) {
	f, bus := queued(t, 1, 3)
	sub := subscribeTo(t, bus, "t", Group("g"), Queue())
	m := takeFrom(t, sub, 1)[0]
	grant := m.delivery.(*remoteGrant).grant
	entry := wire.QueueEntry{Partition: m.Partition, Grant: grant}
	entry.Grant.Left = 0b011
	f.sendAll(wire.Header{Type: wire.Stale}, entry.Append(nil))
	eventually(t, "the client hears of it", func() bool { return errors.Is(m.Extend(), ErrStaleAck) })
	var offsets []int64
	for _, m := range takeFrom(t, sub, 10) {
		if m.Partition == entry.Partition {
			offsets = append(offsets, m.Offset)
		}
	}
	if !slices.Equal(offsets, []int64{2}) {
		t.Errorf("of partition %d came %d then, want 2", m.Partition, offsets)
	}
	if err := sub.Commit(soon(t)); err != nil {
		t.Errorf("Commit: %v; nobody answered late", err)
	}
}

// TestRemoteQueueCuts: what was lent over a connection that broke is stale, and comes again.
func TestRemoteQueueCuts(t *testing.T) {
	for cutAt := 1; cutAt < 30; cutAt++ {
		f, bus := queued(t, 1, 5)
		f.queues.config.Retry = core.Backoff{Max: 1}
		sub := subscribeTo(t, bus, "t", Group("g"), KeyShared(), MaxHeld(7))
		f.mu.Lock()
		f.cutAt = f.frames + cutAt
		f.mu.Unlock()
		var last *Message
		deadline := soon(t)
		for n := 0; f.queueLag("g") > 0; n++ {
			f.pass(1000)
			m := takeFrom(t, sub, 1)[0]
			if err := m.Ack(); err != nil && !errors.Is(err, ErrStaleAck) {
				t.Fatal(err)
			}
			if n == 10 {
				last = m
				f.cut(0, false)
				eventually(t, "the cut is seen", func() bool { return errors.Is(last.Ack(), ErrStaleAck) })
			}
			if n > 10 {
				if err := last.Ack(); !errors.Is(err, ErrStaleAck) {
					t.Fatalf("ack after the cut: %v", err)
				}
			}
			if err := sub.Commit(deadline); err != nil && !errors.Is(err, ErrStaleAck) {
				t.Fatal(err)
			}
		}
		f.mu.Lock()
		for value, times := range f.queues.acked["g"] {
			if times != 1 {
				t.Errorf("%s was settled %d times", value, times)
			}
		}
		if n := len(f.queues.acked["g"]); n != 20 {
			t.Errorf("%d messages were settled, want 20", n)
		}
		f.mu.Unlock()
		if err := bus.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRemoteQueueRevoke: a node that drains gets its member's goodbye when nothing is in hand; what was not
// delivered is handed out again, and not counted.
func TestRemoteQueueRevoke(t *testing.T) {
	f, bus := queued(t, 1, 3)
	sub := subscribeTo(t, bus, "t", Group("g"), Queue())
	m := takeFrom(t, sub, 1)[0]
	f.sendAll(wire.Header{Type: wire.Revoke}, nil)
	q := sub.backend.(*remoteQueue)
	state := func(holds func(s *queueSession) bool) func() bool {
		return func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			s := q.sources[0].session
			return s != nil && holds(s)
		}
	}
	eventually(t, "the client hears of it", state(func(s *queueSession) bool { return s.revoked }))
	next := make(chan *Message)
	go func() { // so that the loop gives back what it was not given yet
		defer close(next)
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				t.Error(err)
			} else {
				next <- m.Clone()
			}
			return
		}
	}()
	eventually(t, "the message is the only one left", state(func(s *queueSession) bool {
		return s.inHand == 1 && !s.leaving
	}))
	if err := m.Ack(); err != nil {
		t.Fatal(err)
	}
	again := <-next
	if again == nil || again.Attempt != 1 {
		t.Fatalf("from the next stream came %+v; want a first attempt", again)
	}
	f.mu.Lock()
	if n := len(f.queues.opened); n != 2 || len(f.queues.members) != 1 {
		t.Errorf("%d streams were opened, %d are members; want 2 and 1", n, len(f.queues.members))
	}
	f.mu.Unlock()
	if lag := f.queueLag("g"); lag != 11 {
		t.Errorf("%d messages are not settled, want 11", lag)
	}
}

// TestRemoteQueueRefused: reasons that trying again cannot help end the subscription.
func TestRemoteQueueRefused(t *testing.T) {
	f, bus := queued(t, 3, 0)
	opening := func(opening func(node uint16, kind wire.Type) core.Code) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.opening = opening
	}
	opening(func(node uint16, kind wire.Type) core.Code {
		if kind == wire.QueueOpen && node == 2 {
			return core.CodeConfigMismatch
		}
		return 0
	})
	if _, err := bus.Subscribe("t", Group("g"), Queue()); !errors.Is(err, ErrConfigMismatch) {
		t.Errorf("Subscribe where a node refuses: %v", err)
	}
	opening(nil)
	if _, err := bus.Subscribe("none", Group("g"), Queue()); !errors.Is(err, ErrTopicNotFound) {
		t.Errorf("Subscribe to no topic: %v", err)
	}
	f.cut(3, true)
	sub := subscribeTo(t, bus, "t", Group("g"), Queue()) // two nodes are enough
	if err := sub.Commit(soon(t)); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"Backend().Ack": sub.Backend().Ack(0, 0), "NextBatch": sub.Backend().NextBatch(soon(t), &BatchRun{}),
	} {
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s of a queue group: %v", name, err)
		}
	}
}

func TestRemoteQueueOfAnOldNode(t *testing.T) {
	f := newFake(t, 1)
	f.features = 0
	f.topic("t", core.TopicConfig{})
	bus, _ := f.client()
	if _, err := bus.Subscribe("t", Group("g"), Queue()); !errors.Is(err, ErrUnsupported) ||
		!strings.Contains(err.Error(), "has no queue groups") {
		t.Errorf("Subscribe: %v", err)
	}
}

// TestRemoteQueueBadFrames: a node that breaks the protocol loses the stream; the next one goes on.
func TestRemoteQueueBadFrames(t *testing.T) {
	frame := func(h wire.Header, payload ...byte) []byte {
		h.Length = uint32(len(payload))
		return append(h.Append(nil), payload...)
	}
	for name, bad := range map[string][]byte{
		"half a grant":   frame(wire.Header{Type: wire.Grant}, 1, 2, 3),
		"another's type": frame(wire.Header{Type: wire.Joined}),
		"LEFT unasked":   frame(wire.Header{Type: wire.Left}),
		"COMMITTED":      frame(wire.Header{Type: wire.Committed, Arg: 77}),
		"half a STALE":   frame(wire.Header{Type: wire.Stale}, 1),
		"no error":       frame(wire.Header{Type: wire.PartitionFailed}, 1),
	} {
		f, bus := queued(t, 1, 1)
		var done atomic.Bool
		f.garble = func(kind wire.Type, whole []byte) []byte {
			if kind == wire.Grant && done.CompareAndSwap(false, true) {
				return bad
			}
			return whole
		}
		f.queues.config.Retry = core.Backoff{Max: 1}
		sub := subscribeTo(t, bus, "t", Group("g"), Queue())
		eventually(t, name+": another stream", func() bool {
			f.pass(1000)
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.queues.opened) > 1
		})
		for range 4 {
			f.pass(1000)
			if err := takeFrom(t, sub, 1)[0].Ack(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := bus.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRemoteQueuePartitionFailed: the loop yields why, and goes on with the rest.
func TestRemoteQueuePartitionFailed(t *testing.T) {
	f, bus := queued(t, 1, 1)
	sub := subscribeTo(t, bus, "t", Group("g"), Queue())
	takeFrom(t, sub, 4)
	frame := wire.Marshal(nil, wire.Header{}, wire.ErrorBody{Cause: "bit rot"})
	f.sendAll(wire.Header{Type: wire.PartitionFailed, Aux: 1, Arg: uint64(core.CodeCorrupt)},
		frame[wire.HeaderSize:])
	for _, err := range sub.Messages(soon(t)) {
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "bit rot") {
			t.Errorf("the loop yields %v", err)
		}
	}
	fillTopic(t, bus, "t", 4, 1)
	f.pass(1)
	takeFrom(t, sub, 4)
}

// TestRemoteQueueCredit: messages that nobody takes hold nothing but their stream.
func TestRemoteQueueCredit(t *testing.T) {
	f, bus := queued(t, 1, 0)
	p, err := bus.Producer("t")
	if err != nil {
		t.Fatal(err)
	}
	const n = 60
	value := make([]byte, 100<<10)
	for range n {
		if _, err := p.Publish(soon(t), Message{Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	sub := subscribeTo(t, bus, "t", Group("g"), Queue(), MaxHeld(5))
	for range n {
		m := takeFrom(t, sub, 1)[0]
		if len(m.Value) != len(value) || m.Ack() != nil {
			t.Fatalf("%d bytes", len(m.Value))
		}
	}
	if err := sub.Commit(soon(t)); err != nil || f.queueLag("g") != 0 {
		t.Errorf("Commit: %v; %d left", err, f.queueLag("g"))
	}
}

// TestRemoteQueueRenewal: what waits for the loop keeps its lease while the loop goes on, however slowly, and
// goes to others when it does not.
func TestRemoteQueueRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, mode := range []func(...QueueConfig) SubscribeOption{Queue, KeyShared} {
			f, bus := queued(t, 1, 5)
			f.queues.config = core.QueueConfig{Lease: 8 * time.Second, Retry: core.Backoff{Max: 1}}
			sub := subscribeTo(t, bus, "t", Group("g"), mode())
			sleep := func(d time.Duration) { // on the clocks of client and node
				for range d / time.Second {
					pass(time.Second)
					f.pass(int64(time.Second))
					synctest.Wait()
				}
			}
			for range 16 { // with a lease from the first moment the last would wait for more than five
				m := takeFrom(t, sub, 1)[0]
				if m.Attempt != 1 {
					t.Errorf("attempt %d of %d/%d", m.Attempt, m.Partition, m.Offset)
				}
				sleep(3 * time.Second)
				if err := m.Ack(); err != nil {
					t.Errorf("Ack: %v", err)
				}
			}
			if err := sub.Commit(t.Context()); err != nil {
				t.Errorf("Commit: %v", err)
			}
			sleep(time.Minute) // the loop is stuck
			f.mu.Lock()
			held := int64(0)
			for _, q := range f.queues.queues["g"] {
				held += q.policy.Counts().Held
			}
			f.mu.Unlock()
			if held != 0 && held != 4 { // they came again, to the same member
				t.Errorf("%d messages are out", held)
			}
			attempts := takeFrom(t, sub, 4)
			for _, m := range attempts {
				if m.Attempt < 2 {
					t.Errorf("attempt %d of what a stuck loop had", m.Attempt)
				}
			}
			_ = bus.Close()
			f.stop()
		}
	})
}

// TestRemoteQueueKeepsAcks: acks of a queue wait for others while nothing depends on them, for a moment only;
// those of a key-shared group do not.
func TestRemoteQueueKeepsAcks(t *testing.T) {
	for name, tt := range map[string]struct {
		mode  func(...QueueConfig) SubscribeOption
		held  int
		kept  int64 // of the acks of 12 messages, before any time has passed
		group core.QueueConfig
	}{
		"queue":            {Queue, 1000, 12, core.QueueConfig{}},
		"a quarter":        {Queue, 20, 2, core.QueueConfig{}},
		"one at a time":    {Queue, 1, 0, core.QueueConfig{}},
		"key-shared":       {KeyShared, 1000, 0, core.QueueConfig{}},
		"little unsettled": {Queue, 1000, 0, core.QueueConfig{MaxUnsettled: patientUnsettled - 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, bus := queued(t, 1, 3)
			f.queues.config = tt.group
			sub := subscribeTo(t, bus, "t", Group("g"), tt.mode(), MaxHeld(tt.held))
			synctest.Wait() // the writer, which begins with what was said before it, has looked
			began := time.Now()
			for range 12 {
				if err := takeFrom(t, sub, 1)[0].Ack(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			if lag := f.queueLag("g"); lag != tt.kept {
				t.Errorf("%s: %d acks are kept, want %d", name, lag, tt.kept)
			}
			if tt.held == 1 && time.Since(began) != 0 {
				t.Errorf("%s: acks took %v", name, time.Since(began))
			}
			pass(tellWait)
			synctest.Wait()
			if lag := f.queueLag("g"); lag != 0 {
				t.Errorf("%s: %d acks are kept after %v", name, lag, tellWait)
			}
			_ = bus.Close()
			f.stop()
		})
	}
}
