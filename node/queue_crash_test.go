package node

import (
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// crash cuts the power and opens the bus on what the disk has kept.
func (b *bed) crash(seed uint64, opts ...Option) *bed {
	b.t.Helper()
	fs := b.fs.Crash(seed)
	_ = b.closeBroken() // of the bus from before the cut nothing is wanted any more
	return openBed(b.t, fs, opts...)
}

// TestQueuePowerCut: what was committed stays settled, what was not comes again, and attempts are counted on.
func TestQueuePowerCut(t *testing.T) {
	cfg := leat.QueueConfig{Retry: leat.Backoff{}}
	cfg.Retry.Max = 1
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	sub := b.subscribe("t", leat.Group("g"), leat.Queue(cfg))
	b.fill(20)
	for range 20 {
		if m := next(t, sub); m.Offset == 5 {
			mustDo(t, "Nack", m.Nack(0))
		} else if m.Offset < 10 {
			mustDo(t, "Ack", m.Ack())
		}
	}
	mustDo(t, "Commit", sub.Commit(soon(t)))
	wantAttempt(t, next(t, sub), 5, 2) // so its attempt is stored
	for seed := range uint64(3) {
		b = b.crash(seed)
		sub = b.subscribe("t", leat.Group("g"), leat.Queue(cfg))
		got := map[int64]int32{}
		for range 11 {
			m := next(t, sub)
			got[m.Offset] = m.Attempt
		}
		for offset := range int64(20) {
			want := int32(1)
			switch {
			case offset == 5:
				want = 2
			case offset < 10:
				want = 0
			}
			if got[offset] != want {
				t.Errorf("seed %d, offset %d: attempt %d, want %d", seed, offset, got[offset], want)
			}
		}
	}
}

// TestQueueReasonOutlivesACrash: a letter that is made only after a crash has the reason, of a message that
// was rejected and of a last attempt.
func TestQueueReasonOutlivesACrash(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	once := leat.Queue(leat.QueueConfig{MaxAttempts: 1})
	letters, err := b.node.letterTopic(soon(t), b.node.topicNamed("t"), "g")
	if err != nil {
		t.Fatal(err)
	}
	box := b.node.letters.box(letterKey{letters.id, 0})
	mustDo(t, "take", box.take(soon(t))) // nothing is buried
	sub := b.subscribe("t", leat.Group("g"), once)
	b.fill(3)
	for range 3 {
		switch m := next(t, sub); m.Offset {
		case 0:
			mustDo(t, "Reject", m.Reject("no good"))
		case 1:
			mustDo(t, "NackBecause", m.NackBecause(-1, "no stock"))
		default:
			mustDo(t, "Nack", m.Nack(-1))
		}
	}
	mustDo(t, "Commit", sub.Commit(soon(t)))
	for seed := range uint64(2) {
		g := b.node.queueGroup(b.node.topicNamed("t"), "g")
		if seed > 0 { // a snapshot has them, too
			mustDo(t, "cut", b.node.commits.cut(g.part))
		}
		b = b.crash(seed)
	}
	_ = b.subscribe("t", leat.Group("g"), once)
	found := map[int64]string{}
	sub = b.subscribeSoon("t.dlq.g", leat.From(leat.Earliest))
	for range 3 {
		m := next(t, sub)
		origin, _, _, err := core.UnwrapDeadLetter(m.Value, m.Headers)
		mustDo(t, "UnwrapDeadLetter", err)
		found[origin.Offset] = origin.Reason
	}
	if want := (map[int64]string{0: "no good", 1: "no stock", 2: ""}); !maps.Equal(found, want) {
		t.Errorf("reasons %v, want %v", found, want)
	}
}

// TestQueueSnapshot: a snapshot of __groups holds progress and attempts, so that what lies before may go.
func TestQueueSnapshot(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	sub := b.subscribe("t", leat.Group("g"), leat.Queue())
	b.fill(10)
	for range 10 {
		if m := next(t, sub); m.Offset == 3 {
			mustDo(t, "Nack", m.Nack(0))
		} else if m.Offset != 7 {
			mustDo(t, "Ack", m.Ack())
		}
	}
	wantAttempt(t, next(t, sub), 3, 2)
	mustDo(t, "Commit", sub.Commit(soon(t)))
	g := b.node.queueGroup(b.node.topicNamed("t"), "g")
	before := g.part.log.End()
	if err := b.node.commits.cut(g.part); err != nil {
		t.Fatal(err)
	}
	live := 0
	if err := g.part.replay(func(r core.Record) error {
		live++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if end := g.part.log.End(); end < before+2 {
		t.Errorf("%d records before the snapshot, %d behind it", before, end)
	}
	b = b.reopen()
	sub = b.subscribe("t", leat.Group("g"), leat.Queue())
	wantAttempt(t, next(t, sub), 3, 2)
	wantAttempt(t, next(t, sub), 7, 1)
}

// TestQueueStoreFails: while __groups takes no records, messages whose attempts are not stored stay back, the
// others go on; what is stored after that is right.
func TestQueueStoreFails(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	sub := b.subscribe("t", leat.Group("g"), leat.Queue())
	b.fill(3)
	g := b.node.queueGroup(b.node.topicNamed("t"), "g")
	eventually(t, "the first progress is stored", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.log.writing == nil && g.log.done > 0
	})
	held := next(t, sub)
	g.mu.Lock()
	g.log.retryAt = g.now() + int64(closeWait) // as after a write that failed
	g.log.full = true
	g.mu.Unlock()
	mustDo(t, "Nack", held.Nack(0))
	mustDo(t, "Ack", next(t, sub).Ack())
	mustDo(t, "Ack", next(t, sub).Ack())
	g.mu.Lock()
	out := len(g.log.held)
	g.log.retryAt, g.nudge = 0, true
	g.unlock()
	wantAttempt(t, next(t, sub), held.Offset, 2)
	if out > 1 {
		t.Errorf("%d grants kept back", out)
	}
	mustDo(t, "Commit", sub.Commit(soon(t)))
	b = b.reopen()
	wantAttempt(t, next(t, b.subscribe("t", leat.Group("g"), leat.Queue())), held.Offset, 2)
}

// TestQueueRetention: what the log does not keep is settled, also while a member has it.
func TestQueueRetention(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, SegmentBytes: 256 << 10})
	sub := b.subscribe("t", leat.Group("g"), leat.Queue(), leat.MaxHeld(2))
	p := b.producer("t")
	value := make([]byte, 32<<10)
	for i := range 40 {
		publish(t, p, leat.Message{Key: fmt.Append(nil, i), Value: value})
	}
	first := next(t, sub)
	log := b.node.topicNamed("t").partitions[0].log
	eventually(t, "the log has been cut", func() bool { // what is not durable yet stays
		if err := log.TrimTo(30); err != nil {
			t.Fatal(err)
		}
		return log.Start() >= 10
	})
	start := log.Start()
	mustDo(t, "Ack of a record that is gone", first.Ack())
	for offset := start; offset < 40; offset++ {
		m := next(t, sub)
		if m.Offset == 1 {
			m = next(t, sub) // it was read ahead before the cut
		}
		wantAttempt(t, m, offset, 1)
		mustDo(t, "Ack", m.Ack())
	}
	eventually(t, "all is settled", func() bool { return b.queueLag() == 0 })
	mustDo(t, "Close", sub.Close())
	if err := sub.Commit(soon(t)); !errors.Is(err, leat.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
}

// TestQueueBehindRetention: what the log still has is delivered, also to a member whose place in it is gone.
func TestQueueBehindRetention(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, SegmentBytes: 256 << 10})
	sub := b.subscribe("t", leat.Group("g"), leat.Queue(), leat.MaxHeld(1))
	p := b.producer("t")
	value := make([]byte, 32<<10)
	publish(t, p, leat.Message{Value: value})
	first := next(t, sub)
	for range 40 {
		publish(t, p, leat.Message{Value: value})
	}
	log := b.node.topicNamed("t").partitions[0].log
	eventually(t, "the log has been cut", func() bool { // what is not durable yet stays
		if err := log.TrimTo(30); err != nil {
			t.Fatal(err)
		}
		return log.Start() >= 20
	})
	mustDo(t, "Ack", first.Ack())
	wantAttempt(t, next(t, sub), log.Start(), 1)
}

