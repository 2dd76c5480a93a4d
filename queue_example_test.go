package leat_test

import (
	"context"
	"fmt"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// The members of a queue group share messages: each is lent to one of them, which acks it, refuses it for a
// while, or rejects it for good.
func ExampleQueue() {
	ctx := context.Background()
	bus, err := node.Open(ctx, "", node.InMemory(), node.WithTopic("jobs", leat.TopicConfig{}))
	if err != nil {
		panic(err)
	}
	defer bus.Close()
	p, err := bus.Producer("jobs")
	if err != nil {
		panic(err)
	}
	for _, job := range []string{"paint", "fly", "sweep"} {
		if _, err := p.Publish(ctx, leat.Message{Value: []byte(job)}); err != nil {
			panic(err)
		}
	}
	sub, err := bus.Subscribe("jobs", leat.Group("workers"), leat.Queue(), leat.MaxHeld(1))
	if err != nil {
		panic(err)
	}
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, attempt %d\n", m.Value, m.Attempt)
		switch {
		case string(m.Value) == "fly":
			err = m.Reject("no wings") // a dead letter
		case m.Attempt == 1:
			err = m.Nack(0) // again, at once
		default:
			err = m.Ack()
		}
		if err != nil {
			panic(err)
		}
		if m.Attempt == 2 && string(m.Value) == "sweep" {
			break
		}
	}
	// Output:
	// paint, attempt 1
	// paint, attempt 2
	// fly, attempt 1
	// sweep, attempt 1
	// sweep, attempt 2
}
