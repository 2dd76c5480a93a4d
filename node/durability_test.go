package node

import (
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// TestSyncsUnderLoad: at page, with records coming in all the time, a sync starts at most 60 ms after
// the last one, and the durable end follows. Time is virtual.
func TestSyncsUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		p := b.producer("t")
		publish(t, p, text("first"))
		dir := filepath.Dir(b.segments(0)[0])
		var mu sync.Mutex
		var syncs []time.Time
		b.fs.Hook(func(op, name string) {
			if op == "msync" && strings.HasPrefix(name, dir) {
				mu.Lock()
				syncs = append(syncs, time.Now())
				mu.Unlock()                // virtual time stands still while somebody waits for a mutex
				pass(5 * time.Millisecond) // so long takes the disk
			}
		})
		begin := time.Now()
		log := b.partition(0).log
		const n = 2000
		for range n {
			publish(t, p, text("v"))
			pass(time.Millisecond)
			// Everything older than a sync's start and its duration is on the disk.
			if behind := log.End() - log.DurableEnd(); behind > 120 {
				t.Fatalf("%d records of one per millisecond are not on the disk", behind)
			}
		}
		b.fs.Hook(nil)
		mu.Lock()
		defer mu.Unlock()
		last := begin
		for _, at := range syncs {
			if gap := at.Sub(last); gap > 60*time.Millisecond {
				t.Errorf("%v without a sync", gap)
			}
			last = at
		}
		if len(syncs) < 30 || len(syncs) > 60 {
			t.Errorf("%d syncs in %v", len(syncs), time.Since(begin))
		}
		pass(60 * time.Millisecond)
		synctest.Wait()
		if log.DurableEnd() != n+1 {
			t.Errorf("durable end %d of %d, 60 ms after the last record", log.DurableEnd(), log.End())
		}
	})
}

// TestFlushEvery: the option sets how long a record may wait for its sync.
func TestFlushEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage}, WithFlushEvery(time.Second))
		publish(t, b.producer("t"), text("v"))
		log := b.partition(0).log
		pass(900 * time.Millisecond)
		synctest.Wait()
		if log.DurableEnd() != 0 {
			t.Error("synced before the time")
		}
		pass(200 * time.Millisecond)
		synctest.Wait()
		if log.DurableEnd() != 1 {
			t.Error("not synced in time")
		}
	})
}

// TestUnsyncedMax hangs the disk: producers of every kind wait when as much is unsynced as may be,
// nothing beyond is accepted, and they go on when the sync returns. Other partitions do not wait.
func TestUnsyncedMax(t *testing.T) {
	for _, size := range []int{100, 3 << 10, 100 << 10} {
		const limit = 4 << 20
		b := newBed(t, WithUnsyncedMax(limit), WithTopic("t", leat.TopicConfig{Ack: leat.AckPage}),
			WithTopic("other", leat.TopicConfig{Ack: leat.AckPage}), withLog(func(o *mmaplog.Options) {
				o.FlushBytes = limit / 4
			}))
		hung, release := b.hangMapSync()
		log := b.partition(0).log
		total := int64(3 * limit / size)
		var accepted atomic.Int64
		var group sync.WaitGroup
		m := leat.Message{Value: make([]byte, size)}
		count := func(_ leat.Receipt, err error) {
			if err != nil {
				t.Error(err)
			}
			accepted.Add(1)
		}
		for range 2 {
			p := b.producer("t")
			group.Go(func() {
				for range total / 4 {
					p.PublishAsync(m, count)
				}
			})
			group.Go(func() {
				for range total / 4 {
					count(p.Publish(soon(t), m))
				}
			})
		}
		receive(t, "sync", hung)
		gate := &b.partition(0).gate
		eventually(t, "producers wait", gate.closed.Load)
		// Who was let in just before still arrives; then all that was accepted is answered.
		eventually(t, "what was accepted is answered", func() bool {
			return b.partition(0).shard.slab.Empty() && accepted.Load() == log.End()
		})
		wantError(t, "TryPublish", b.producer("t").TryPublish(m), leat.ErrFull)
		for range 100 {
			publish(t, b.producer("other"), text("does not wait"))
			if unsynced := log.UnsyncedBytes(); unsynced > limit || unsynced < limit/4 {
				t.Fatalf("records of %d: %d bytes unsynced, the limit is %d", size, unsynced, limit)
			}
		}
		if n := accepted.Load(); n >= total {
			t.Errorf("records of %d: all %d accepted while the disk hangs", size, n)
		}
		release()
		group.Wait()
		for _, p := range b.node.ownProducers() {
			if err := p.Flush(soon(t)); err != nil {
				t.Error(err)
			}
		}
		if accepted.Load() != total/4*4 {
			t.Errorf("records of %d: %d of %d answered", size, accepted.Load(), total)
		}
		b.close()
	}
}

// TestUnsyncedMaxCountsTheRing stalls the journal while much is let in: what waits in the ring and in
// buffers is not on the disk either, so it counts.
func TestUnsyncedMaxCountsTheRing(t *testing.T) {
	const limit = 8 << 20
	b := one(t, leat.TopicConfig{Ack: leat.AckPage}, WithUnsyncedMax(limit))
	_, release := b.hangMapSync()
	resume := b.stall()
	var group sync.WaitGroup
	const producers, each, size = 8, 30, 100 << 10
	for range producers {
		p := b.producer("t")
		group.Go(func() {
			for range each {
				p.PublishAsync(leat.Message{Value: make([]byte, size)}, nil)
			}
		})
	}
	bodies := b.node.bodies
	eventually(t, "publishers wait", func() bool {
		bodies.mu.Lock()
		defer bodies.mu.Unlock()
		return bodies.bytes+size+core.RecordHeaderSize > bodies.limit
	})
	resume()
	log := b.partition(0).log
	eventually(t, "publishers wait for the disk", b.partition(0).gate.closed.Load)
	eventually(t, "the ring is empty", b.partition(0).shard.slab.Empty)
	if unsynced := log.UnsyncedBytes(); unsynced > limit {
		t.Errorf("%d bytes unsynced, the limit is %d", unsynced, limit)
	}
	release()
	group.Wait()
}
