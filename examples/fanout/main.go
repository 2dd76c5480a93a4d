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

// patience is how long subscribers may take to read what was sent when the feed has ended.
const patience = 10 * time.Second

type options struct {
	subscribers int
	rate        int           // ticks a second
	lasts       time.Duration // how long the feed does
	seed        uint64        // of the prices
}

func (o *options) check() error {
	if o.subscribers < 1 || o.rate < 1 || o.lasts <= 0 {
		return errors.New("want at least 1 subscriber, 1 tick a second and some time")
	}
	return nil
}

func main() {
	var o options
	flag.IntVar(&o.subscribers, "subscribers", 1000, "how many read the feed")
	flag.IntVar(&o.rate, "rate", 1000, "ticks a second")
	flag.DurationVar(&o.lasts, "for", 10*time.Second, "how long the feed lasts")
	flag.Uint64Var(&o.seed, "seed", 1, "of the prices")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := run(ctx, o)
	if r != nil {
		r.print(os.Stdout)
	}
	if err != nil {
		log.Fatal(err)
	}
	if !r.clean() {
		os.Exit(1)
	}
}

// run opens a bus in a folder of its own, sends the feed to all subscribers, and tells what they saw. ctx
// ends the feed early; what was sent by then is still delivered and counted.
func run(ctx context.Context, o options) (*result, error) {
	dir, err := os.MkdirTemp("", "leat-fanout")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// One partition: the ticks of all symbols have one order.
	config := leat.TopicConfig{Ack: leat.AckPage, RetentionBytes: 256 << 20}
	bus, err := node.Open(ctx, dir, node.WithTopic("ticks", config))
	if err != nil {
		return nil, err
	}
	defer bus.Close()
	producer, err := bus.Producer("ticks")
	if err != nil {
		return nil, err
	}

	reading, giveUp := context.WithCancelCause(context.Background())
	defer giveUp(nil)
	var readers sync.WaitGroup
	subscribers := make([]*subscriber, o.subscribers)
	start := time.Now().Add(100 * time.Millisecond) // when all of them are there
	for i := range subscribers {
		sub, err := bus.Subscribe("ticks") // from now on
		if err != nil {
			return nil, err
		}
		s := newSubscriber(start)
		subscribers[i] = s
		readers.Go(func() {
			if err := s.follow(reading, sub); err != nil {
				giveUp(err)
			}
		})
	}
	ticks, err := publish(ctx, producer, o, start)
	took := time.Since(start)
	timer := time.AfterFunc(patience, func() { giveUp(nil) }) // what is missing then is lost
	readers.Wait()
	timer.Stop()
	if cause := context.Cause(reading); !errors.Is(cause, context.Canceled) {
		err = cmp.Or(err, cause)
	}
	return newResult(subscribers, ticks, took), err
}

// publish sends the feed. A tick is written straight into the buffer that is published, so that none of
// this allocates.
func publish(ctx context.Context, p *leat.Producer, o options, start time.Time) (ticks uint64, err error) {
	var failed error // belongs to the callbacks until Flush returns
	done := func(_ leat.Receipt, err error) { failed = cmp.Or(failed, err) }
	ticks, err = feed(ctx, o, start, func(t *tick) error {
		c, err := p.Claim(context.Background(), symbols[t.symbol], tickBytes)
		if err != nil {
			return err
		}
		t.encode(c.Bytes())
		c.PublishAsync(done)
		return nil
	})
	return ticks, cmp.Or(err, p.Flush(context.Background()), failed)
}

// follow reads the feed until the market closes or ctx ends.
func (s *subscriber) follow(ctx context.Context, sub *leat.Subscription) error {
	defer sub.Close()
	var t tick
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if t.decode(m.Value); !s.handle(&t) {
			break
		}
	}
	return nil
}
