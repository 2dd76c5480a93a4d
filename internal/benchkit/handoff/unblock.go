package handoff

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leatbus/leat/ringbuf"
)

// blocked is a call that waits, and what ends it.
type blocked struct {
	call func(ctx context.Context) error
	end  func(cancel context.CancelFunc)
	want error // of the call
}

// unblock lets a call wait n times, long enough to have gone to sleep, and takes the time from before what
// ends it until it has returned.
func unblock(n int64, prepare func() (blocked, error)) (Result, error) {
	latencies := make([]int64, n)
	began := time.Now()
	for i := range latencies {
		b, err := prepare()
		if err != nil {
			return Result{}, err
		}
		if latencies[i], err = b.measure(); err != nil {
			return Result{}, err
		}
	}
	nanos := int64(time.Since(began))
	return Result{Messages: n, Nanos: nanos, Latency: newLatency(latencies, 1e-3)}, nil
}

func (b blocked) measure() (nanos int64, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type outcome struct {
		at  time.Time
		err error
	}
	returned := make(chan outcome, 1)
	go func() {
		err := b.call(ctx)
		returned <- outcome{time.Now(), err}
	}()
	for pause := time.Now(); time.Since(pause) < wakePause; {
	}
	start := time.Now()
	b.end(cancel)
	o := <-returned
	if !errors.Is(o.err, b.want) {
		return 0, fmt.Errorf("handoff: the call returned %v; want %v", o.err, b.want)
	}
	return int64(o.at.Sub(start)), nil
}

// NextAfterClose is a consumer that waits for data until the ring is closed.
func (r Ring) NextAfterClose(n int64) (Result, error) {
	return unblock(n, func() (blocked, error) {
		ring, _, consumer, err := r.small()
		return blocked{
			call: func(ctx context.Context) error { _, _, err := consumer.Next(ctx); return err },
			end:  func(context.CancelFunc) { ring.CloseNow() },
			want: ringbuf.ErrClosed,
		}, err
	})
}

// NextAfterCancel is a consumer that waits for data until its context ends.
func (r Ring) NextAfterCancel(n int64) (Result, error) {
	return unblock(n, func() (blocked, error) {
		_, _, consumer, err := r.small()
		return blocked{
			call: func(ctx context.Context) error { _, _, err := consumer.Next(ctx); return err },
			end:  func(cancel context.CancelFunc) { cancel() },
			want: context.Canceled,
		}, err
	})
}

// ClaimAfterClose is a producer that waits for room until the ring is closed.
func (r Ring) ClaimAfterClose(n int64) (Result, error) {
	return unblock(n, func() (blocked, error) {
		ring, producer, _, err := r.small()
		return blocked{
			call: fill(producer),
			end:  func(context.CancelFunc) { ring.CloseNow() },
			want: ringbuf.ErrClosed,
		}, err
	})
}

// ClaimAfterCancel is a producer that waits for room until its context ends.
func (r Ring) ClaimAfterCancel(n int64) (Result, error) {
	return unblock(n, func() (blocked, error) {
		_, producer, _, err := r.small()
		return blocked{
			call: fill(producer),
			end:  func(cancel context.CancelFunc) { cancel() },
			want: context.Canceled,
		}, err
	})
}

// small is a ring that is soon full.
func (r Ring) small() (*ringbuf.Ring[int64], *ringbuf.Producer[int64], *ringbuf.Consumer[int64], error) {
	ring, err := ringbuf.New[int64](16, r.Options)
	if err != nil {
		return nil, nil, nil, err
	}
	consumer, err := ring.Consumer()
	if err != nil {
		return nil, nil, nil, err
	}
	producer, err := ring.Producer()
	return ring, producer, consumer, err
}

// fill sends until there is no room, and waits for it.
func fill(p *ringbuf.Producer[int64]) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		for v := int64(0); ; v++ {
			if err := p.Send(ctx, &v); err != nil {
				return err
			}
		}
	}
}

var errChannelClosed = errors.New("handoff: the channel is closed")

// receiveOrDone is what a receiver writes who can be called off.
func receiveOrDone(c chan int64) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		select {
		case _, ok := <-c:
			if !ok {
				return errChannelClosed
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// NextAfterClose is a receiver that waits until the channel is closed.
func (Channel) NextAfterClose(n int64) (Result, error) {
	return unblock(n, func() (blocked, error) {
		c := make(chan int64, 16)
		return blocked{receiveOrDone(c), func(context.CancelFunc) { close(c) }, errChannelClosed}, nil
	})
}

// NextAfterCancel is a receiver that waits until its context ends.
func (Channel) NextAfterCancel(n int64) (Result, error) {
	return unblock(n, func() (blocked, error) {
		c := make(chan int64, 16)
		return blocked{receiveOrDone(c), func(cancel context.CancelFunc) { cancel() }, context.Canceled}, nil
	})
}
