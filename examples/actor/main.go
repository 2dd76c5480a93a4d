package main

import (
	"cmp"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/node"
)

//go:embed birdstrikes.tsv
var strikes string // one strike a line: airport, a tab, JSON

func main() {
	data := flag.String("data", filepath.Join(os.TempDir(), "leat-actor"), "folder of the bus")
	top := flag.Int("top", 10, "how many airports to print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	result, err := run(ctx, *data, newTotals())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d strikes replayed, %d published\n", result.replayed, result.published)
	airports := slices.SortedFunc(maps.Keys(result.airports), func(a, b string) int {
		return cmp.Or(cmp.Compare(result.airports[b].strikes, result.airports[a].strikes), cmp.Compare(a, b))
	})
	for _, name := range airports[:min(*top, len(airports))] {
		airport := result.airports[name]
		fmt.Printf("%-38s %5d strikes %9d $\n", name, airport.strikes, airport.cost)
	}
}

// result is what a run did, and the totals at its end.
type result struct {
	replayed, published int64
	airports            map[string]airport
}

// run opens the bus, lets the actor replay the topic, publishes what is missing, and asks for the totals.
func run(ctx context.Context, data string, totals actors.Actor) (result, error) {
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}
	bus, err := node.Open(ctx, data, node.WithTopic("strikes", config))
	if err != nil {
		return result{}, err
	}
	defer bus.Close()
	// Without a group the actor gets everything from the start. Its state lies outside of what is
	// made anew when Receive panics, because the message that failed then comes again.
	props := actors.PropsFromProducer(func() actors.Actor { return totals })
	pid, err := actors.Spawn(bus, props, actors.On("strikes"))
	if err != nil {
		return result{}, err
	}
	stored, err := storedRecords(ctx, bus)
	if err != nil {
		return result{}, err
	}
	before, err := ask(ctx, bus, pid, stored)
	if err != nil {
		return result{}, err
	}
	published, err := publish(ctx, bus, before)
	if err != nil {
		return result{}, err
	}
	after, err := ask(ctx, bus, pid, stored+published)
	return result{stored, published, after}, err
}

// ask waits until the actor has handled n strikes, and returns its totals.
func ask(ctx context.Context, bus *leat.Bus, pid *actors.PID, n int64) (map[string]airport, error) {
	system, err := actors.SystemFor(bus)
	if err != nil {
		return nil, err
	}
	return actors.Call(ctx, system, pid, func(reply actors.Reply[map[string]airport]) any {
		return getTotals{reply, n}
	})
}

// publish sends the strikes that are not in the topic. Those of one airport keep their order, so the
// ones it has are the first.
func publish(ctx context.Context, bus *leat.Bus, stored map[string]airport) (published int64, err error) {
	producer, err := bus.Producer("strikes")
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	var failed error // belongs to the callbacks until Flush returns
	seen := map[string]int{}
	for line := range strings.Lines(strikes) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if seen[name]++; seen[name] <= stored[name].strikes {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		producer.PublishAsync(leat.Message{Key: []byte(name), Value: []byte(value)},
			func(_ leat.Receipt, err error) { failed = cmp.Or(failed, err) })
		published++
	}
	err = producer.Flush(ctx)
	return published, cmp.Or(err, failed)
}

// storedRecords is the number of records in all topics: there is one.
func storedRecords(ctx context.Context, bus *leat.Bus) (records int64, err error) {
	topics, err := bus.Topics(ctx)
	for _, topic := range topics {
		for _, p := range topic.Partitions {
			records += p.HighWater - p.Start
		}
	}
	return records, err
}
