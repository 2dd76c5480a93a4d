package handoff

import (
	"context"
	"time"
)

// wakePause is long enough for the consumer to have gone to sleep.
const wakePause = time.Millisecond

// wake sends n messages, one after each pause, and takes the time from before the send until the
// consumer has it. The sender spins in its pause: it keeps its processor, as a busy producer does.
func wake(n int64, send func(stamp int64) error, receive func() (stamp int64, err error)) (Result, error) {
	latencies := make([]int64, n)
	began := time.Now()
	result, err := Together(n, func() error {
		for range n {
			for pause := time.Now(); time.Since(pause) < wakePause; {
			}
			if err := send(int64(time.Since(began))); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		for i := range latencies {
			stamp, err := receive()
			if err != nil {
				return err
			}
			latencies[i] = int64(time.Since(began)) - stamp
		}
		return nil
	})
	result.Latency = newLatency(latencies, 1e-3)
	return result, err
}

// Wake is the time that it takes to wake a parked consumer.
func (r Ring) Wake(n int64) (Result, error) {
	producer, consumer, err := pair[int64](RingSlots, r.Options)
	if err != nil {
		return Result{}, err
	}
	ctx := context.Background()
	var stamps []int64 // after a stall there may be more than one
	return wake(n, func(stamp int64) error { return producer.Send(ctx, &stamp) }, func() (int64, error) {
		if len(stamps) == 0 {
			consumer.Release()
			if stamps, _, err = consumer.Next(ctx); err != nil {
				return 0, err
			}
		}
		stamp := stamps[0]
		stamps = stamps[1:]
		return stamp, nil
	})
}

// Wake is the time that it takes to wake a receiver.
func (Channel) Wake(n int64) (Result, error) {
	c := make(chan int64, HopSlots)
	return wake(n, func(stamp int64) error { c <- stamp; return nil }, func() (int64, error) { return <-c, nil })
}
