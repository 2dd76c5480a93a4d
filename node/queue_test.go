package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// passAll lets virtual time pass, and everything that happens meanwhile.
func passAll(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// next gives the next message of a subscription, kept.
func next(t *testing.T, sub *leat.Subscription) *leat.Message {
	t.Helper()
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatalf("next message: %v", err)
		}
		return m.Clone()
	}
	t.Fatal("no message came in time")
	return nil
}

// none fails if there is a message within d of virtual time.
func none(t *testing.T, sub *leat.Subscription, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for m, err := range sub.Messages(ctx) {
		t.Fatalf("message %+v, %v came too early", m, err)
	}
}

func wantAttempt(t *testing.T, m *leat.Message, offset int64, attempt int32) {
	t.Helper()
	if m.Offset != offset || m.Attempt != attempt {
		t.Errorf("offset %d, attempt %d; want %d and %d", m.Offset, m.Attempt, offset, attempt)
	}
}

func mustDo(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func wantStale(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, leat.ErrStaleAck) {
		t.Errorf("%s: %v, want ErrStaleAck", what, err)
	}
}

// queueLagOf is what bus.Groups says of group "g" on topic "t".
func (b *bed) queueLag() int64 {
	lag := int64(0)
	for _, p := range b.group().Partitions {
		lag += p.LagRecords
	}
	return lag
}

// TestQueueSharesMessages: each message goes to exactly one of the members, which come and go meanwhile.
func TestQueueSharesMessages(t *testing.T) {
	for _, mode := range []leat.SubscribeOption{leat.Queue(), leat.KeyShared()} {
		b := one(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
		const each = 400
		seen := sync.Map{}
		handle := func(m *leat.Message) {
			if _, twice := seen.LoadOrStore(fmt.Sprint(m.Partition, "/", m.Offset), true); twice {
				t.Errorf("message %d/%d came twice", m.Partition, m.Offset)
			}
			mustDo(t, "Ack", m.Ack())
		}
		var readers []*reader
		for range 3 {
			readers = append(readers, b.read(b.subscribe("t", leat.Group("g"), mode, leat.MaxHeld(50)), handle))
		}
		b.fill(each / 2)
		late := b.read(b.subscribe("t", leat.Group("g"), mode, leat.MaxHeld(7)), handle)
		b.fill(each / 2)
		count := func() int {
			n := late.count()
			for _, r := range readers {
				n += r.count()
			}
			return n
		}
		eventually(t, "all are read", func() bool { return count() == 3*each })
		eventually(t, "all is settled", func() bool { return b.queueLag() == 0 })
		mustDo(t, "Close", late.sub.Close())
		b.fill(10)
		eventually(t, "the others read on", func() bool { return count() == 3*each+30 })
		eventually(t, "all is settled", func() bool { return b.queueLag() == 0 })
		if info := b.group(); len(info.Members) != 3 || len(info.Partitions) != 3 || info.Mode == leat.GroupStream {
			t.Errorf("group %+v", info)
		}
	}
}

// TestQueueLease: what is not acked within the lease comes again, its attempt counted; Extend begins the
// lease anew, and answers that come too late are refused.
func TestQueueLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		sub := b.subscribe("t", leat.Group("g"), leat.Queue(leat.QueueConfig{
			Lease: 10 * time.Second, Retry: leat.Backoff{Min: time.Second, Max: time.Second}}))
		b.fill(2)
		first, second := next(t, sub), next(t, sub)
		wantAttempt(t, first, 0, 1)
		wantAttempt(t, second, 1, 1)
		mustDo(t, "Ack", second.Ack())
		wantStale(t, "second Ack", second.Ack())
		passAll(9 * time.Second)
		mustDo(t, "Extend", first.Extend())
		none(t, sub, 9*time.Second)
		passAll(1100 * time.Millisecond)
		wantStale(t, "Ack behind the lease", first.Ack())
		wantStale(t, "Nack behind the lease", first.Nack(0))
		wantStale(t, "Extend behind the lease", first.Extend())
		again := next(t, sub)
		wantAttempt(t, again, 0, 2)
		mustDo(t, "Ack", again.Ack())
		none(t, sub, time.Minute)
		if lag := b.queueLag(); lag != 0 {
			t.Errorf("lag %d", lag)
		}
	})
}

