package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// hangFiles makes the making of files in the folder of partition n of topic "t" wait until release.
func (b *bed) hangFiles(n int) (hung <-chan struct{}, release func()) {
	p := b.partition(n)
	dir := fmt.Sprintf("t/%d/%d/spare", p.topic.id, p.number)
	reached, wait := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(reached) })
	b.fs.Hook(func(op, name string) {
		if op == "create" && strings.Contains(name, dir) {
			once()
			<-wait
		}
	})
	return reached, sync.OnceFunc(func() { close(wait) })
}

// TestLargeRecordsGoOn: records of all sizes, small and large ones in turn, so that each kind of end of a
// segment comes up: one with much room, but too little for the next record, is left behind.
func TestLargeRecordsGoOn(t *testing.T) {
	for _, ack := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		b := one(t, leat.TopicConfig{Ack: ack, MaxRecordBytes: 4 << 20, SegmentBytes: 4 << 20})
		p := b.producer("t")
		value := make([]byte, 3_500_000)
		for i, size := range []int{
			10, 300_000, 900_000, 900_000, 10, 2_000_000, 3_500_000, 300_000, 3_500_000, 10,
		} {
			if _, err := p.Publish(soon(t), leat.Message{Value: value[:size]}); err != nil {
				t.Fatalf("%v: publish %d, of %d bytes: %v", ack, i, size, err)
			}
		}
		b.close()
	}
}

func to(n int32, v string) leat.Message { return leat.Message{Partition: n, Value: []byte(v)} }

// sameShard gives another partition of topic "t" that shares the shard of partition n.
func (b *bed) sameShard(n int) int32 {
	for i, p := range b.node.topicNamed("t").partitions {
		if i != n && p.shard == b.partition(n).shard {
			return int32(i)
		}
	}
	b.t.Fatal("no two partitions in a shard")
	return 0
}

// TestHangingFileHoldsUpOnePartition: while the disk hangs in making a file for one partition, the others of
// its shard take messages at both levels; what was published to the one is stored in order when the disk goes
// on, publishers that come meanwhile wait or learn that it is full, and nothing is lost.
func TestHangingFileHoldsUpOnePartition(t *testing.T) {
	for _, ack := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		synctest.Test(t, func(t *testing.T) {
			b := one(t, leat.TopicConfig{Ack: ack, Partitions: 16, SegmentBytes: core.MinSegmentBytes})
			p := b.producer("t", leat.WithPartitioner(leat.Manual))
			hung, release := b.hangFiles(1)
			other := b.sameShard(1)
			var mu sync.Mutex
			var got []string
			for i := range 20 {
				p.PublishAsync(to(1, fmt.Sprint("slow", i)), func(r leat.Receipt, err error) {
					mu.Lock()
					defer mu.Unlock()
					got = append(got, fmt.Sprint(r.Offset, err))
				})
			}
			<-hung
			synctest.Wait()
			for i := range 300 { // more than a segment
				if _, err := p.Publish(t.Context(), to(other, strings.Repeat("x", 1000))); err != nil {
					t.Fatalf("publish %d to another partition: %v", i, err)
				}
			}
			kept, err := 20, error(nil)
			for err == nil && kept < 10_000 {
				if err = p.TryPublish(to(1, strings.Repeat("y", 10_000))); err == nil {
					kept++
				}
				synctest.Wait()
			}
			if !errors.Is(err, core.ErrFull) {
				t.Errorf("TryPublish to the one that hangs, after %d: %v, want CodeFull", kept, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := p.Publish(ctx, to(1, "late")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Publish to the one that hangs: %v, want the deadline", err)
			}
			if b.partition(1).log.End() != 0 || len(got) != 0 {
				t.Errorf("%d records stored, %d answers while the disk hangs", b.partition(1).log.End(), len(got))
			}
			release()
			synctest.Wait()
			if r, err := p.Publish(t.Context(), to(1, "after")); err != nil || r.Offset != int64(kept) {
				t.Fatalf("Publish after it: offset %d, want %d, %v", r.Offset, kept, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(got) != 20 {
				t.Fatalf("%d answers, want 20", len(got))
			}
			for i, s := range got {
				if want := fmt.Sprint(i, nil); s != want {
					t.Errorf("answer %d = %s, want %s", i, s, want)
				}
			}
			b.fs.Hook(nil)
		})
	}
}

// TestFullDiskIsToldWhileParked: entries that wait for a file learn that there is no room for it, and the
// partition takes messages again when there is.
func TestFullDiskIsToldWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage, Partitions: 2, SegmentBytes: core.MinSegmentBytes})
		p := b.producer("t", leat.WithPartitioner(leat.Manual))
		hung, release := b.hangFiles(1)
		var mu sync.Mutex
		var errs []error
		for i := range 10 {
			p.PublishAsync(to(1, fmt.Sprint(i)), func(_ leat.Receipt, err error) {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
		<-hung
		b.fs.LimitSpace(1000)
		release()
		synctest.Wait()
		mu.Lock()
		if len(errs) != 10 {
			t.Errorf("%d answers, want 10", len(errs))
		}
		for i, err := range errs {
			if !errors.Is(err, core.ErrStorageFull) {
				t.Errorf("answer %d = %v, want CodeStorageFull", i, err)
			}
		}
		mu.Unlock()
		if _, err := p.Publish(t.Context(), to(1, "x")); !errors.Is(err, core.ErrStorageFull) {
			t.Errorf("Publish = %v, want CodeStorageFull", err)
		}
		b.fs.LimitSpace(-1)
		if _, err := p.Publish(t.Context(), to(1, "y")); err != nil {
			t.Error(err)
		}
		if end := b.partition(1).log.End(); end != 1 {
			t.Errorf("end %d, want 1", end)
		}
		b.fs.Hook(nil)
	})
}

// TestCloseWaitsForParked: closing the node stores what was accepted before.
func TestCloseWaitsForParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage, Partitions: 2})
		p := b.producer("t", leat.WithPartitioner(leat.Manual))
		hung, release := b.hangFiles(1)
		p.PublishAsync(to(1, "kept"), nil)
		<-hung
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			b.close()
		}()
		synctest.Wait()
		release()
		<-closed
		b.fs.Hook(nil)
		b = openBed(t, b.fs)
		if end := b.partition(1).log.End(); end != 1 {
			t.Errorf("end %d after Close, want 1", end)
		}
	})
}
