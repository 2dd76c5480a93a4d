package main

import (
	"context"
	"fmt"

	"github.com/leatbus/leat"
)

// account is where the messages of the topic are. Each figure comes from another place.
type account struct {
	published int64 // messages in the topic, those that were published again among them
	done      int64 // acknowledged, as the consumer counts
	waiting   int64 // to be delivered, or delivered and not answered: the lag of the group
	dead      int64 // dead letters that nothing was done about
	redriven  int64 // dead letters that were published again
	dropped   int64 // dead letters that were given up
	joined    bool  // the group has begun
}

func (a account) String() string {
	return fmt.Sprintf("%d published = %d done + %d waiting + %d dead + %d redriven + %d dropped",
		a.published, a.done, a.waiting, a.dead, a.redriven, a.dropped)
}

// check finds out whether a message is missing, or is there twice.
func (a account) check() error {
	if sum := a.done + a.waiting + a.dead + a.redriven + a.dropped; sum != a.published {
		return fmt.Errorf("the messages do not add up to %d: %v", sum, a)
	}
	return nil
}

// countMessages asks the bus for all figures but done.
func countMessages(ctx context.Context, bus *leat.Bus) (a account, err error) {
	info, err := bus.Topic(ctx, topic)
	if err != nil {
		return a, err
	}
	for _, p := range info.Partitions {
		a.published += p.End - p.Start
	}
	groups, err := bus.Groups(ctx)
	if err != nil {
		return a, err
	}
	for i := range groups {
		if g := &groups[i]; g.Topic == topic && g.Group == group {
			a.waiting += g.Lag().Records
			a.joined = true
		}
	}
	letters, err := bus.DeadLetters(ctx)
	for i := range letters {
		if l := &letters[i]; l.Topic == topic && l.Group == group {
			a.dead, a.redriven, a.dropped = l.Pending(), l.Redriven(), l.Dropped()
		}
	}
	return a, err
}