func TestQueueNack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		sub := b.subscribe("t", leat.Group("g"), leat.Queue(leat.QueueConfig{
			Retry: leat.Backoff{Min: time.Minute, Max: time.Minute}}))
		b.fill(2)
		m := next(t, sub)
		mustDo(t, "Nack", m.Nack(5*time.Second))
		wantStale(t, "Ack after Nack", m.Ack())
		mustDo(t, "Ack", next(t, sub).Ack())
		none(t, sub, 4900*time.Millisecond)
		m = next(t, sub)
		wantAttempt(t, m, 0, 2)
		mustDo(t, "Nack", m.Nack(-1))
		none(t, sub, 59*time.Second)
		m = next(t, sub)
		wantAttempt(t, m, 0, 3)
		mustDo(t, "Nack", m.Nack(0))
		m = next(t, sub)
		wantAttempt(t, m, 0, 4)
		mustDo(t, "Ack", m.Ack())
		none(t, sub, time.Hour)
	})
}

// TestQueueWindow: a member has as many messages as MaxHeld says, over all partitions.
func TestQueueWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
		sub := b.subscribe("t", leat.Group("g"), leat.Queue(), leat.MaxHeld(5))
		b.fill(10)
		var held []*leat.Message
		for range 5 {
			held = append(held, next(t, sub))
		}
		none(t, sub, time.Second)
		mustDo(t, "Ack", held[3].Ack())
		held[3] = next(t, sub)
		none(t, sub, time.Second)
		other := b.subscribe("t", leat.Group("g"), leat.Queue(), leat.MaxHeld(100))
		for range 34 {
			mustDo(t, "Ack", next(t, other).Ack())
		}
		none(t, other, time.Second)
		mustDo(t, "Close", sub.Close()) // what it has comes again, not counted
		for range 5 {
			if m := next(t, other); m.Attempt != 1 {
				t.Errorf("attempt %d after an orderly leave", m.Attempt)
			} else {
				mustDo(t, "Ack", m.Ack())
			}
		}
		if err := held[0].Ack(); !errors.Is(err, leat.ErrClosed) {
			t.Errorf("Ack after Close: %v", err)
		}
	})
}

// TestQueueRate: a group is handed no more than its rate.
func TestQueueRateOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
		b.fill(100)
		sub := b.subscribe("t", leat.Group("g"), leat.Queue(leat.QueueConfig{Rate: 10}), leat.AutoAck())
		r := b.read(sub, func(*leat.Message) {})
		passAll(10 * time.Second)
		if n := r.count(); n < 99 || n > 102 {
			t.Errorf("%d messages in 10 s at 10/s", n)
		}
	})
}

// TestQueueRestart: progress and attempts survive, those of messages that were never delivered to their end
// among them.
func TestQueueRestart(t *testing.T) {
	cfg := leat.QueueConfig{Retry: leat.Backoff{Min: 0, Max: time.Millisecond}}
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	join := func() *leat.Subscription { return b.subscribe("t", leat.Group("g"), leat.Queue(cfg)) }
	sub := join()
	b.fill(100)
	for range 100 {
		m := next(t, sub)
		switch {
		case m.Offset == 70:
			mustDo(t, "Nack", m.Nack(0))
		case m.Offset%10 != 0:
			mustDo(t, "Ack", m.Ack())
		}
	}
	again := next(t, sub)
	wantAttempt(t, again, 70, 2)
	mustDo(t, "Nack", again.Nack(0))
	mustDo(t, "Commit", sub.Commit(soon(t)))

	b = b.reopen()
	sub = join()
	got := map[int64]int32{}
	for range 10 {
		m := next(t, sub)
		got[m.Offset] = m.Attempt
		mustDo(t, "Ack", m.Ack())
	}
	for offset := int64(0); offset < 100; offset += 10 {
		want := int32(1)
		if offset == 70 {
			want = 3
		}
		if got[offset] != want {
			t.Errorf("offset %d: attempt %d, want %d", offset, got[offset], want)
		}
	}
	mustDo(t, "Commit", sub.Commit(soon(t)))
	if lag := b.queueLag(); lag != 0 {
		t.Errorf("lag %d", lag)
	}
}

