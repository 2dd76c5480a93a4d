package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

type options struct {
	data       string
	orders     int
	crashEvery int    // a service dies at one step in so many; 0: never
	seed       uint64 // of when
	ids        bool   // events are published under their ids
}

func (o *options) check() error {
	if o.orders < 0 || o.crashEvery < 0 {
		return errors.New("want 0 orders or more, and no negative number of steps")
	}
	if o.crashEvery == 1 {
		return errors.New("who dies at every step gets nothing done: want -crash-every 2 or more, or 0")
	}
	return nil
}

func main() {
	var o options
	flag.StringVar(&o.data, "data", filepath.Join(os.TempDir(), "leat-outbox"), "folder of services and bus")
	flag.IntVar(&o.orders, "orders", 300, "orders to take in all")
	flag.IntVar(&o.crashEvery, "crash-every", 13, "a service dies at one step in so many; 0: never")
	flag.Uint64Var(&o.seed, "seed", 1, "of when it dies")
	flag.BoolVar(&o.ids, "ids", true, "publish events under their ids; without, the bus cannot tell them apart")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if _, err := run(ctx, o, os.Stdout); err != nil {
		log.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
}

// errDied is the end of a life: a service that sees it stops where it is, and nothing is put in order.
var errDied = errors.New("the process dies here")

// fate lets a service die at one step in every, drawn from a seed with the generator splitmix64.
type fate struct{ every, random uint64 }

func (f *fate) strikes() bool {
	f.random += 0x9e3779b97f4a7c15
	z := f.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return f.every > 0 && (z^z>>31)%f.every == 0
}

func (f *fate) decide() error {
	if f.strikes() {
		return errDied
	}
	return nil
}

// counts are what a run saw, for the report and for tests.
type counts struct {
	orders   orderCounts
	shipping shippingCounts
}

// run has all orders taken and shipped.
func run(ctx context.Context, o options, out io.Writer) (counts, error) {
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return counts{}, err
	}
	// What is marked as sent must not be lost: so the topic is at level disk, as the default is, like the
	// stores.
	config := leat.TopicConfig{Partitions: partitions, Ack: leat.AckDisk, DedupWindow: time.Hour}
	bus, err := node.Open(ctx, filepath.Join(o.data, "bus"), node.WithTopic("orders", config))
	if err != nil {
		return counts{}, err
	}
	defer bus.Close()
	every := uint64(o.crashEvery)
	taking := &orderService{dir: o.data, orders: o.orders, ids: o.ids, fate: &fate{every, o.seed}}
	shipping := &shippingService{dir: o.data, fate: &fate{every, ^o.seed}}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var shipped sync.WaitGroup
	shipped.Go(func() {
		if err := shipping.run(running, bus); err != nil {
			stop(err)
		}
	})
	if err = taking.run(running, bus); err == nil {
		err = awaitShipping(running, bus)
	}
	if cause := context.Cause(running); cause != nil {
		err = cause // shipping has failed: what the other one says then is that it was stopped
	}
	stop(err)
	shipped.Wait()
	c := counts{taking.counts, shipping.counts}
	if err != nil {
		return c, err
	}
	fmt.Fprintf(out, "the order service died %d times; it published %d events, and the bus knew %d of them "+
		"already\n", c.orders.deaths, c.orders.published, c.orders.known)
	fmt.Fprintf(out, "shipping died %d times; it was told %d times, and knew %d of that already\n",
		c.shipping.deaths, c.shipping.delivered, c.shipping.again)
	return c, compareStores(o.data, out)
}

const partitions = 4 // of the topic of events

// awaitShipping waits until everything that was published is acknowledged.
func awaitShipping(ctx context.Context, bus *leat.Bus) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		groups, err := bus.Groups(ctx)
		// A group that nobody has joined yet tells only of partitions of which it has acknowledged something.
		if err != nil || len(groups) == 1 && len(groups[0].Partitions) == partitions &&
			groups[0].Lag().Records == 0 {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// compareStores reads what is on the disk: every order must be shipped, as it was taken.
func compareStores(dir string, out io.Writer) error {
	taken, err := openOrders(dir)
	if err != nil {
		return err
	}
	defer taken.journal.close()
	done, err := openShipping(dir) // which refuses what is shipped twice
	if err != nil {
		return err
	}
	defer done.journal.close()
	for _, e := range taken.outbox {
		if got, ok := done.shipped[e.ID]; !ok || got != e.Order {
			err = cmp.Or(err, fmt.Errorf("%s: taken as %+v, shipped as %+v", e.ID, e.Order, got))
		}
	}
	if len(taken.orders) != len(taken.outbox) || len(taken.outbox) != len(done.shipped) {
		err = cmp.Or(err, fmt.Errorf("%d orders, %d events and %d shipments", len(taken.orders), len(taken.outbox),
			len(done.shipped)))
	}
	if err == nil {
		fmt.Fprintf(out, "%d orders were taken, and each is shipped once\n", len(taken.orders))
	}
	return err
}
