package main

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/leatbus/leat"
)

// consumer is what one has seen of the market. It belongs to its goroutine.
type consumer struct {
	start     time.Time // when the market opened
	seen      []tick    // the last tick of each instrument, by instrument
	ticks     int64
	missed    int64                   // ticks that it did not see
	backwards int64                   // ticks that came behind a later one of their instrument, or again
	closed    int                     // instruments whose last tick it has seen
	ages      *hdrhistogram.Histogram // of ticks when they came, since they were due; in nanoseconds
}

func newConsumer(start time.Time, instruments int) *consumer {
	c := &consumer{start: start, seen: make([]tick, instruments),
		ages: hdrhistogram.New(1_000, int64(time.Hour), 3)}
	for i := range c.seen {
		c.seen[i].number = ^uint64(0)
	}
	return c
}

// see takes a tick and reports whether more will come.
func (c *consumer) see(t *tick) bool {
	age := time.Since(c.start) - t.due
	// In bounds, so there is no error.
	_ = c.ages.RecordValue(min(max(int64(age), 1), int64(time.Hour)))
	c.ticks++
	last := &c.seen[t.instrument]
	if ahead := int64(t.number - last.number); ahead <= 0 {
		c.backwards++
	} else {
		c.missed += ahead - 1
		*last = *t
		if t.closing() {
			c.closed++
		}
	}
	return c.closed < len(c.seen)
}

// follow is the fast consumer: it sees every tick.
func (c *consumer) follow(ctx context.Context, sub *leat.Subscription) error {
	var t tick
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := t.decode(m.Value, len(c.seen)); err != nil {
			return err
		}
		if !c.see(&t) {
			return nil
		}
	}
	return context.Cause(ctx)
}

// trail is the slow consumer: it takes its time for each tick, and always gets the latest.
func (c *consumer) trail(ctx context.Context, from *conflator, work time.Duration) error {
	for {
		t, err := from.take(ctx)
		if err != nil {
			return err
		}
		more := c.see(&t)
		time.Sleep(work)
		if !more {
			return nil
		}
	}
}

// conflate reads the topic for a slow consumer, in whole runs: a run is gone through as it lies in the log,
// and only what is latest is copied. It is over when every instrument has closed.
func conflate(ctx context.Context, sub *leat.Subscription, to *conflator) error {
	closed := 0
	for batch, err := range sub.Batches(ctx) {
		if err != nil {
			return err
		}
		n, err := conflateBatch(batch, to)
		batch.Release()
		if err != nil {
			return err
		}
		if closed += n; closed == len(to.latest) {
			return nil
		}
	}
	return context.Cause(ctx)
}

// conflateBatch puts the ticks of a run, and returns how many instruments have closed in it.
func conflateBatch(batch *leat.Batch, to *conflator) (closed int, err error) {
	var t tick
	for m, err := range batch.Messages() {
		if err != nil {
			return closed, err
		}
		if err := t.decode(m.Value, len(to.latest)); err != nil {
			return closed, fmt.Errorf("%s/%d, offset %d: %w", m.Topic, m.Partition, m.Offset, err)
		}
		if t.closing() {
			closed++
		}
		to.put(&t)
	}
	return closed, nil
}