// TestQueueAdministration: a group without members can be moved and forgotten, which is stored.
func TestQueueAdministration(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(100)
	sub := b.subscribe("t", leat.Group("g"), leat.Queue(), leat.MaxHeld(1))
	mustDo(t, "Nack", next(t, sub).Nack(0))
	wantAttempt(t, next(t, sub), 0, 2)
	for what, err := range map[string]error{
		"DeleteGroup": b.DeleteGroup(soon(t), "g", "t"),
		"ResetGroup":  b.ResetGroup(soon(t), "g", "t", leat.Earliest),
	} {
		if !errors.Is(err, leat.ErrGroupActive) {
			t.Errorf("%s with a member: %v", what, err)
		}
	}
	mustDo(t, "Close", sub.Close())
	mustDo(t, "ResetGroup", b.ResetGroup(soon(t), "g", "t", leat.AtOffset(98)))
	b = b.reopen()
	sub = b.subscribe("t", leat.Group("g"), leat.Queue())
	wantAttempt(t, next(t, sub), 98, 1)
	mustDo(t, "Close", sub.Close())
	mustDo(t, "DeleteGroup", b.DeleteGroup(soon(t), "g", "t"))
	b = b.reopen()
	if info := b.group(); info.Group != "" {
		t.Errorf("a deleted group is listed: %+v", info)
	}
	wantAttempt(t, next(t, b.subscribe("t", leat.Group("g"), leat.Queue())), 0, 1)
}

// TestQueueModes: a group is one mode, and its members agree.
func TestQueueModes(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	refused := func(want string, options ...leat.SubscribeOption) {
		t.Helper()
		_, err := b.Subscribe("t", options...)
		if !errors.Is(err, leat.ErrConfigMismatch) {
			t.Errorf("%s: %v", want, err)
		}
	}
	stream := b.subscribe("t", leat.Group("s"))
	b.fill(1)
	mustDo(t, "Ack", next(t, stream).Ack())
	refused("a queue in a stream group", leat.Group("s"), leat.Queue())
	mustDo(t, "Close", stream.Close())
	refused("a queue in a stream group without members", leat.Group("s"), leat.Queue())
	mustDo(t, "DeleteGroup", b.DeleteGroup(soon(t), "s", "t"))
	b.subscribe("t", leat.Group("s"), leat.Queue())

	queue := b.subscribe("t", leat.Group("q"), leat.Queue(leat.QueueConfig{Lease: time.Second}))
	refused("a stream in a queue group", leat.Group("q"))
	refused("key-shared in a queue group", leat.Group("q"), leat.KeyShared())
	refused("another lease", leat.Group("q"), leat.Queue(leat.QueueConfig{Lease: time.Minute}))
	same := b.subscribe("t", leat.Group("q"), leat.Queue())
	mustDo(t, "Close", same.Close())
	mustDo(t, "Close", queue.Close())
	b.subscribe("t", leat.Group("q"), leat.KeyShared(leat.QueueConfig{Lease: time.Minute}))
}

// TestQueueBatches: what a queue group cannot do is refused.
func TestQueueRefusals(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	sub := b.subscribe("t", leat.Group("q"), leat.Queue())
	b.fill(1)
	for _, err := range sub.Batches(soon(t)) {
		if !errors.Is(err, leat.ErrUnsupported) {
			t.Errorf("Batches: %v", err)
		}
	}
	if err := sub.Backend().Ack(0, 0); !errors.Is(err, leat.ErrUnsupported) {
		t.Errorf("Ack of an offset: %v", err)
	}
	mustDo(t, "DeleteTopic", b.DeleteTopic(soon(t), "t"))
	for _, err := range sub.Messages(soon(t)) {
		if err != nil && core.CodeOf(err) != core.CodeTopicNotFound {
			t.Errorf("Messages of a deleted topic: %v", err)
		}
		if err != nil {
			break
		}
	}
}

