package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

type options struct {
	instruments int
	rate        int           // ticks a second
	lasts       time.Duration // how long the market is open
	slow        time.Duration // what the slow consumer takes for a tick
	seed        uint64        // of the prices
}

func (o *options) check() error {
	if o.instruments < 1 || o.rate < 1 || o.lasts <= 0 || o.slow < 0 {
		return errors.New("want at least 1 instrument, 1 tick a second and some time")
	}
	return nil
}

func main() {
	var o options
	flag.IntVar(&o.instruments, "instruments", 500, "how many are traded")
	flag.IntVar(&o.rate, "rate", 20_000, "ticks a second, all instruments together")
	flag.DurationVar(&o.lasts, "for", 5*time.Second, "how long the market is open")
	flag.DurationVar(&o.slow, "slow", time.Millisecond, "time that the slow consumer takes for a tick")
	flag.Uint64Var(&o.seed, "seed", 1, "of the prices")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := run(ctx, o)
	if err != nil {
		log.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
	r.print(os.Stdout)
	if err := r.check(); err != nil {
		log.Fatal(err)
	}
}

// run opens the market and returns what its consumers saw. The end of ctx closes the market early; what was
// sent by then is still consumed.
func run(ctx context.Context, o options) (*result, error) {
	dir, err := os.MkdirTemp("", "leat-trading-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage, RetentionBytes: 256 << 20}
	bus, err := node.Open(context.Background(), dir, node.WithTopic("ticks", config))
	if err != nil {
		return nil, err
	}
	defer bus.Close()
	producer, err := bus.Producer("ticks")
	if err != nil {
		return nil, err
	}
	// Without a group each has all ticks, from now on.
	all, err := bus.Subscribe("ticks")
	if err != nil {
		return nil, err
	}
	defer all.Close()
	latest, err := bus.Subscribe("ticks")
	if err != nil {
		return nil, err
	}
	defer latest.Close()

	start := time.Now()
	r := &result{options: o, fast: newConsumer(start, o.instruments), slow: newConsumer(start, o.instruments)}
	conflator := newConflator(o.instruments)
	reading, fail := context.WithCancelCause(context.Background())
	defer fail(nil)
	var readers sync.WaitGroup
	for _, read := range []func() error{
		func() error { return r.fast.follow(reading, all) },
		func() error { return conflate(reading, latest, conflator) },
		func() error { return r.slow.trail(reading, conflator, o.slow) },
	} {
		readers.Go(func() {
			if err := read(); err != nil {
				fail(err) // the others end, too
			}
		})
	}
	f := &feed{market: newMarket(o.seed, o.instruments), producer: producer}
	r.ticks, err = f.run(ctx, start, o.rate, o.lasts)
	r.took = time.Since(start)
	if err != nil {
		fail(err)
	}
	readers.Wait() // each ends when every instrument has closed
	r.closing, r.superseded = f.market.last, conflator.lost()
	return r, cmp.Or(err, context.Cause(reading))
}
