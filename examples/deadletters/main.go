package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

const (
	topic = "quakes"
	group = "catalogue"
)

func main() {
	file := flag.String("quakes", "examples/quakes/earthquakes.tsv", "file of quakes: network, a tab, JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if _, err := run(ctx, *file, os.Stdout); err != nil {
		log.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
}

// run plays the story and returns the catalogue at its end.
func run(ctx context.Context, file string, out io.Writer) (*catalogue, error) {
	dir, err := os.MkdirTemp("", "leat-deadletters-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}
	bus, err := node.Open(ctx, dir, node.WithTopic(topic, config))
	if err != nil {
		return nil, err
	}
	defer bus.Close()
	s := &story{bus: bus, out: out, catalogue: newCatalogue()}
	if err := publish(ctx, bus, file); err != nil {
		return nil, err
	}
	return s.catalogue, s.tell(ctx)
}

// story is the program's state: the bus, and what the consumer has made of it.
type story struct {
	bus       *leat.Bus
	out       io.Writer
	catalogue *catalogue
}

func (s *story) tell(ctx context.Context) error {
	fmt.Fprintln(s.out, "the first version of the consumer:")
	if err := s.consume(ctx, parseSample); err != nil {
		return err
	}
	name, err := s.inspect(ctx)
	if err != nil {
		return err
	}
	dry, err := s.bus.Redrive(ctx, name, leat.RedriveConfig{DryRun: true})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "a redrive would publish %d messages again\n", dry.Done)
	done, err := s.bus.Redrive(ctx, name, leat.RedriveConfig{})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d are redriven; the version that was mended:\n", done.Done)
	if err := s.consume(ctx, parse); err != nil {
		return err
	}
	if _, err := s.inspect(ctx); err != nil {
		return err
	}
	// These are broken for good. Whoever published them can be told: the letters name them.
	hopeless := leat.DropConfig{Filter: leat.DeadLetterFilter{Code: leat.CodeRejected}}
	dropped, err := s.bus.DropDeadLetters(ctx, name, hopeless)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d are dropped:\n", dropped.Done)
	return s.account(ctx)
}

// consume runs a version of the consumer until nothing waits for it, and counts.
func (s *story) consume(ctx context.Context, parse parser) error {
	running, stop := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.catalogue.follow(running, s.bus, parse); err != nil {
			stop(err)
		}
	}()
	err := awaitGroup(running, s.bus)
	stop(nil)
	<-ended
	return cmp.Or(err, s.account(ctx))
}

// account counts all messages and checks that none is missing.
func (s *story) account(ctx context.Context) error {
	a, err := countMessages(ctx, s.bus)
	if err != nil {
		return err
	}
	a.done = s.catalogue.done
	fmt.Fprintf(s.out, "  %v\n", a)
	return a.check()
}

// publish sends the quakes, and three that were cut off on their way by a client that is no more.
func publish(ctx context.Context, bus *leat.Bus, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	producer, err := bus.Producer(topic)
	if err != nil {
		return err
	}
	defer producer.Close()
	var failed error // belongs to the callbacks until Flush returns
	send := func(network, value []byte, source string) {
		m := leat.Message{Key: network, Value: value,
			Headers: []leat.Header{{Key: "source", Value: []byte(source)}}}
		producer.PublishAsync(m, func(_ leat.Receipt, err error) { failed = cmp.Or(failed, err) })
	}
	lines := bufio.NewScanner(file)
	for number := 0; lines.Scan(); number++ {
		network, value, _ := bytes.Cut(lines.Bytes(), []byte("\t"))
		send(network, value, "feed")
		if number < cutOff {
			send(network, value[:len(value)/2], "modem")
		}
	}
	if err := cmp.Or(lines.Err(), producer.Flush(ctx)); err != nil {
		return err // callbacks may still run
	}
	return failed
}

// cutOff is how many messages come a second time and cut off.
const cutOff = 3
