package node

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// TestCloseWhileWaitingForRoom closes a producer while a publisher waits for room: that publish is
// refused, for the index it would travel with may belong to another producer soon.
func TestCloseWhileWaitingForRoom(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t", leat.WithAck(leat.AckDisk))
	_, release := b.hangMapSync()
	const fits = core.MaxInFlightBytes/(64<<10) + 1
	m := leat.Message{Value: make([]byte, 64<<10)}
	var mu sync.Mutex
	var answers []error
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range fits {
			p.PublishAsync(m, func(_ leat.Receipt, err error) {
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, err)
			})
		}
	}()
	backend := b.backendOf(p)
	eventually(t, "the last publish waits", func() bool { return backend.answers.blocked.Load() == 1 })
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	eventually(t, "Close has begun", backend.closed.Load)
	release()
	receive(t, "the publisher goes on", sent)
	if err := receive(t, "Close returns", closed); err != nil {
		t.Error(err)
	}
	eventually(t, "all are answered", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(answers) == fits
	})
	refused := 0
	for _, err := range answers {
		if err != nil {
			wantError(t, "a publish that waited", err, leat.ErrClosed)
			refused++
		}
	}
	if stored := b.partition(0).log.End(); refused != 1 || stored != fits-1 {
		t.Errorf("%d refused and %d stored of %d, want the last one refused", refused, stored, fits)
	}
}

// TestFailureDoesNotOvertake: the answer of a record that the full disk refused waits for those of the
// records before it, which wait for a sync.
func TestFailureDoesNotOvertake(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, SegmentBytes: core.MinSegmentBytes})
	p := b.producer("t", leat.WithAck(leat.AckDisk))
	publish(t, p, text("warm"))
	_, release := b.hangMapSync()
	b.fs.LimitSpace(0)
	var order []int
	failed := 0
	const n = 200 // of 8 KiB: more than the segment and one that was prepared hold
	for i := range n {
		p.PublishAsync(leat.Message{Key: fmt.Append(nil, i), Value: make([]byte, 8<<10)},
			func(_ leat.Receipt, err error) {
				if order = append(order, i); err == nil {
					return
				}
				if failed++; !errors.Is(err, leat.ErrStorageFull) {
					t.Error(err)
				}
			})
	}
	eventually(t, "all are journaled", func() bool { return b.partition(0).shard.slab.Empty() })
	release()
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	if len(order) != n || !slices.IsSorted(order) {
		t.Errorf("callbacks came in the order %v", order)
	}
	if failed == 0 || failed == n {
		t.Errorf("%d of %d failed: the test looks at nothing", failed, n)
	}
}
