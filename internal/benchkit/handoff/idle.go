package handoff

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/leatbus/leat/ringbuf"
)

// idleConsumers is how many consumers wait at once.
const idleConsumers = 8

// Idle parks consumers for d and returns the nanoseconds of processor time that the process used
// meanwhile; used tells how much that is so far.
func (r Ring) Idle(d time.Duration, used func() (int64, error)) (int64, error) {
	ctx, stop := context.WithCancel(context.Background())
	var parked sync.WaitGroup
	defer parked.Wait()
	defer stop()
	for range idleConsumers {
		ring, err := ringbuf.New[Event](HopSlots, r.Options)
		if err != nil {
			return 0, err
		}
		consumer, err := ring.Consumer()
		if err != nil {
			return 0, err
		}
		parked.Go(func() { _, _, _ = consumer.Next(ctx) })
	}
	return watch(d, used)
}

// Idle parks receivers.
func (Channel) Idle(d time.Duration, used func() (int64, error)) (int64, error) {
	c := make(chan Event)
	var parked sync.WaitGroup
	defer parked.Wait()
	defer close(c)
	for range idleConsumers {
		parked.Go(func() { <-c })
	}
	return watch(d, used)
}

// watch leaves a moment for everybody to go to sleep.
func watch(d time.Duration, used func() (int64, error)) (int64, error) {
	time.Sleep(d / 10)
	before, err := used()
	time.Sleep(d)
	after, failed := used()
	return after - before, errors.Join(err, failed)
}
