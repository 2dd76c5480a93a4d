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
)

// patience is how long subscribers may take to read what was sent when the feed has ended.
const patience = 10 * time.Second

type options struct {
	over        string // a name of lines
	subscribers int
	rate        int           // ticks a second
	lasts       time.Duration // how long the feed does
	seed        uint64        // of the prices
}

func (o *options) check() error {
	if o.subscribers < 1 || o.rate < 1 || o.lasts <= 0 {
		return errors.New("want at least 1 subscriber, 1 tick a second and some time")
	}
	if lines[o.over] == nil {
		return fmt.Errorf("-over %q: want bus, ring or lossy", o.over)
	}
	return nil
}

// line carries the feed to the subscribers.
type line interface {
	subscribe() (follow, error)
	send(*tick) error
	end() error // waits until everything was sent
	close() error
}

// follow hands ticks to handle until it reports that no more will come, or ctx ends.
type follow func(ctx context.Context, handle func(*tick) bool) error

var lines = map[string]func() (line, error){
	"bus":   openBus,
	"ring":  func() (line, error) { return openRing(false) },
	"lossy": func() (line, error) { return openRing(true) },
}

func main() {
	var o options
	flag.StringVar(&o.over, "over", "bus",
		"what carries the feed: bus, ring, or lossy, a ring that waits for nobody")
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

// run sends the feed to all subscribers and tells what they saw. ctx ends the feed early; what was sent by
// then is still delivered and counted.
func run(ctx context.Context, o options) (*result, error) {
	l, err := lines[o.over]()
	if err != nil {
		return nil, err
	}
	defer l.close()
	reading, giveUp := context.WithCancelCause(context.Background())
	defer giveUp(nil)
	var readers sync.WaitGroup
	subscribers := make([]*subscriber, o.subscribers)
	start := time.Now().Add(100 * time.Millisecond) // when all of them are there
	for i := range subscribers {
		follow, err := l.subscribe()
		if err != nil {
			return nil, err
		}
		s := newSubscriber(start)
		subscribers[i] = s
		readers.Go(func() {
			if err := follow(reading, s.handle); err != nil {
				giveUp(err)
			}
		})
	}
	ticks, err := feed(ctx, o, start, l.send)
	err = cmp.Or(err, l.end())
	took := time.Since(start)
	timer := time.AfterFunc(patience, func() { giveUp(nil) }) // what is missing then is lost
	readers.Wait()
	timer.Stop()
	if cause := context.Cause(reading); !errors.Is(cause, context.Canceled) {
		err = cmp.Or(err, cause)
	}
	return newResult(subscribers, ticks, took), err
}
