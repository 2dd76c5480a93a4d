package main

import (
	"context"
	"time"

	"github.com/leatbus/leat"
)

// readAll handles what a topic holds now.
func readAll(ctx context.Context, bus *leat.Bus, topic string, handle func(*leat.Message) error) error {
	topics, err := bus.Topics(ctx)
	left := int64(0)
	for _, t := range topics {
		for _, p := range t.Partitions {
			if t.Name == topic {
				left += p.HighWater - p.Start
			}
		}
	}
	if err != nil || left == 0 {
		return err
	}
	sub, err := bus.Subscribe(topic, leat.From(leat.Earliest))
	if err != nil {
		return err
	}
	defer sub.Close()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := handle(m); err != nil {
			return err
		}
		if left--; left == 0 {
			return nil
		}
	}
	return context.Cause(ctx)
}

// awaitGroups waits until the commits of both groups have reached the end.
func awaitGroups(ctx context.Context, bus *leat.Bus) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		groups, err := bus.Groups(ctx)
		lag := int64(0)
		for _, g := range groups {
			for _, p := range g.Partitions {
				lag += p.LagRecords
			}
		}
		if err != nil || len(groups) == 2 && lag == 0 {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
