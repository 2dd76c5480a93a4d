package handoff

import (
	"context"
	"errors"

	"github.com/leatbus/leat/ringbuf"
)

// Ring makes the cases of a [ringbuf.Ring].
type Ring struct {
	Options ringbuf.Options
	Batch   int64 // messages per claim; 1 is Send or Slot
}

// Words is one producer and one consumer with messages of 8 bytes.
func (r Ring) Words(n int64) (Result, error) {
	ring, err := ringbuf.New[int64](RingSlots, r.Options)
	if err != nil {
		return Result{}, err
	}
	consumer, err := ring.Consumer()
	if err != nil {
		return Result{}, err
	}
	producer, err := ring.Producer()
	if err != nil {
		return Result{}, err
	}
	return Together(n, func() error {
		if r.Batch == 1 {
			return sendWords(producer, n)
		}
		return publishWords(producer, n, r.Batch)
	}, func() error {
		t, err := take(consumer, n, Tally.Words)
		return errors.Join(err, t.Check(n, 1, 0))
	})
}

// Events is one producer and one consumer with messages of 64 bytes.
func (r Ring) Events(n int64) (Result, error) {
	ring, producer, err := r.events()
	if err != nil {
		return Result{}, err
	}
	consumer, err := ring.Consumer()
	if err != nil {
		return Result{}, err
	}
	return Together(n, r.produce(producer, n), stage(consumer, n, Read))
}

// Shared is three producers and one consumer.
func (r Ring) Shared(n int64) (Result, error) {
	r.Options.Producers = Producers
	ring, err := ringbuf.New[Event](RingSlots, r.Options)
	if err != nil {
		return Result{}, err
	}
	consumer, err := ring.Consumer()
	if err != nil {
		return Result{}, err
	}
	sides := []func() error{func() error { return takeShared(consumer, n) }}
	for i := range Producers {
		producer, err := ring.Producer()
		if err != nil {
			return Result{}, err
		}
		sides = append(sides, func() error {
			if r.Batch == 1 {
				return sendNumbered(producer, i, n/Producers)
			}
			return publishNumbered(producer, i, n/Producers, r.Batch)
		})
	}
	return Together(n, sides...)
}

func (r Ring) events() (*ringbuf.Ring[Event], *ringbuf.Producer[Event], error) {
	ring, err := ringbuf.New[Event](RingSlots, r.Options)
	if err != nil {
		return nil, nil, err
	}
	producer, err := ring.Producer()
	return ring, producer, err
}

func (r Ring) produce(producer *ringbuf.Producer[Event], n int64) func() error {
	return func() error {
		if r.Batch == 1 {
			return sendEvents(producer, n)
		}
		return publishEvents(producer, n, r.Batch)
	}
}

func stage(consumer *ringbuf.Consumer[Event], n int64, s Stage) func() error {
	return func() error {
		t, err := take(consumer, n, s.Work)
		return errors.Join(err, s.Check(t, n))
	}
}

func sendWords(p *ringbuf.Producer[int64], n int64) error {
	ctx := context.Background()
	for v := range n {
		if err := p.Send(ctx, &v); err != nil {
			return err
		}
	}
	return nil
}

func publishWords(p *ringbuf.Producer[int64], n, batch int64) error {
	ctx := context.Background()
	for v := int64(0); v < n; {
		claimed, err := p.Claim(ctx, int(batch))
		if err != nil {
			return err
		}
		first, second := claimed.Slots()
		v = FillWords(second, FillWords(first, v))
		p.Publish(claimed)
	}
	return nil
}

func sendEvents(p *ringbuf.Producer[Event], n int64) error {
	ctx := context.Background()
	for v := range n {
		e, err := p.Slot(ctx)
		if err != nil {
			return err
		}
		e.Fill(v)
		if err := p.Commit(); err != nil {
			return err
		}
	}
	return nil
}

func publishEvents(p *ringbuf.Producer[Event], n, batch int64) error {
	ctx := context.Background()
	for v := int64(0); v < n; {
		claimed, err := p.Claim(ctx, int(batch))
		if err != nil {
			return err
		}
		first, second := claimed.Slots()
		v = FillEvents(second, FillEvents(first, v))
		p.Publish(claimed)
	}
	return nil
}

func sendNumbered(p *ringbuf.Producer[Event], producer int, n int64) error {
	ctx := context.Background()
	for i := range n {
		e, err := p.Slot(ctx)
		if err != nil {
			return err
		}
		e.Fill(Numbered(producer, i))
		if err := p.Commit(); err != nil {
			return err
		}
	}
	return nil
}

func publishNumbered(p *ringbuf.Producer[Event], producer int, n, batch int64) error {
	ctx := context.Background()
	for i := int64(0); i < n; {
		claimed, err := p.Claim(ctx, int(batch))
		if err != nil {
			return err
		}
		first, second := claimed.Slots()
		for _, run := range [2][]Event{first, second} {
			for j := range run {
				run[j].Fill(Numbered(producer, i))
				i++
			}
		}
		p.Publish(claimed)
	}
	return nil
}

// take reads n messages, run by run.
func take[T any](c *ringbuf.Consumer[T], n int64, work func(Tally, []T) Tally) (Tally, error) {
	ctx := context.Background()
	var t Tally
	for t.Next < n {
		first, second, err := c.Next(ctx)
		if err != nil {
			return t, err
		}
		if t = work(t, first); len(second) != 0 {
			t = work(t, second)
		}
		c.Release()
	}
	return t, nil
}

func takeShared(c *ringbuf.Consumer[Event], n int64) error {
	ctx := context.Background()
	var t SharedTally
	for t.Seen < n {
		first, second, err := c.Next(ctx)
		if err != nil {
			return err
		}
		t.Events(first)
		t.Events(second)
		c.Release()
	}
	return t.Check(n)
}
