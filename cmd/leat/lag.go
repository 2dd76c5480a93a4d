package main

import (
	"context"
	"errors"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

const (
	// lagSkipMax is how many records are read over to reach the one whose age is wanted.
	lagSkipMax = 100_000
	// lagWait is how long the age of one partition may take.
	lagWait = time.Second
)

// measureLag fills in how old the oldest message is that a group has not acknowledged. What cannot be
// read in time stays unknown.
func (a *app) measureLag(ctx context.Context, bus *leat.Bus, doc *groupDoc) error {
	info, err := findTopic(ctx, bus, "describe topic", doc.Topic)
	if err != nil {
		return err
	}
	worst, known := 0.0, true
	for i := range doc.PerPartition {
		p := &doc.PerPartition[i]
		if p.Lag == 0 {
			p.LagSeconds = new(0.0)
			continue
		}
		if p.Lag < 0 {
			known = false
			continue
		}
		at, err := timeOf(ctx, bus, info, p.Partition, p.Committed)
		if err != nil {
			if known = false; ctx.Err() != nil {
				return nil
			}
			continue
		}
		p.LagSeconds = new(max(0, time.Unix(0, a.clock.Now()).Sub(at).Seconds()))
		worst = max(worst, *p.LagSeconds)
	}
	if known {
		doc.LagSeconds = &worst
	}
	return nil
}

// timeOf gives the time of the first record of a partition at or after an offset.
func timeOf(
	ctx context.Context, bus *leat.Bus, info *leat.TopicInfo, partition int32, offset int64,
) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lagWait)
	defer cancel()
	offset = max(offset, info.Partitions[partition].Start) // retention may have overtaken the group
	sub, err := subscribeTo(bus, info, []int32{partition}, leat.AtOffset(offset))
	if err != nil {
		return time.Time{}, err
	}
	defer sub.Close()
	skipped := 0
	for m, err := range sub.Messages(ctx) {
		switch {
		case err != nil:
			return time.Time{}, err
		case m.Partition == partition && m.Offset >= offset:
			return m.Time, nil
		}
		if skipped++; skipped > lagSkipMax {
			break
		}
	}
	return time.Time{}, errors.New("not found in time")
}

// subscribeTo opens a subscription to some partitions of a topic. At an offset, messages before it may
// be delivered too, where other partitions do not have that offset: the caller skips them.
func subscribeTo(
	bus *leat.Bus, info *leat.TopicInfo, partitions []int32, from leat.Position, options ...leat.SubscribeOption,
) (*leat.Subscription, error) {
	wanted := make([]bool, len(info.Partitions))
	for _, p := range partitions {
		if p < 0 || int(p) >= len(wanted) {
			return nil, core.Errorf(core.CodePartitionUnknown, "subscribe to topic "+core.Quote(info.Name),
				"partition %d, the topic has %d", p, len(wanted))
		}
		wanted[p] = true
	}
	if from.Kind == core.PositionOffset {
		var err error
		if from, err = commonOffset(info, wanted, from.Value); err != nil {
			return nil, err
		}
	}
	sub, err := bus.Subscribe(info.Name, append(options, leat.From(from))...)
	if err != nil {
		return nil, err
	}
	for p, ok := range wanted {
		if !ok {
			sub.Backend().Pause(int32(p))
		}
	}
	return sub, nil
}

// commonOffset finds a start that every partition has, at or before offset in the wanted ones: a
// subscription has one start for all.
func commonOffset(info *leat.TopicInfo, wanted []bool, offset int64) (leat.Position, error) {
	at, low := offset, int64(0)
	for i, p := range info.Partitions {
		if wanted[i] && (offset > p.End || offset < p.Start) {
			return leat.Position{}, core.Errorf(core.CodeOffsetOutOfRange, "subscribe to topic "+core.Quote(info.Name),
				"offset %d, partition %d has [%d, %d)", offset, p.Partition, p.Start, p.HighWater)
		}
		at, low = min(at, p.End), max(low, p.Start)
	}
	if at < low {
		return leat.Earliest, nil
	}
	return leat.AtOffset(at), nil
}
