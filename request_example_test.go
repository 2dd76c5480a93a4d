package leat_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// A responder answers requests on a topic; whoever asks waits for the reply, for as long as its context says.
func ExampleBus_Request() {
	ctx := context.Background()
	bus, err := node.Open(ctx, "", node.InMemory(), node.WithTopic("quotes", leat.TopicConfig{}))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = bus.Close() }()
	r, err := bus.Respond("quotes", func(_ context.Context, m *leat.Message) (leat.Message, error) {
		return leat.Message{Value: fmt.Appendf(nil, "%s costs 187.44", m.Key)}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	reply, err := bus.Request(ctx, "quotes", leat.Message{Key: []byte("ACME")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply.Value)
	// Output: ACME costs 187.44
}
