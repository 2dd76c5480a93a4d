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
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

type options struct {
	invoices int
	term     time.Duration // from an invoice to its reminder
	retry    time.Duration // until a mail is sent again that failed, the first time
}

func (o *options) check() error {
	if o.invoices < 1 || o.term < time.Millisecond || o.retry < time.Millisecond {
		return errors.New("want at least 1 invoice, and 1 ms of each time")
	}
	return nil
}

func main() {
	var o options
	flag.IntVar(&o.invoices, "invoices", 1000, "how many are made out")
	flag.DurationVar(&o.term, "term", 2*time.Second, "time from an invoice to its reminder")
	flag.DurationVar(&o.retry, "retry", 200*time.Millisecond, "time until a failed mail is sent again")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		log.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
}

// run makes out the invoices, and ends when all reminders are sent that are to be.
func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "leat-delayed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &books{}
	if err := withBus(ctx, dir, func(bus *leat.Bus) error { return b.makeOut(ctx, bus, o, out) }); err != nil {
		return err
	}
	fmt.Fprintf(out, "the bus is closed, and opened again when the first reminder is overdue\n")
	select {
	case <-time.After(time.Until(b.firstDue())):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := withBus(ctx, dir, func(bus *leat.Bus) error { return b.remind(ctx, bus, o) }); err != nil {
		return err
	}
	return b.balance(out)
}

// withBus opens the bus in a folder for as long as use takes.
func withBus(ctx context.Context, dir string, use func(*leat.Bus) error) error {
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}
	bus, err := node.Open(ctx, dir, node.WithTopic("reminders", config))
	if err != nil {
		return err
	}
	err = use(bus)
	return cmp.Or(err, bus.Close())
}
