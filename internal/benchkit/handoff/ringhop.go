package handoff

import (
	"context"

	"github.com/leatbus/leat/ringbuf"
)

// HopWords is a ping-pong of messages of 8 bytes over two rings, both sides spinning.
func (r Ring) HopWords(n int64) (Result, error) {
	return ringHop(r.Options, n,
		func(p *ringbuf.Producer[int64], i int64) error { return p.Send(context.Background(), &i) },
		func(p *ringbuf.Producer[int64], run []int64) error { return p.Send(context.Background(), &run[0]) },
		Tally.Words, 1)
}

// HopEvents is a ping-pong of messages of 64 bytes.
func (r Ring) HopEvents(n int64) (Result, error) {
	return ringHop(r.Options, n,
		func(p *ringbuf.Producer[Event], i int64) error {
			slot, err := p.Slot(context.Background())
			if err != nil {
				return err
			}
			slot.Fill(i)
			return p.Commit()
		},
		func(p *ringbuf.Producer[Event], run []Event) error { return p.Send(context.Background(), &run[0]) },
		Tally.Events, 8)
}

// ringHop answers each message with a copy of it.
func ringHop[T any](
	o ringbuf.Options, n int64, send func(*ringbuf.Producer[T], int64) error,
	answer func(*ringbuf.Producer[T], []T) error, read func(Tally, []T) Tally, perMessage int64,
) (Result, error) {
	there, toPong, err := pair[T](HopSlots, o)
	if err != nil {
		return Result{}, err
	}
	back, toPing, err := pair[T](HopSlots, o)
	if err != nil {
		return Result{}, err
	}
	var atPing, atPong Tally
	result, err := Hop(n, func(i int64) error {
		if err := send(there, i); err != nil {
			return err
		}
		run, err := next(toPing)
		atPing = read(atPing, run)
		toPing.Release()
		return err
	}, func() error {
		for range n {
			run, err := next(toPong)
			if err != nil {
				return err
			}
			if err := answer(back, run); err != nil {
				return err
			}
			atPong = read(atPong, run)
			toPong.Release()
		}
		return nil
	})
	if err == nil {
		err = atPing.Check(n, perMessage, 0)
	}
	if err == nil {
		err = atPong.Check(n, perMessage, 0)
	}
	return result, err
}

// pair makes a ring with one producer and one consumer.
func pair[T any](slots int, o ringbuf.Options) (*ringbuf.Producer[T], *ringbuf.Consumer[T], error) {
	ring, err := ringbuf.New[T](slots, o)
	if err != nil {
		return nil, nil, err
	}
	consumer, err := ring.Consumer()
	if err != nil {
		return nil, nil, err
	}
	producer, err := ring.Producer()
	return producer, consumer, err
}

// next returns the one message that is under way; alone, it never wraps.
func next[T any](c *ringbuf.Consumer[T]) ([]T, error) {
	run, _, err := c.Next(context.Background())
	return run, err
}
