package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

type options struct {
	file  string        // of jobs
	down  string        // airport whose jobs fail until all others are done; empty for none
	desks int           // workers at a time
	shift int           // jobs that a worker does before it leaves
	work  time.Duration // that a job takes
	retry time.Duration // how long a job waits after its first attempt
}

func (o *options) check() error {
	if o.desks < 1 || o.shift < 1 || o.work < 0 || o.retry <= 0 {
		return errors.New("want at least 1 desk, 1 job in a shift and some time to retry")
	}
	return nil
}

func main() {
	var o options
	flag.StringVar(&o.file, "jobs", "examples/actor/birdstrikes.tsv", "file of jobs: airport, a tab, the job")
	flag.StringVar(&o.down, "down", "BARKSDALE AIR FORCE BASE ARPT", "airport whose jobs fail at first")
	flag.IntVar(&o.desks, "desks", 4, "workers at a time")
	flag.IntVar(&o.shift, "shift", 300, "jobs that a worker does before it leaves and another one joins")
	flag.DurationVar(&o.work, "work", time.Millisecond, "time that a job takes")
	flag.DurationVar(&o.retry, "retry", 20*time.Millisecond, "delay after a first attempt; it doubles, up to 1s")
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

// run publishes the jobs, has them done, and tells how that went. It fails if the order of an airport was
// broken, or if a job is left.
func run(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "leat-workqueue-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}
	bus, err := node.Open(ctx, dir, node.WithTopic("jobs", config))
	if err != nil {
		return err
	}
	defer bus.Close()
	jobs := newLedger(o.down)
	if err := publish(ctx, bus, o.file, jobs); err != nil {
		return err
	}
	if err := jobs.open(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d jobs of %d airports\n", jobs.total(), len(jobs.airports))
	working, stop := context.WithCancelCause(ctx)
	office := &office{bus: bus, options: o, jobs: jobs}
	var desks sync.WaitGroup
	for range o.desks {
		desks.Go(func() {
			if err := office.desk(working); err != nil {
				stop(err)
			}
		})
	}
	err = office.report(working, out)
	stop(err)
	desks.Wait() // and with that all acks are stored
	if err != nil {
		return err
	}
	left, err := unsettled(ctx, bus)
	if err == nil && left > 0 {
		err = fmt.Errorf("all jobs are done, but %d are not settled", left)
	}
	return err
}

// publish makes a job of each line of a file. The airport is the key, so that its jobs lie in one partition.
func publish(ctx context.Context, bus *leat.Bus, name string, jobs *ledger) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	producer, err := bus.Producer("jobs")
	if err != nil {
		return err
	}
	defer producer.Close()
	var failed error // belongs to the callbacks until Flush returns
	lines := bufio.NewScanner(file)
	for lines.Scan() && ctx.Err() == nil {
		airport, job, _ := bytes.Cut(lines.Bytes(), []byte("\t"))
		customer := string(airport) // the callback comes when lines has gone on
		producer.PublishAsync(leat.Message{Key: airport, Value: job}, func(r leat.Receipt, err error) {
			failed = cmp.Or(failed, err)
			jobs.add(customer, r.Offset) // receipts of one key come in the order of its messages
		})
	}
	if err := cmp.Or(lines.Err(), producer.Flush(ctx)); err != nil {
		return err // callbacks may still run
	}
	return failed
}

// unsettled is how many jobs the group has still to do.
func unsettled(ctx context.Context, bus *leat.Bus) (records int64, err error) {
	groups, err := bus.Groups(ctx)
	for i := range groups {
		records += groups[i].Lag().Records
	}
	return records, err
}
