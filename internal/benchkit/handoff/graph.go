package handoff

import "github.com/leatbus/leat/ringbuf"

// Pipeline is one producer and three stages in a row.
func (r Ring) Pipeline(n int64) (Result, error) {
	return r.graph(n, Pipeline, func(ring *ringbuf.Ring[Event]) (c consumers, err error) {
		if c[0], err = ring.Consumer(); err != nil {
			return c, err
		}
		if c[1], err = ring.Consumer(ringbuf.After(c[0])); err != nil {
			return c, err
		}
		c[2], err = ring.Consumer(ringbuf.After(c[1]))
		return c, err
	})
}

// Diamond is one producer, two stages side by side and one that needs both.
func (r Ring) Diamond(n int64) (Result, error) {
	return r.graph(n, Diamond, func(ring *ringbuf.Ring[Event]) (c consumers, err error) {
		if c[0], err = ring.Consumer(); err != nil {
			return c, err
		}
		if c[1], err = ring.Consumer(); err != nil {
			return c, err
		}
		c[2], err = ring.Consumer(ringbuf.After(c[0], c[1]))
		return c, err
	})
}

// Each is one producer and three consumers, each of which sees everything.
func (r Ring) Each(n int64) (Result, error) {
	return r.graph(n, [3]Stage{Read, Read, Read}, func(ring *ringbuf.Ring[Event]) (c consumers, err error) {
		for i := range c {
			if c[i], err = ring.Consumer(); err != nil {
				return c, err
			}
		}
		return c, nil
	})
}

// consumers are those of a graph.
type consumers [3]*ringbuf.Consumer[Event]

func (r Ring) graph(
	n int64, stages [3]Stage, join func(*ringbuf.Ring[Event]) (consumers, error),
) (Result, error) {
	ring, producer, err := r.events()
	if err != nil {
		return Result{}, err
	}
	joined, err := join(ring)
	if err != nil {
		return Result{}, err
	}
	sides := []func() error{r.produce(producer, n)}
	for i, consumer := range joined {
		sides = append(sides, stage(consumer, n, stages[i]))
	}
	return Together(n, sides...)
}
