package main

import (
	"context"
	"fmt"
	"time"

	"github.com/leatbus/leat"
)

// player watches the room and keeps what it cost to see each tick.
type player struct {
	sub *leat.TypedSubscription[tick]

	latencies []time.Duration // of each tick seen, and none of them twice
}

// connect makes players that share connections, all of them in the room when it returns. close is to be
// called whatever the error.
func connect(ctx context.Context, address string, players, connections int) (
	list []*player, closeAll func(), err error,
) {
	var buses []*leat.Bus
	closeAll = func() {
		for _, bus := range buses {
			_ = bus.Close() // the game is over
		}
	}
	for i := range players {
		if i < connections {
			bus, err := leat.Dial(ctx, address)
			if err != nil {
				return nil, closeAll, err
			}
			buses = append(buses, bus)
		}
		// Without a group everyone gets everything. Latest is the end as of now: the game has not begun.
		sub, err := leat.TopicOf[tick](buses[i%connections], roomTopic).Subscribe(leat.From(leat.Latest))
		if err != nil {
			return nil, closeAll, err
		}
		list = append(list, &player{sub: sub})
	}
	return list, closeAll, nil
}

// watch reads ticks until the last one.
func (p *player) watch(ctx context.Context) error {
	next := 0
	for m, err := range p.sub.Messages(ctx) {
		if err != nil {
			return err
		}
		state := m.Value
		if state.Number < next {
			return fmt.Errorf("tick %d came again, or out of order: %d was next", state.Number, next)
		}
		next = state.Number + 1
		p.latencies = append(p.latencies, time.Since(time.Unix(0, state.Sent)))
		if state.Last {
			return nil
		}
	}
	return context.Cause(ctx)
}
