package main

import (
	"context"
	"errors"

	"github.com/leatbus/leat/ringbuf"
)

const ringSlots = 1 << 14

// ringLine is a ring alone: nothing is stored, and who comes late has missed it.
type ringLine struct {
	ring     *ringbuf.Ring[tick]
	producer *ringbuf.Producer[tick]
}

// openRing makes a ring for consumers, whom the feed waits for when the slowest is ringSlots behind, or for
// lossy readers, whom it does not.
func openRing(lossy bool) (line, error) {
	// A thousand goroutines that spin would only keep each other from running.
	ring, err := ringbuf.New[tick](ringSlots, ringbuf.Options{Wait: ringbuf.Block, Lossy: lossy})
	if err != nil {
		return nil, err
	}
	producer, err := ring.Producer()
	if err != nil {
		return nil, err
	}
	l := &ringLine{ring, producer}
	if lossy {
		return lossyLine{l}, nil
	}
	return l, nil
}

func (l *ringLine) subscribe() (follow, error) {
	c, err := l.ring.Consumer()
	if err != nil {
		return nil, err
	}
	// A subscriber that left before the others would have to close c, or the feed would wait for it.
	return func(ctx context.Context, handle func(*tick) bool) error {
		for {
			first, second, err := c.Next(ctx)
			if err != nil {
				return unlessEnded(err)
			}
			for _, run := range [2][]tick{first, second} {
				for i := range run {
					if !handle(&run[i]) {
						return nil
					}
				}
			}
			c.Release()
		}
	}, nil
}

func (l *ringLine) send(t *tick) error { return l.producer.Send(context.Background(), t) }

func (l *ringLine) end() error { return nil }

func (l *ringLine) close() error {
	l.ring.CloseNow()
	return nil
}

// lossyLine is a ring whose subscribers are readers. What one did not read in time is lost to it.
type lossyLine struct{ *ringLine }

func (l lossyLine) subscribe() (follow, error) {
	r, err := l.ring.Reader()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, handle func(*tick) bool) error {
		buf := make([]tick, 16)
		for {
			n, _, err := r.Next(ctx, buf) // the numbers of the ticks tell what was skipped
			if err != nil {
				return unlessEnded(err)
			}
			for i := range buf[:n] {
				if !handle(&buf[i]) {
					return nil
				}
			}
		}
	}, nil
}

// unlessEnded is nil for the ends that are not failures.
func unlessEnded(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, ringbuf.ErrClosed) {
		return nil
	}
	return err
}
