package main

import (
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
	crawlers int
	hosts    int
	pages    int           // of each host
	depth    int           // links followed from the start
	rest     time.Duration // that a host has between two pages
}

func (o *options) check() error {
	if o.crawlers < 1 || o.hosts < 1 || o.pages < 1 || o.depth < 0 || o.rest < 0 {
		return errors.New("want at least 1 crawler, 1 host and 1 page")
	}
	return nil
}

func main() {
	var o options
	flag.IntVar(&o.crawlers, "crawlers", 4, "crawlers at a time")
	flag.IntVar(&o.hosts, "hosts", 6, "hosts of the web")
	flag.IntVar(&o.pages, "pages", 40, "pages of each host")
	flag.IntVar(&o.depth, "depth", 5, "links that are followed from the start")
	flag.DurationVar(&o.rest, "rest", 20*time.Millisecond, "rest that a host has between two pages")
	flag.Parse()
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	web := newWeb(o.hosts, o.pages)
	defer web.close()
	if _, err := run(ctx, o, web, os.Stdout); err != nil {
		log.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
}

// run crawls the web from the front page of its first host on, and returns what was found.
func run(ctx context.Context, o options, web *web, out io.Writer) (*findings, error) {
	dir, err := os.MkdirTemp("", "leat-crawler-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// A URL is known for a day: fetched again tomorrow, but not twice today.
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage, DedupWindow: 24 * time.Hour}
	bus, err := node.Open(ctx, dir, node.WithTopic("frontier", config))
	if err != nil {
		return nil, err
	}
	defer bus.Close()
	producer, err := bus.Producer("frontier")
	if err != nil {
		return nil, err
	}
	began := time.Now()
	f := newFindings()
	if err := publish(ctx, producer, f, visit{URL: web.start()}); err != nil {
		return nil, err
	}
	crawling, stop := context.WithCancelCause(ctx)
	var crawlers sync.WaitGroup
	for range o.crawlers {
		c := &crawler{bus: bus, frontier: producer, client: web.client(), options: o, found: f}
		crawlers.Go(func() {
			if err := c.run(crawling); err != nil {
				stop(err)
			}
		})
	}
	err = awaitDrained(crawling, bus)
	stop(err)
	crawlers.Wait()
	if err != nil {
		return f, err
	}
	fmt.Fprintf(out, "crawled in %v: %v\n", time.Since(began).Round(time.Millisecond), f)
	manners, err := web.watched(o.rest)
	if err != nil {
		return f, err
	}
	fmt.Fprintln(out, manners)
	return f, printGivenUp(ctx, bus, out)
}

// awaitDrained waits until the frontier is empty. A crawler publishes the links of a page before it
// acknowledges it, so there is no moment at which nothing is left and something is to come.
func awaitDrained(ctx context.Context, bus *leat.Bus) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		groups, err := bus.Groups(ctx)
		if err != nil || len(groups) == 1 && groups[0].Lag().Records == 0 {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// printGivenUp lists the pages that could not be fetched: they are dead letters, from where they can be
// redriven when their host is well again.
func printGivenUp(ctx context.Context, bus *leat.Bus, out io.Writer) error {
	topics, err := bus.DeadLetters(ctx)
	if err != nil {
		return err
	}
	for _, t := range topics {
		for _, p := range t.Partitions {
			page, err := bus.ReadDeadLetters(ctx, t.Name, leat.DeadLetterRead{Partition: p.Partition})
			if err != nil {
				return err
			}
			for _, l := range page.Letters {
				fmt.Fprintf(out, "given up after %d attempts: %s\n", l.Origin.Attempts, l.Origin.Reason)
			}
		}
	}
	return nil
}
