package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/leatbus/leat"
)

type quake struct {
	ID        string  `json:"id"`
	Magnitude float64 `json:"mag"`
	Place     string  `json:"place"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		flags := flag.NewFlagSet("serve", flag.ExitOnError)
		listen := flags.String("listen", "127.0.0.1:4740", "UDP address to serve on")
		data := flags.String("data", filepath.Join(os.TempDir(), "leat-remote"), "folder of the bus")
		_ = flags.Parse(os.Args[2:]) // exits on errors
		err = serve(ctx, *listen, *data, os.Stdout)
	} else {
		connect := flag.String("connect", "", "address of a server; empty: one is started for this run")
		file := flag.String("quakes", "examples/quakes/earthquakes.tsv", "file of quakes: network, a tab, JSON")
		flag.Parse()
		err = run(ctx, *connect, *file, os.Stdout)
	}
	if err != nil {
		log.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
}

// run replays the file to a server and follows it, starting the server if there is none.
func run(ctx context.Context, address, file string, out io.Writer) error {
	quakes, err := readQuakes(file)
	if err != nil {
		return err
	}
	if address == "" {
		data, err := os.MkdirTemp("", "leat-remote-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(data)
		server, err := startServer(ctx, "127.0.0.1:0", data)
		if err != nil {
			return err
		}
		defer server.stop()
		address = server.address
		fmt.Fprintf(out, "process %d serves on %s\n", server.pid(), address)
	}
	bus, err := leat.Dial(ctx, address, leat.WithClientName("remote"))
	if err != nil {
		return err
	}
	defer bus.Close()
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}
	if err := bus.CreateTopic(ctx, "quakes", config); err != nil && !errors.Is(err, leat.ErrTopicExists) {
		return err
	}
	began := time.Now()
	alerts, err := replay(ctx, bus, quakes, out)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d quakes went to %s and came back in %v: %d alerts\n",
		len(quakes), address, time.Since(began).Round(time.Millisecond), alerts)
	return nil
}

// keyed is one line of the file.
type keyed struct {
	network string
	quake   quake
}

func readQuakes(file string) ([]keyed, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []keyed
	for lines := bufio.NewScanner(f); lines.Scan(); {
		network, value, _ := strings.Cut(lines.Text(), "\t")
		next := keyed{network: network}
		if err := json.Unmarshal([]byte(value), &next.quake); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", file, len(list)+1, err)
		}
		list = append(list, next)
	}
	return list, nil
}

// replay publishes the quakes while a group alerts, and returns the number of alerts when the group has
// committed everything.
func replay(ctx context.Context, bus *leat.Bus, quakes []keyed, out io.Writer) (alerts int, err error) {
	topic := leat.TopicOf[quake](bus, "quakes")
	defer topic.Close()
	sub, err := topic.Subscribe(leat.Group("alerts"), leat.AutoAck())
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		for m, err := range sub.Messages(ctx) {
			if err != nil {
				cancel(err)
				return
			}
			if m.Value.Magnitude >= 4 {
				alerts++
				fmt.Fprintf(out, "ALERT %s M %.1f %s\n", m.Value.ID, m.Value.Magnitude, m.Value.Place)
			}
		}
	})
	if err = publish(ctx, topic, quakes); err == nil {
		err = awaitGroup(ctx, bus)
	}
	cancel(err) // ends the loop
	reader.Wait()
	return alerts, errors.Join(err, sub.Close())
}

// publish sends all quakes without waiting for any, and then for all.
func publish(ctx context.Context, topic *leat.TypedTopic[quake], quakes []keyed) error {
	var failed error // belongs to the callbacks until Flush returns
	for _, q := range quakes {
		topic.PublishAsync(q.network, q.quake, func(_ leat.Receipt, err error) { failed = cmp.Or(failed, err) })
	}
	return cmp.Or(topic.Flush(ctx), failed)
}

// awaitGroup waits until the commits of the group have reached the end of the topic.
func awaitGroup(ctx context.Context, bus *leat.Bus) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		groups, err := bus.Groups(ctx)
		if err != nil {
			return err
		}
		for _, g := range groups {
			lag := int64(0)
			for _, p := range g.Partitions {
				lag += p.LagRecords
			}
			if g.Group == "alerts" && g.Topic == "quakes" && lag == 0 {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
