package ringbuf_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/leatbus/leat/ringbuf"
)

// Three producers put records of different lengths into a slab; one of them gives its entry up. The
// consumer sees the others in the order of their claims.
func ExampleSlab() {
	slab, err := ringbuf.NewSlab(1 << 16)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range []string{"an order", "a mistake", "a cancellation"} {
		entry, err := slab.Claim(context.Background(), len(text))
		if err != nil {
			fmt.Println(err)
			return
		}
		if text == "a mistake" {
			slab.Abort(entry)
			continue
		}
		copy(entry.Bytes, text)
		slab.Commit(entry)
	}
	for {
		payload, ok := slab.Next()
		if !ok {
			break
		}
		fmt.Printf("%s\n", payload)
	}
	slab.Release() // after a run, not after each entry
	fmt.Println("drained:", slab.Empty())
	// Output:
	// an order
	// a cancellation
	// drained: true
}

// A producer sends a batch and a single value; a consumer takes what is there, run by run.
func ExampleRing() {
	type trade struct{ price, volume int }
	ring, err := ringbuf.New[trade](1024, ringbuf.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	consumer, _ := ring.Consumer()
	producer, _ := ring.Producer()
	ctx := context.Background()

	done := make(chan int)
	go func() {
		turnover := 0
		for {
			first, second, err := consumer.Next(ctx)
			if errors.Is(err, ringbuf.ErrClosed) {
				break
			}
			for _, run := range [2][]trade{first, second} {
				for i := range run {
					turnover += run[i].price * run[i].volume
				}
			}
			consumer.Release()
		}
		done <- turnover
	}()

	batch, _ := producer.Claim(ctx, 2)
	first, second := batch.Slots() // second is empty unless the batch wraps
	first[0] = trade{price: 10, volume: 3}
	if len(first) > 1 {
		first[1] = trade{price: 20, volume: 1}
	} else {
		second[0] = trade{price: 20, volume: 1}
	}
	producer.Publish(batch)
	_ = producer.Send(ctx, &trade{price: 5, volume: 2})
	ring.Seal()
	fmt.Println("turnover:", <-done)
	// Output:
	// turnover: 60
}
