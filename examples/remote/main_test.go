package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

const file = "../quakes/earthquakes.tsv"

// TestMain lets the program start itself as the server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// wantAlerts checks an output against the file.
func wantAlerts(t *testing.T, out string) {
	t.Helper()
	quakes, err := readQuakes(file)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, q := range quakes {
		if q.quake.Magnitude >= 4 {
			want = append(want, q.quake.ID)
		}
	}
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); words[0] == "ALERT" {
			got = append(got, words[1])
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("%d alerts %q, want %d: %q", len(got), got, len(want), want)
	}
	if sum := fmt.Sprintf("%d quakes went to", len(quakes)); !strings.Contains(out, sum) {
		t.Errorf("output %q, want %q in it", out, sum)
	}
}

// TestTwoProcesses is the program without arguments.
func TestTwoProcesses(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	var out bytes.Buffer
	if err := run(soon(t), "", file, &out); err != nil {
		t.Fatalf("%v\nhint: %s\noutput: %s", err, leat.HintFor(err), out.String())
	}
	wantAlerts(t, out.String())
}

// TestConnect is the program twice on one server: the group goes on behind its commits.
func TestConnect(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	server, err := startServer(soon(t), "127.0.0.1:0", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer server.stop()
	for range 2 {
		var out bytes.Buffer
		if err := run(soon(t), server.address, file, &out); err != nil {
			t.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
		}
		wantAlerts(t, out.String())
	}
}

// restarter kills the server, and starts it again, at its n-th line.
type restarter struct {
	bytes.Buffer
	t      *testing.T
	n      int
	data   string
	server *process
}

func (r *restarter) Write(p []byte) (int, error) {
	if r.n--; r.n == 0 {
		address := r.server.address
		if err := r.server.command.Process.Kill(); err != nil {
			r.t.Error(err)
		}
		r.server.stop()
		var err error
		if r.server, err = startServer(r.t.Context(), address, r.data); err != nil {
			r.t.Errorf("start again: %v", err)
		}
	}
	return r.Buffer.Write(p)
}

// TestServerIsKilled in the middle: the client goes on by itself, nothing is lost or stored twice, and
// every alert comes. One whose acknowledgement was on its way comes again.
func TestServerIsKilled(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	data := t.TempDir()
	server, err := startServer(soon(t), "127.0.0.1:0", data)
	if err != nil {
		t.Fatal(err)
	}
	out := &restarter{t: t, n: 20, data: data, server: server}
	defer func() { out.server.stop() }()
	if err := run(soon(t), server.address, file, out); err != nil {
		t.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
	if out.server == server {
		t.Fatal("the server was not killed")
	}
	quakes, err := readQuakes(file)
	if err != nil {
		t.Fatal(err)
	}
	alerted := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		if words := strings.Fields(line); words[0] == "ALERT" {
			alerted[words[1]] = true
		}
	}
	for _, q := range quakes {
		if q.quake.Magnitude >= 4 && !alerted[q.quake.ID] {
			t.Errorf("no alert for %+v", q.quake)
		}
	}
	bus, err := leat.Dial(soon(t), server.address)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	topics, err := bus.Topics(soon(t))
	if err != nil || len(topics) != 1 {
		t.Fatalf("topics %+v, %v", topics, err)
	}
	stored := int64(0)
	for _, p := range topics[0].Partitions {
		stored += p.HighWater - p.Start
	}
	if stored != int64(len(quakes)) {
		t.Errorf("%d quakes are stored, want %d", stored, len(quakes))
	}
}

// TestNoServer says what is wrong and ends.
func TestNoServer(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := run(ctx, "127.0.0.1:1", file, &bytes.Buffer{})
	if err == nil || !leat.Retryable(err) || leat.HintFor(err) == "" {
		t.Errorf("run without a server = %v", err)
	}
}
