package main

import (
	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

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
