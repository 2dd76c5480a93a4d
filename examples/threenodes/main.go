package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/leatbus/leat"
)

const (
	partitions = 6
	nodes      = 3
	victim     = 3 // not the one that creates topics
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "node" {
		err = runNode(ctx, os.Args[2:], os.Stdout)
	} else {
		count := flag.Int("n", 600, "orders to publish before the node is killed, and again while it is away")
		flag.Parse()
		err = run(ctx, *count, os.Stdout)
	}
	if err != nil {
		log.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
}

// run tells the whole story.
func run(ctx context.Context, count int, out io.Writer) error {
	data, err := os.MkdirTemp("", "leat-threenodes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	peers, err := freeAddresses(nodes)
	if err != nil {
		return err
	}
	processes := map[int]*process{}
	defer func() {
		for _, p := range processes {
			p.stop()
		}
	}()
	start := func(id int) error {
		p, err := startNode(ctx, id, peers, filepath.Join(data, fmt.Sprint(id)))
		if err == nil {
			processes[id] = p
			fmt.Fprintf(out, "node %d runs in process %d on %s\n", id, p.pid(), p.address)
		}
		return err
	}
	for id := 1; id <= nodes; id++ {
		if err := start(id); err != nil {
			return err
		}
	}
	// Any of the nodes tells the others. Calls wait half a second for a node that is away.
	bus, err := leat.Dial(ctx, join(peers), leat.WithUnreachableAfter(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer bus.Close()
	s := &story{bus: bus, out: out}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer s.orders.Close()
	if err := s.publishAll(ctx, count); err != nil {
		return err
	}
	processes[victim].kill()
	delete(processes, victim)
	fmt.Fprintf(out, "node %d was killed\n", victim)
	failed, err := s.publishMeanwhile(ctx, count)
	if err != nil {
		return err
	}
	if err := start(victim); err != nil {
		return err
	}
	if err := s.publishAgain(ctx, failed); err != nil {
		return err
	}
	return s.readBack(ctx)
}
