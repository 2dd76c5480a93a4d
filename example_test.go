package leat_test

import (
	"context"
	"encoding/binary"
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

// A tick is written straight into the buffer that is published: nothing is allocated per message.
func ExampleProducer_Claim() {
	dir, err := os.MkdirTemp("", "leat")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	bus, err := node.Open(ctx, dir, node.WithTopic("ticks", leat.TopicConfig{}))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = bus.Close() }()
	ticks, err := bus.Producer("ticks")
	if err != nil {
		log.Fatal(err)
	}

	publish := func(symbol []byte, price, size uint64) error {
		c, err := ticks.Claim(ctx, symbol, 16)
		if err != nil {
			return err
		}
		defer c.Abort() // gives the buffer back if something goes wrong before Publish
		binary.LittleEndian.PutUint64(c.Bytes()[0:], price)
		binary.LittleEndian.PutUint64(c.Bytes()[8:], size)
		if err := c.Publish(); err != nil {
			return err
		}
		fmt.Println("stored at offset", c.Receipt().Offset)
		return nil
	}
	for i := range uint64(2) {
		if err := publish([]byte("ACME"), 1250+i, 100); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// stored at offset 0
	// stored at offset 1
}

// A subscriber takes messages in runs: in the process a run that was published lately is a part of the log
// itself, which nothing is copied from.
func ExampleSubscription_Batches() {
	dir, err := os.MkdirTemp("", "leat-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	bus, err := node.Open(ctx, dir, node.WithTopic("ticks", leat.TopicConfig{}))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = bus.Close() }()
	ticks, err := bus.Producer("ticks")
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		if _, err := ticks.Publish(ctx, leat.Message{Value: fmt.Append(nil, "tick ", i)}); err != nil {
			log.Fatal(err)
		}
	}

	sub, err := bus.Subscribe("ticks", leat.Group("risk"))
	if err != nil {
		log.Fatal(err)
	}
	for batch, err := range sub.Batches(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for m, err := range batch.Messages() {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%d: %s\n", m.Offset, m.Value)
		}
		if err := batch.Ack(); err != nil {
			log.Fatal(err)
		}
		batch.Release()
		if batch.Next == 3 {
			break
		}
	}
	// Output:
	// 0: tick 0
	// 1: tick 1
	// 2: tick 2
}