// TestQueueSnapshotOfMany: a snapshot with thousands of failed messages takes few syncs, so that nobody waits
// for it.
func TestQueueSnapshotOfMany(t *testing.T) {
	const failed = 2000
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	later := leat.QueueConfig{Retry: leat.Backoff{Min: time.Hour, Max: time.Hour}}
	sub := b.subscribe("t", leat.Group("g"), leat.Queue(later), leat.MaxHeld(failed))
	p := b.producer("t")
	for range failed {
		p.PublishAsync(keyed("k", "v"), nil)
	}
	mustDo(t, "Flush", p.Flush(soon(t)))
	for range failed {
		mustDo(t, "Nack", next(t, sub).Nack(-1))
	}
	mustDo(t, "Commit", sub.Commit(soon(t)))
	g := b.node.queueGroup(b.node.topicNamed("t"), "g")
	var syncs atomic.Int32
	b.fs.Hook(func(op, _ string) {
		if op == "sync" || op == "msync" || op == "writeout" {
			syncs.Add(1)
		}
	})
	before := g.part.log.End()
	mustDo(t, "cut", b.node.commits.cut(g.part))
	b.fs.Hook(nil)
	if n := syncs.Load(); n > failed/10 {
		t.Errorf("a snapshot of %d failed messages took %d syncs", failed, n)
	}
	if end := g.part.log.End(); end < before+failed {
		t.Errorf("the snapshot has %d records, want %d and more", end-before, failed)
	}
	mustDo(t, "Close", sub.Close())
}
