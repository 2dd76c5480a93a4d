package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// claimed sums the claims of all shard rings, in bytes.
func (b *bed) claimed() uint64 {
	sum := uint64(0)
	for _, s := range b.node.shards {
		sum += s.slab.Claims()
	}
	return sum
}

// slabEntry is what an entry of n bytes takes of a ring: the ring's own header and whole words.
func slabEntry(n int) uint64 { return 8 + uint64(n+7)&^7 }

// TestEveryRecordIsClaimed compares how far the rings' claims moved with what was published: each
// record, or batch, or record by reference, passed exactly one claim, also where the publisher itself
// runs the journal.
func TestEveryRecordIsClaimed(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	p := b.producer("t")
	publish(t, p, text("warm"))
	small := entryHead + core.RecordHeaderSize + 8 + 8
	message := func(i int) leat.Message {
		return leat.Message{Key: fmt.Appendf(nil, "%08d", i), Value: make([]byte, 8)}
	}
	const n = 2000
	for _, tt := range []struct {
		name    string
		size    int // of an entry
		publish func(i int) error
	}{
		{"Publish", small, func(i int) error { _, err := p.Publish(soon(t), message(i)); return err }},
		{"PublishAsync", small, func(i int) error { p.PublishAsync(message(i), nil); return nil }},
		{"TryPublish", small, func(i int) error { return p.TryPublish(message(i)) }},
		{"PublishBatch", entryHead + 8, func(i int) error {
			_, err := p.PublishBatch(soon(t), []leat.Message{message(i), message(i)})
			return err
		}},
		{"by reference", entryHead + 8, func(int) error {
			_, err := p.Publish(soon(t), leat.Message{Value: make([]byte, inlineBytes)})
			return err
		}},
	} {
		before := b.claimed()
		for i := range n {
			if err := tt.publish(i); err != nil {
				t.Fatal(err)
			}
		}
		// A claim that would not fit before the end of a ring skips the rest of it.
		moved, want := b.claimed()-before, n*slabEntry(tt.size)
		if moved < want || moved > want+uint64(len(b.node.shards))*slabEntry(tt.size)*2 {
			t.Errorf("%s: claims moved by %d bytes for %d entries of %d", tt.name, moved, n, slabEntry(tt.size))
		}
	}
}

// TestPublisherHelps shows that a publish can be journaled on the publisher's goroutine: with the
// executors held off, the record still gets its receipt, and passed a claim.
func TestPublisherHelps(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	publish(t, p, text("warm"))
	part := b.partition(0)
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	defer once.Do(func() { close(release) })
	// The executor is kept inside the lock of its shard, and then only the lock is given up.
	part.shard.Schedule(func() {
		close(held)
		part.shard.unlock()
		<-release
		for !part.shard.tryLock() {
			runtime.Gosched()
		}
	})
	receive(t, "the executor is held", held)
	before := b.claimed()
	for i := range 100 {
		if r := publish(t, p, text("v")); r.Offset != int64(i)+1 {
			t.Fatalf("receipt %+v", r)
		}
	}
	if moved, want := b.claimed()-before, 100*slabEntry(entryHead+core.RecordHeaderSize+1+7); moved != want {
		t.Errorf("claims moved by %d, want %d", moved, want)
	}
	once.Do(func() { close(release) })
}

// allocations runs work and gives what it allocated, in objects. A segment that starts meanwhile costs
// some fifty, a commit every 50 ms some too, so the least of five runs counts: what is allocated per
// message shows in each.
func allocations(work func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		work()
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	return least
}

// TestNoAllocations runs 10⁵ messages through the real path, ring, journal, log and a loop that reads
// them, with receipts at page: nothing is allocated per message. What is allocated now and then (a
// segment, a commit, more of them on a busy machine) is less than one object in two hundred messages.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, group := range []string{"", "g"} {
		t.Run("group "+group, func(t *testing.T) {
			l := newAllocationRun(t, group)
			const n = 100_000
			l.both(2 * n) // what grows once
			for _, tt := range []struct {
				name string
				n    int
				work func(n int)
			}{
				{"PublishAsync to Messages", n, l.both},
				{"Publish", n, l.sync},
				{"Publish by reference", n / 100, l.byReference},
			} {
				tt.work(100)
				if got := allocations(func() { tt.work(tt.n) }); got > n/200 {
					t.Errorf("%s: %d allocations for %d messages", tt.name, got, tt.n)
				}
			}
			if l.failed != 0 {
				t.Errorf("%d publishes failed", l.failed)
			}
		})
	}
}

// allocationRun is a bus whose work a test counts allocations of.
type allocationRun struct {
	t      *testing.T
	ctx    context.Context
	p      *leat.Producer
	sub    *leat.Subscription
	small  leat.Message
	large  leat.Message
	failed int // counted by callbacks
	answer func(leat.Receipt, error)
}

func newAllocationRun(t *testing.T, group string) *allocationRun {
	bus := openBus(t, t.TempDir(), WithTopic("t", leat.TopicConfig{Ack: leat.AckPage}))
	opts := []leat.SubscribeOption{leat.From(leat.Earliest)}
	if group != "" {
		opts = append(opts, leat.Group(group))
	}
	sub, err := bus.Subscribe("t", opts...)
	if err != nil {
		t.Fatal(err)
	}
	l := &allocationRun{t: t, ctx: soon(t), p: openProducer(t, bus, "t"), sub: sub,
		small: leat.Message{Key: make([]byte, 8), Value: make([]byte, 64)},
		large: leat.Message{Key: make([]byte, 8), Value: make([]byte, 2*inlineBytes)}}
	l.answer = func(_ leat.Receipt, err error) {
		if err != nil {
			l.failed++
		}
	}
	return l
}

// both publishes and reads at the same time.
func (l *allocationRun) both(n int) {
	var reader sync.WaitGroup
	reader.Go(func() { l.read(n) })
	for i := range n {
		binary.LittleEndian.PutUint64(l.small.Key, uint64(i))
		l.p.PublishAsync(l.small, l.answer)
	}
	if err := l.p.Flush(l.ctx); err != nil {
		l.t.Error(err)
	}
	reader.Wait()
}

func (l *allocationRun) read(n int) {
	for m, err := range l.sub.Messages(l.ctx) {
		if err != nil {
			l.t.Error(err)
			return
		}
		if m.Offset%100 == 0 {
			if err := m.Ack(); err != nil {
				l.t.Error(err)
			}
		}
		if n--; n == 0 {
			return
		}
	}
	l.t.Error("the loop ended early")
}

func (l *allocationRun) sync(n int) { l.publish(l.small, n) }

func (l *allocationRun) byReference(n int) { l.publish(l.large, n) }

func (l *allocationRun) publish(m leat.Message, n int) {
	for range n {
		if _, err := l.p.Publish(l.ctx, m); err != nil {
			l.t.Error(err)
		}
	}
}
