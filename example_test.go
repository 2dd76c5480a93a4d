package leat_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// A topic of Go values: JSON on the wire, unless WithCodec says otherwise.
func ExampleTopicOf() {
	dir, err := os.MkdirTemp("", "leat")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	bus, err := node.Open(ctx, dir, node.WithTopic("trades", leat.TopicConfig{}))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = bus.Close() }()

	type Trade struct {
		Symbol string
		Price  float64
	}
	trades := leat.TopicOf[Trade](bus, "trades")
	for _, trade := range []Trade{{"ACME", 12.5}, {"ACME", 12.75}} {
		if _, err := trades.Publish(ctx, trade.Symbol, trade); err != nil {
			log.Fatal(err)
		}
	}
	sub, err := trades.Subscribe(leat.From(leat.Earliest))
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Offset, m.Value.Symbol, m.Value.Price)
		if m.Offset == 1 {
			break
		}
	}
	// Output:
	// 0 ACME 12.5
	// 1 ACME 12.75
}
