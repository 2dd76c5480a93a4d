package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// expected is computed from the file alone, in another way than the program does.
type expected struct {
	count, depth, magnitude map[string]float64
	alerts                  []string // ids, sorted
	quakes                  int
}

func expect(t *testing.T) expected {
	t.Helper()
	e := expected{count: map[string]float64{}, depth: map[string]float64{}, magnitude: map[string]float64{}}
	decoder := json.NewDecoder(strings.NewReader(onlyJSON(week)))
	for {
		var event map[string]any
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		network, magnitude := event["network"].(string), event["mag"].(float64)
		e.quakes++
		e.count[network]++
		e.depth[network] += event["depth_km"].(float64)
		if known, ok := e.magnitude[network]; !ok || magnitude > known {
			e.magnitude[network] = magnitude
		}
		if magnitude >= 4 {
			e.alerts = append(e.alerts, event["id"].(string))
		}
	}
	slices.Sort(e.alerts)
	return e
}

// onlyJSON removes the keys.
func onlyJSON(tsv string) string {
	var b strings.Builder
	for line := range strings.Lines(tsv) {
		b.WriteString(line[strings.IndexByte(line, '\t')+1:])
	}
	return b.String()
}

func (e *expected) compare(t *testing.T, table map[string]statistics) {
	t.Helper()
	networks, want := slices.Sorted(maps.Keys(table)), slices.Sorted(maps.Keys(e.count))
	if !slices.Equal(networks, want) {
		t.Errorf("networks %q, want %q", networks, want)
	}
	for network, row := range table {
		depth, want := row.DepthSum/float64(row.Count), e.depth[network]/e.count[network]
		if float64(row.Count) != e.count[network] || row.Strongest.Magnitude != e.magnitude[network] ||
			math.Abs(depth-want) > 1e-9 {
			t.Errorf("%s: %d quakes up to %v, %v km deep; want %v up to %v, %v km", network, row.Count,
				row.Strongest.Magnitude, depth, e.count[network], e.magnitude[network], want)
		}
	}
}

// alertIDs are the ids of the alerts in an output, sorted.
func alertIDs(out string) []string {
	var ids []string
	for line := range strings.Lines(out) {
		ids = append(ids, strings.Fields(line)[1])
	}
	slices.Sort(ids)
	return ids
}

// stored counts the records of a topic.
func stored(t *testing.T, data, topic string) (records int64) {
	t.Helper()
	bus, err := node.Open(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	topics, err := bus.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range topics {
		for _, p := range info.Partitions {
			if info.Name == topic {
				records += p.End - p.Start
			}
		}
	}
	return records
}

func TestWeekTwice(t *testing.T) {
	data, want := t.TempDir(), expect(t)
	for round := range 2 {
		var out bytes.Buffer
		table, err := run(t.Context(), data, 0, &out)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		want.compare(t, table)
		switch got := alertIDs(out.String()); {
		case round == 0 && !slices.Equal(got, want.alerts):
			t.Errorf("alerts %q, want %q", got, want.alerts)
		case round == 1 && len(got) > 0:
			t.Errorf("the second run repeats alerts %q", got)
		}
	}
	if got := stored(t, data, "quakes"); got != int64(want.quakes) {
		t.Errorf("%d quakes stored, want %d", got, want.quakes)
	}
}

// interrupter cancels a run at its n-th alert.
type interrupter struct {
	bytes.Buffer
	n      int
	cancel context.CancelFunc
}

func (w *interrupter) Write(b []byte) (int, error) {
	if w.n--; w.n == 0 {
		w.cancel()
	}
	return w.Buffer.Write(b)
}

// TestInterrupted: runs that were interrupted and the one that ends it make up one week.
func TestInterrupted(t *testing.T) {
	data, want := t.TempDir(), expect(t)
	var all strings.Builder
	for _, n := range []int{1, 20} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &interrupter{n: n, cancel: cancel}
		// Slow enough that publishing is interrupted too: the week takes five seconds.
		if _, err := run(ctx, data, 7*24*3600/5, out); !errors.Is(err, context.Canceled) {
			t.Fatalf("run, interrupted = %v, want %v", err, context.Canceled)
		}
		all.WriteString(out.String())
	}
	if got := stored(t, data, "quakes"); got == 0 || got >= int64(want.quakes) {
		t.Fatalf("%d of %d quakes stored after the interruptions, want some", got, want.quakes)
	}
	var out bytes.Buffer
	table, err := run(t.Context(), data, 0, &out)
	if err != nil {
		t.Fatal(err)
	}
	all.WriteString(out.String())
	want.compare(t, table)
	if got := stored(t, data, "quakes"); got != int64(want.quakes) {
		t.Errorf("%d quakes stored, want %d", got, want.quakes)
	}
	if got := alertIDs(all.String()); !slices.Equal(got, want.alerts) {
		t.Errorf("alerts of all runs %q, want %q", got, want.alerts)
	}
}

// TestSpeed: at 604,800 times real speed the week takes a second.
func TestSpeed(t *testing.T) {
	start := time.Now()
	table, err := run(t.Context(), t.TempDir(), 7*24*3600, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("the week took %v, want a second", took)
	}
	want := expect(t)
	want.compare(t, table)
}

// TestCountedOnce: quakes that were counted, and are delivered again because no commit tells so, change
// nothing.
func TestCountedOnce(t *testing.T) {
	data, want := t.TempDir(), expect(t)
	if _, err := run(t.Context(), data, 0, io.Discard); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	table, err := run(t.Context(), withoutCommits(t, data), 0, &out)
	if err != nil {
		t.Fatal(err)
	}
	want.compare(t, table)
	if got := alertIDs(out.String()); !slices.Equal(got, want.alerts) {
		t.Errorf("alerts %q, want all again: %q", got, want.alerts)
	}
}

// withoutCommits copies the topics of a folder to a new one.
func withoutCommits(t *testing.T, data string) (copied string) {
	t.Helper()
	copied = t.TempDir()
	config := leat.TopicConfig{Partitions: 4, Ack: leat.AckPage}
	from, err := node.Open(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := node.Open(t.Context(), copied,
		node.WithTopic("quakes", config), node.WithTopic("statistics", config))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	for _, topic := range []string{"quakes", "statistics"} {
		producer, err := to.Producer(topic)
		if err != nil {
			t.Fatal(err)
		}
		err = readAll(t.Context(), from, topic, func(m *leat.Message) error {
			producer.PublishAsync(leat.Message{Key: m.Key, Value: m.Value}, nil)
			return nil
		})
		if err = errors.Join(err, producer.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}
