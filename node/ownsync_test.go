package node

import (
	"context"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/leatbus/leat"
)

// TestLonePublisherSyncsItself: who publishes alone at disk is inside the sync of its record, unless its
// context may end meanwhile. Its record can be read when it has the receipt.
func TestLonePublisherSyncsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{})
		p := b.producer("t")
		publish(t, p, text("first"))
		var own, other atomic.Int64
		b.fs.Hook(func(op, name string) {
			if op != "sync" || !strings.Contains(name, "spare-") { // as which the segment was opened
				return
			}
			if strings.Contains(string(debug.Stack()), "publishSynced") {
				own.Add(1)
			} else {
				other.Add(1)
			}
		})
		for i := range 10 {
			synctest.Wait() // nobody else is at the shard
			r, err := p.Publish(context.Background(), text("v"))
			if part := b.partition(0); err != nil || r.Offset != int64(i+1) || part.highWater.Load() != r.Offset+1 ||
				part.log.DurableEnd() != r.Offset+1 {
				t.Fatalf("Publish = %+v, %v; high-water mark %d, durable end %d", r, err, part.highWater.Load(),
					part.log.DurableEnd())
			}
		}
		if own.Load() != 10 || other.Load() != 0 {
			t.Errorf("%d syncs by the publisher, %d by others; want 10 and 0", own.Load(), other.Load())
		}
		synctest.Wait()
		publish(t, p, text("v")) // with a context that ends
		if own.Load() != 10 || other.Load() != 1 {
			t.Errorf("with a context that may end: %d syncs by the publisher, want none", own.Load()-10)
		}
		b.fs.Hook(nil)
		synctest.Wait()
		b.fs.FailNextSync(syscall.EIO)
		for range 3 {
			_, err := p.Publish(context.Background(), text("lost"))
			wantError(t, "Publish with a disk that fails", err, leat.ErrLogFenced)
		}
		b.open = false
		wantError(t, "Close", b.Close(), leat.ErrLogFenced)
	})
}

// TestPublishersShareSyncs: with many at disk every receipt is for a record that is on the disk.
func TestPublishersShareSyncs(t *testing.T) {
	const publishers = 64
	each := cut(50, 10)
	b := newBed(t, WithTopic("t", leat.TopicConfig{Partitions: 8}))
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	var group sync.WaitGroup
	for i := range publishers {
		group.Go(func() {
			for range each {
				m := text("v")
				m.Partition = int32(i % 8)
				r, err := p.Publish(context.Background(), m)
				if part := b.partition(int(m.Partition)); err != nil || part.log.DurableEnd() <= r.Offset ||
					part.highWater.Load() <= r.Offset {
					t.Errorf("Publish = %+v, %v; durable end %d", r, err, part.log.DurableEnd())
					return
				}
			}
		})
	}
	group.Wait()
	for i := range 8 {
		if end := b.partition(i).log.DurableEnd(); end != int64(publishers/8*each) {
			t.Errorf("partition %d: durable end %d, want %d", i, end, publishers/8*each)
		}
	}
}
