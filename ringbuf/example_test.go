package ringbuf_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

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

// drain hands every event to use, in order, until the ring is sealed and everything was handed out.
func drain[T any](c *ringbuf.Consumer[T], use func(*T)) {
	for {
		first, second, err := c.Next(context.Background())
		if err != nil {
			return // ErrClosed: the context has no end
		}
		for i := range first {
			use(&first[i])
		}
		for i := range second {
			use(&second[i])
		}
		c.Release() // once per run
	}
}

// Several producers, each with a handle of its own: the events of one stay in order.
func ExampleRing_severalProducers() {
	type event struct{ producer, number int }
	ring, err := ringbuf.New[event](256, ringbuf.Options{Producers: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	consumer, _ := ring.Consumer()
	var producing sync.WaitGroup
	for id := range 3 {
		producer, _ := ring.Producer() // a fourth would be ErrTooMany
		producing.Go(func() {
			for number := range 1000 {
				_ = producer.Send(context.Background(), &event{id, number})
			}
		})
	}
	go func() {
		producing.Wait()
		ring.Seal()
	}()
	var next [3]int
	ordered := true
	drain(consumer, func(e *event) {
		ordered = ordered && e.number == next[e.producer]
		next[e.producer]++
	})
	fmt.Println(next, "in order:", ordered)
	// Output:
	// [1000 1000 1000] in order: true
}

// Several consumers, each of which sees everything at its own pace. Producers wait for the slowest.
func ExampleRing_severalConsumers() {
	ring, err := ringbuf.New[int](64, ringbuf.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	sums, highest := 0, 0
	adding, _ := ring.Consumer(ringbuf.Named("sum"))
	comparing, _ := ring.Consumer(ringbuf.Named("highest"))
	var consuming sync.WaitGroup
	consuming.Go(func() { drain(adding, func(v *int) { sums += *v }) })
	consuming.Go(func() { drain(comparing, func(v *int) { highest = max(highest, *v) }) })
	producer, _ := ring.Producer()
	for v := 1; v <= 1000; v++ {
		_ = producer.Send(context.Background(), &v)
	}
	_ = ring.Close(context.Background()) // waits until both have released everything
	consuming.Wait()
	fmt.Println("sum", sums, "highest", highest)
	// Output:
	// sum 500500 highest 1000
}

// A pipeline: each stage writes its part into the slot, and the next one sees it. Nothing is copied from
// stage to stage.
func ExampleAfter_pipeline() {
	type order struct {
		quantity, price int // by the producer
		total           int // by the first stage
		fee             int // by the second
	}
	ring, err := ringbuf.New[order](64, ringbuf.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	pricing, _ := ring.Consumer()
	charging, _ := ring.Consumer(ringbuf.After(pricing))
	booking, _ := ring.Consumer(ringbuf.After(charging))
	producer, _ := ring.Producer()
	for quantity := 1; quantity <= 3; quantity++ {
		_ = producer.Send(context.Background(), &order{quantity: quantity, price: 100})
	}
	ring.Seal()
	var stages sync.WaitGroup
	stages.Go(func() { drain(pricing, func(o *order) { o.total = o.quantity * o.price }) })
	stages.Go(func() { drain(charging, func(o *order) { o.fee = o.total / 50 }) })
	stages.Go(func() { drain(booking, func(o *order) { fmt.Println(o.quantity, "costs", o.total+o.fee) }) })
	stages.Wait()
	// Output:
	// 1 costs 102
	// 2 costs 204
	// 3 costs 306
}

// A diamond: two stages work side by side on the same slots, each on a field of its own, and the last sees a
// slot when both have released it.
func ExampleAfter_diamond() {
	type command struct {
		text       string
		journaled  bool
		replicated bool
	}
	ring, err := ringbuf.New[command](64, ringbuf.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	journal, _ := ring.Consumer(ringbuf.Named("journal"))
	replica, _ := ring.Consumer(ringbuf.Named("replica"))
	apply, _ := ring.Consumer(ringbuf.Named("apply"), ringbuf.After(journal, replica))
	var stages sync.WaitGroup
	stages.Go(func() { drain(journal, func(c *command) { c.journaled = true }) })
	stages.Go(func() { drain(replica, func(c *command) { c.replicated = true }) })
	stages.Go(func() { drain(apply, func(c *command) { fmt.Println(c.text, c.journaled && c.replicated) }) })
	producer, _ := ring.Producer()
	for _, text := range []string{"open", "deposit", "close"} {
		_ = producer.Send(context.Background(), &command{text: text})
	}
	ring.Seal()
	stages.Wait()
	// Output:
	// open true
	// deposit true
	// close true
}

// Consumers may come and go while others publish: one that comes sees everything from then on, and one that
// goes is not waited for any more.
func ExampleRing_Consumer() {
	ring, err := ringbuf.New[string](4, ringbuf.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	producer, _ := ring.Producer()
	send := func(s string) { fmt.Println(s, "sent:", producer.TrySend(&s)) }
	send("alone") // nobody sees it, and nobody is waited for
	visitor, _ := ring.Consumer()
	for _, s := range []string{"a", "b", "c", "d", "e"} {
		send(s)
	}
	first, second := visitor.Poll()
	fmt.Println("seen:", len(first)+len(second))
	visitor.Close() // what it had not released is free
	send("e")
	// Output:
	// alone sent: true
	// a sent: true
	// b sent: true
	// c sent: true
	// d sent: true
	// e sent: false
	// seen: 4
	// e sent: true
}

// A reader holds nobody up. What was overwritten before it came is skipped and counted.
func ExampleReader() {
	ring, err := ringbuf.New[int64](8, ringbuf.Options{Lossy: true}) // an event without pointers
	if err != nil {
		fmt.Println(err)
		return
	}
	reader, _ := ring.Reader()
	producer, _ := ring.Producer()
	for v := range int64(100) {
		_ = producer.Send(context.Background(), &v) // never waits: no consumer is there
	}
	ring.Seal()
	buf := make([]int64, 4)
	read, lost := 0, int64(0)
	last := int64(-1)
	for {
		n, skipped, err := reader.Next(context.Background(), buf)
		lost += skipped
		if errors.Is(err, ringbuf.ErrClosed) {
			break
		}
		read += n
		last = buf[n-1]
	}
	fmt.Println("read and lost:", int64(read)+lost, "the last is", last, "some were lost:", lost > 0)
	// Output:
	// read and lost: 100 the last is 99 some were lost: true
}

// What Send does when the slowest consumer has left no room is a choice for each ring.
func ExampleOptions_full() {
	for _, policy := range []ringbuf.FullPolicy{ringbuf.WaitForRoom, ringbuf.Fail, ringbuf.DropNewest} {
		ring, err := ringbuf.New[int](2, ringbuf.Options{Full: policy})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = ring.Consumer() // a consumer that releases nothing
		producer, _ := ring.Producer()
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // or the first would wait for ever
		for v := range 3 {
			err = producer.Send(ctx, &v)
		}
		fmt.Printf("%v, dropped %d\n", err, ring.Stats().Dropped)
	}
	// Output:
	// context canceled, dropped 0
	// ringbuf: full, dropped 0
	// <nil>, dropped 1
}

// One goroutine serves two rings: it polls both and lets others run when there was nothing.
func ExampleConsumer_Poll() {
	orders, _ := ringbuf.New[string](16, ringbuf.Options{})
	timers, _ := ringbuf.New[int](16, ringbuf.Options{})
	fromOrders, _ := orders.Consumer()
	fromTimers, _ := timers.Consumer()
	toOrders, _ := orders.Producer()
	toTimers, _ := timers.Producer()
	for i, text := range []string{"buy", "sell", "cancel"} {
		_ = toOrders.Send(context.Background(), &text)
		_ = toTimers.Send(context.Background(), &i)
	}

	for handled := 0; handled < 6; { // in a server: until it stops, with a pause when both were empty
		texts, more := fromOrders.Poll()
		for _, run := range [2][]string{texts, more} {
			for _, text := range run {
				fmt.Println("order:", text)
				handled++
			}
		}
		fromOrders.Release()
		numbers, rest := fromTimers.Poll()
		for _, run := range [2][]int{numbers, rest} {
			for _, number := range run {
				fmt.Println("timer:", number)
				handled++
			}
		}
		fromTimers.Release()
	}
	// Output:
	// order: buy
	// order: sell
	// order: cancel
	// timer: 0
	// timer: 1
	// timer: 2
}

// A handler that fails in the middle of a run keeps what it has not done: it comes again.
func ExampleConsumer_Rewind() {
	ring, _ := ringbuf.New[string](8, ringbuf.Options{})
	consumer, _ := ring.Consumer()
	producer, _ := ring.Producer()
	for _, s := range []string{"one", "two", "three"} {
		_ = producer.Send(context.Background(), &s)
	}
	run, _, _ := consumer.Next(context.Background())
	fmt.Println(run)
	consumer.ReleaseTo(1) // the first was handled; the second failed
	consumer.Rewind()
	run, _, _ = consumer.Next(context.Background())
	fmt.Println(run)
	// Output:
	// [one two three]
	// [two three]
}
