package scale

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
)

// paceEvery is the number of messages between two looks at the clock.
const paceEvery = 64

// catcher reads the backlog over and over.
type catcher struct {
	store *store
	speed int64 // messages per second; 0 for no limit
	count atomic.Int64
}

func caught(all []*catcher) (total int64) {
	for _, c := range all {
		total += c.count.Load()
	}
	return total
}

// run reads until ctx ends, at first what is behind the share i/n of the backlog.
func (c *catcher) run(ctx context.Context, i, n int64) error {
	start, done := time.Now(), int64(0)
	for ; ctx.Err() == nil; i = 0 {
		places, left := c.store.behind(i, n)
		sub, err := c.store.bus.Subscribe(backlogTopic, leat.FromEach(places))
		if err != nil {
			return err
		}
		err = c.read(ctx, sub, left, start, &done)
		if err := errors.Join(err, sub.Close()); err != nil {
			return err
		}
	}
	return nil
}

// behind gives where the rest of the backlog begins behind the share i/n, and how many messages it has.
func (s *store) behind(i, n int64) (places map[int32]leat.Position, left int64) {
	places = make(map[int32]leat.Position)
	for number, old := range s.old {
		at := old.start + (old.end-old.start)*i/n
		places[int32(number)] = leat.AtOffset(at)
		left += old.end - at
	}
	return places, left
}

// read takes left messages and checks that none is missing; it is no faster than speed allows since start.
func (c *catcher) read(
	ctx context.Context, sub *leat.Subscription, left int64, start time.Time, done *int64,
) error {
	var next [backlogPartitions]int64
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if at := &next[m.Partition]; *at > 0 && m.Offset != *at {
			return fmt.Errorf("offset %d of partition %d follows %d", m.Offset, m.Partition, *at-1)
		}
		next[m.Partition] = m.Offset + 1
		*done++
		if *done%paceEvery == 0 {
			c.count.Store(*done)
			c.pause(ctx, start, *done)
		}
		if left--; left == 0 {
			return nil
		}
	}
	return nil
}

// pause waits until so many messages are allowed.
func (c *catcher) pause(ctx context.Context, start time.Time, done int64) {
	if c.speed == 0 {
		return
	}
	wait := time.Duration(done*int64(time.Second)/c.speed) - time.Since(start)
	if wait < time.Millisecond { // a timer is no finer
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}
