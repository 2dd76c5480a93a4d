package main

import (
	"cmp"
	"context"
	_ "embed"
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
	"github.com/leatbus/leat/node"
)

//go:embed earthquakes.tsv
var week string // one quake a line, in the order of time: network, a tab, JSON

func main() {
	data := flag.String("data", filepath.Join(os.TempDir(), "leat-quakes"), "folder of the bus")
	speed := flag.Float64("speed", 0, "how many times faster than real; 0 is as fast as possible")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	table, err := run(ctx, *data, *speed, os.Stdout)
	printTable(os.Stdout, table)
	if err != nil {
		log.Fatal(err)
	}
}

// run publishes the week, or what is missing of it, and returns the statistics when both groups have
// handled everything, or with an error when ctx ends.
func run(ctx context.Context, data string, speed float64, out io.Writer) (map[string]statistics, error) {
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}
	bus, err := node.Open(ctx, data, node.WithTopic("quakes", config), node.WithTopic("statistics", config))
	if err != nil {
		return nil, err
	}
	defer bus.Close()
	table := map[string]statistics{}
	err = readAll(ctx, bus, "statistics", func(m *leat.Message) error {
		var row statistics
		err := json.Unmarshal(m.Value, &row)
		table[string(m.Key)] = row // the last one is the newest
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var groups sync.WaitGroup
	groups.Go(func() { cancel(count(ctx, bus, table, cancel)) })
	groups.Go(func() { cancel(alert(ctx, bus, out)) })
	if err = publish(ctx, bus, speed); err == nil {
		err = awaitGroups(ctx, bus)
	}
	cancel(err)
	groups.Wait()
	return table, err
}

// publish sends the quakes that the topic does not hold yet, at their times.
func publish(ctx context.Context, bus *leat.Bus, speed float64) error {
	published := map[string]bool{}
	err := readAll(ctx, bus, "quakes", func(m *leat.Message) error {
		var q quake
		err := json.Unmarshal(m.Value, &q)
		published[q.ID] = true
		return err
	})
	if err != nil {
		return err
	}
	producer, err := bus.Producer("quakes")
	if err != nil {
		return err
	}
	defer producer.Close()
	var failed error // belongs to the callbacks until Flush returns
	start, first := time.Now(), int64(0)
	for line := range strings.Lines(week) {
		network, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		var q quake
		if err := json.Unmarshal([]byte(value), &q); err != nil {
			return err
		}
		if published[q.ID] {
			continue
		}
		if first = cmp.Or(first, q.Time); speed > 0 {
			due := start.Add(time.Duration(float64(q.Time-first) * float64(time.Millisecond) / speed))
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		producer.PublishAsync(leat.Message{Key: []byte(network), Value: []byte(value)},
			func(_ leat.Receipt, err error) { failed = errors.Join(failed, err) })
	}
	err = producer.Flush(ctx)
	return cmp.Or(err, failed)
}

// count keeps the table. A new row is stored before its quake is acknowledged, and tells the quake's
// offset, so that a quake which is delivered again is not counted again.
func count(ctx context.Context, bus *leat.Bus, table map[string]statistics, fail func(error)) error {
	sub, err := bus.Subscribe("quakes", leat.Group("statistics"))
	if err != nil {
		return err
	}
	defer sub.Close() // commits what was acknowledged
	rows, err := bus.Producer("statistics")
	if err != nil {
		return err
	}
	defer rows.Close() // waits for the callbacks, and so for their acknowledgements
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		var q quake
		if err := json.Unmarshal(m.Value, &q); err != nil {
			return err
		}
		row, known := table[string(m.Key)]
		if !known || m.Offset > row.Offset {
			row.add(q, m.Offset)
			table[string(m.Key)] = row
		}
		value, err := json.Marshal(row)
		if err != nil {
			return err
		}
		source := m.Clone() // the loop reuses m
		rows.PublishAsync(leat.Message{Key: m.Key, Value: value}, func(_ leat.Receipt, err error) {
			// Both topics have as many partitions, so callbacks come in the order of the sources.
			if err == nil {
				err = source.Ack()
			}
			if err != nil {
				fail(err)
			}
		})
	}
	return context.Cause(ctx)
}

// alert prints the strong ones. AutoAck acknowledges a quake when the next one is asked for.
func alert(ctx context.Context, bus *leat.Bus, out io.Writer) error {
	sub, err := bus.Subscribe("quakes", leat.Group("alerts"), leat.AutoAck())
	if err != nil {
		return err
	}
	defer sub.Close()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		var q quake
		if err := json.Unmarshal(m.Value, &q); err != nil {
			return err
		}
		if q.Magnitude >= 4 {
			fmt.Fprintf(out, "ALERT %s M %.1f %s\n", q.ID, q.Magnitude, q.Place)
		}
	}
	return context.Cause(ctx)
}
