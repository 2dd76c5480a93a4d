package benchkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leatbus/leat"
)

// diskPublisherCount publish to one partition at the same time, each waiting for its receipt.
const diskPublisherCount = 64

// syncCounter is what a backend that syncs its own disk can tell.
type syncCounter interface {
	// SyncRounds is the number of sync rounds completed since the node was opened.
	SyncRounds() int64
}

func (b *bench) diskPublishers(ctx context.Context, bus *leat.Bus) (err error) {
	length := max(b.For/5, 10*time.Millisecond)
	cfg := leat.TopicConfig{Partitions: 1, Ack: leat.AckDisk, RetentionBytes: busRetentionBytes}
	if err := bus.CreateTopic(ctx, "disk", cfg); err != nil {
		return err
	}
	producer, err := bus.Producer("disk")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	floor, err := newSyncFloor(b.clock, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.close()) }()

	counter, counts := bus.Backend().(syncCounter)
	var rates, perRound, syncs samples
	var latencies []Latency
	err = interleave(ctx, b.Rounds, func(round int) error {
		b.progress("%d publishers at disk, round %d", diskPublisherCount, round+1)
		var before int64
		if counts {
			before = counter.SyncRounds()
		}
		n, nanos, h, err := b.publishTogether(ctx, producer, length)
		rates.add(round, perSecond(n, nanos))
		if round > warmUp {
			latencies = append(latencies, h.Summary())
		}
		if counts {
			perRound.add(round, float64(n)/float64(max(counter.SyncRounds()-before, 1)))
		}
		return err
	}, func(round int) error {
		rate, err := floor.run(int64(length), NewHistogram())
		syncs.add(round, rate)
		return err
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d publishers, one partition", diskPublisherCount)
	row := b.report.row(name, "disk", "msgs/s", rates).against("syncs/s, "+syncFloorName, syncs)
	summary := medianLatency(latencies)
	row.Latency, row.Note = &summary, "closed loop: Publish, each waits for its receipt, which ends the latency"
	if counts {
		b.report.row("records per sync round, "+name, "disk", "records", perRound)
	}
	return nil
}

// publishTogether publishes from all publishers for length and returns how many were acknowledged.
func (b *bench) publishTogether(ctx context.Context, producer *leat.Producer, length time.Duration) (
	n, nanos int64, h *Histogram, err error) {
	counts, failures := make([]int64, diskPublisherCount), make([]error, diskPublisherCount)
	histograms := newHistograms(diskPublisherCount)
	start := b.clock.Mono()
	end := start + int64(length)
	var group sync.WaitGroup
	for i := range diskPublisherCount {
		group.Go(func() {
			message := leat.Message{Key: fmt.Appendf(nil, "key-%04d", i), Value: make([]byte, b.Size)}
			// At least once, however late this goroutine gets to run.
			for now := b.clock.Mono(); (counts[i] == 0 || now < end) && failures[i] == nil; {
				_, failures[i] = producer.Publish(ctx, message)
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