// TestQueueBuries: what is rejected, or fails too often, is a dead letter, and then settled.
func TestQueueBuries(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	sub := b.subscribe("t", leat.Group("g"), leat.Queue(leat.QueueConfig{MaxAttempts: 2}))
	b.fill(4)
	for range 4 {
		if m := next(t, sub); m.Offset == 0 {
			mustDo(t, "Reject", m.Reject("no good"))
		} else {
			mustDo(t, "NackBecause", m.NackBecause(0, "first"))
		}
	}
	long := strings.Repeat("é", core.MaxDeadLetterReason/2) // one byte more is in the middle of a character
	for range 3 {
		m := next(t, sub)
		wantAttempt(t, m, m.Offset, 2)
		switch m.Offset {
		case 1:
			mustDo(t, "NackBecause", m.NackBecause(0, "x"+long))
		case 2:
			mustDo(t, "Nack", m.Nack(0))
		default:
			mustDo(t, "Ack", m.Ack())
		}
	}
	letters := b.subscribeSoon("t.dlq.g", leat.From(leat.Earliest))
	reasons := map[string]string{}
	for range 3 {
		var offset, reason string
		for _, h := range next(t, letters).Headers {
			switch h.Key {
			case "leat-dlq-offset":
				offset = string(h.Value)
			case "leat-dlq-reason":
				reason = string(h.Value)
			}
		}
		reasons[offset] = reason
	}
	want := map[string]string{"0": "no good", "1": "x" + long[:len(long)-2], "2": ""}
	if !maps.Equal(reasons, want) {
		t.Errorf("reasons %q, want %q: those of the last attempts", reasons, want)
	}
	eventually(t, "all is settled", func() bool { return b.queueLag() == 0 })
	g := b.node.queueGroup(b.node.topicNamed("t"), "g")
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reasons) > 0 {
		t.Errorf("reasons are kept of %d records that are settled", len(g.reasons))
	}
}

// subscribeSoon waits until there is a topic.
func (b *bed) subscribeSoon(topic string, opts ...leat.SubscribeOption) *leat.Subscription {
	b.t.Helper()
	eventually(b.t, "there is a topic "+topic, func() bool {
		_, err := b.node.topicFor("read", topic)
		return err == nil
	})
	return b.subscribe(topic, opts...)
}

// TestKeySharedOrder: a key whose message fails waits for it, in order; the others go on.
func TestKeySharedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		sub := b.subscribe("t", leat.Group("g"), leat.KeyShared())
		p := b.producer("t")
		for i := range 30 {
			publish(t, p, leat.Message{Key: fmt.Append(nil, i%3), Value: fmt.Append(nil, i)})
		}
		failures := 0
		acked := make(chan int64, 30)
		r := b.read(sub, func(m *leat.Message) {
			if m.Offset == 3 && failures < 3 {
				failures++
				mustDo(t, "Nack", m.Nack(10*time.Second))
				return
			}
			acked <- m.Offset
			mustDo(t, "Ack", m.Ack())
		})
		passAll(time.Second)
		if n := len(acked); n != 21 {
			t.Errorf("%d messages before the failing one is through, want 21", n)
		}
		passAll(40 * time.Second)
		if len(acked) != 30 || r.count() != 33 {
			t.Errorf("%d messages, %d deliveries; want 30 and 33", len(acked), r.count())
		}
		last := map[int64]int64{}
		for range len(acked) {
			offset := <-acked
			if before, ok := last[offset%3]; ok && offset <= before {
				t.Errorf("offset %d of key %d came after %d", offset, offset%3, before)
			}
			last[offset%3] = offset
		}
	})
}

// TestQueueGroupListedOnceBegun: a group that its first member has not begun yet would seem to have no lag.
func TestQueueGroupListedOnceBegun(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fill(3)
	if _, err := b.node.makeQueueGroup(b.node.topicNamed("t"), "g"); err != nil {
		t.Fatal(err)
	}
	if groups, err := b.Groups(soon(t)); err != nil || len(groups) != 0 {
		t.Errorf("groups %+v, %v; want none yet", groups, err)
	}
	b.subscribe("t", leat.Group("g"), leat.Queue())
	if lag := b.queueLag(); lag != 3 {
		t.Errorf("lag %d once it has begun, want 3", lag)
	}
}
