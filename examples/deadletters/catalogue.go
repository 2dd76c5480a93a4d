package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/leatbus/leat"
)

type quake struct {
	ID        string  `json:"id"`
	Magnitude float64 `json:"mag"`
	Place     string  `json:"place"`
	Stations  *int    `json:"stations"` // that have seen it; null in some networks
}

// parser is a version of the consumer: it makes a quake of a message. A hopelessError is not worth another
// attempt; any other may pass.
type parser func(value []byte) (quake, error)

type hopelessError struct{ reason string }

func (e hopelessError) Error() string { return e.reason }

// parse is the consumer as it should be.
func parse(value []byte) (q quake, err error) {
	if err := json.Unmarshal(value, &q); err != nil {
		return q, hopelessError{fmt.Sprintf("not a quake: %v", err)}
	}
	return q, nil
}

// parseSample was written when somebody had seen a hundred quakes.
func parseSample(value []byte) (quake, error) {
	q, err := parse(value)
	switch {
	case err != nil:
		return q, err
	case q.Magnitude < 0:
		return q, hopelessError{fmt.Sprintf("bad magnitude: %v, want 0 or more", q.Magnitude)}
	case q.Stations == nil:
		// "They will be known when it comes again", somebody thought.
		return q, fmt.Errorf("quake %s has no stations yet", q.ID)
	}
	return q, nil
}

// policy of the group. A message that fails three times is a dead letter.
var policy = leat.QueueConfig{MaxAttempts: 3,
	Retry: leat.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}}

// catalogue has each quake once, whatever is delivered again.
type catalogue struct {
	quakes map[string]quake // by id
	done   int64            // messages that were acknowledged
}

func newCatalogue() *catalogue { return &catalogue{quakes: map[string]quake{}} }

// follow handles messages until ctx ends.
func (c *catalogue) follow(ctx context.Context, bus *leat.Bus, parse parser) error {
	sub, err := bus.Subscribe(topic, leat.Group(group), leat.Queue(policy))
	if err != nil {
		return err
	}
	defer sub.Close()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := c.handle(m, parse); err != nil && !errors.Is(err, leat.ErrStaleAck) {
			return err // a stale one comes again
		}
	}
	return nil
}

// handle enters a quake, or says why not. A dead letter has the reason of its last attempt.
func (c *catalogue) handle(m *leat.Message, parse parser) error {
	q, err := parse(m.Value)
	var hopeless hopelessError
	switch {
	case errors.As(err, &hopeless):
		return m.Reject(hopeless.reason)
	case err != nil:
		return m.NackBecause(-1, err.Error()) // again, behind the delay of the policy
	}
	c.quakes[q.ID] = q
	if err := m.Ack(); err != nil {
		return err
	}
	c.done++
	return nil
}

// awaitGroup waits until every message is either done or a dead letter.
func awaitGroup(ctx context.Context, bus *leat.Bus) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		a, err := countMessages(ctx, bus)
		if err != nil || a.joined && a.waiting == 0 {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
