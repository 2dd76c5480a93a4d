package benchkit

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/leatbus/leat"
)

// diskPublisherCount publish to one partition at the same time, each waiting for its receipt.
const diskPublisherCount = 64

// syncCounter is what a backend that syncs its own disk can tell.
type syncCounter interface {
	// SyncRounds is the number of sync rounds completed since the node was opened.
	SyncRounds() int64
}

// busDisk has many publishers at disk, beside bare syncs.
type busDisk struct {
	*busBench
	producer *leat.Producer
	floor    *syncFloor
}

func (b *busDisk) scenario() Scenario {
	return Scenario{
		Name:     "disk",
		About:    "closed loop: Publish, each waits for its receipt, which ends the latency",
		Unit:     "msgs/s",
		Baseline: syncFloorName,
		Open:     b.open,
		Cases: []Case{
			{Name: fmt.Sprintf("%d publishers, one partition", diskPublisherCount), Role: Ours, Level: "disk",
				Run: b.publish},
			{Name: syncFloorName, Role: Floor, Note: "syncs/s, one at a time", Run: b.sync},
		},
	}
}

func (b *busDisk) open(ctx context.Context) (func() error, error) {
	closeBus, err := b.busBench.open(ctx)
	if err != nil {
		return nil, err
	}
	cfg := leat.TopicConfig{Partitions: 1, Ack: leat.AckDisk, RetentionBytes: busRetentionBytes}
	if err := b.bus.CreateTopic(ctx, "disk", cfg); err != nil {
		return nil, errors.Join(err, closeBus())
	}
	if b.producer, err = b.bus.Producer("disk"); err != nil {
		return nil, errors.Join(err, closeBus())
	}
	if b.floor, err = newSyncFloor(b.clock, b.dir); err != nil {
		return nil, errors.Join(err, b.producer.Close(), closeBus())
	}
	return func() error { return errors.Join(b.producer.Close(), b.floor.close(), closeBus()) }, nil
}

func (b *busDisk) publish(ctx context.Context, _ int) (s Sample, err error) {
	counter, counts := b.bus.Backend().(syncCounter)
	var before int64
	if counts {
		before = counter.SyncRounds()
	}
	n, nanos, h, err := b.publishTogether(ctx)
	if err != nil {
		return s, err
	}
	s.Ops, s.Rate = n, perSecond(n, nanos)
	s.Measured(h)
	if counts {
		s.More = []Figure{{Name: "records per sync round", Unit: "records", Better: "higher",
			Value: float64(n) / float64(max(counter.SyncRounds()-before, 1))}}
	}
	return s, nil
}

func (b *busDisk) sync(context.Context, int) (s Sample, err error) {
	h := NewHistogram()
	s.Rate, err = b.floor.run(int64(b.short()), h)
	s.Measured(h)
	return s, err
}

// publishTogether publishes from all publishers for a while and returns how many were acknowledged.
func (b *busDisk) publishTogether(ctx context.Context) (n, nanos int64, h *Histogram, err error) {
	counts, failures := make([]int64, diskPublisherCount), make([]error, diskPublisherCount)
	histograms := newHistograms(diskPublisherCount)
	start := b.clock.Mono()
	end := start + int64(b.short())
	var group sync.WaitGroup
	for i := range diskPublisherCount {
		group.Go(func() {
			message := leat.Message{Key: fmt.Appendf(nil, "key-%04d", i), Value: make([]byte, b.Size)}
			// At least once, however late this goroutine gets to run.
			for now := b.clock.Mono(); (counts[i] == 0 || now < end) && failures[i] == nil; {
				_, failures[i] = b.producer.Publish(ctx, message)
				done := b.clock.Mono()
				histograms[i].Record(done - now)
				counts[i]++
				now = done
			}
		})
	}
	group.Wait()
	nanos = b.clock.Mono() - start
	h = NewHistogram()
	for i := range diskPublisherCount {
		n += counts[i]
		h.Merge(histograms[i])
	}
	return n, nanos, h, errors.Join(failures...)
}
