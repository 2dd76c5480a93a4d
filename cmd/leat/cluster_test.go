package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
)

// nodes is a bus that says it has several nodes.
type nodes struct {
	leat.Backend
	info leat.ClusterInfo
}

func (n nodes) Cluster(context.Context) (leat.ClusterInfo, error) { return n.info, nil }

func (n nodes) Topics(context.Context) ([]leat.TopicInfo, error) {
	return []leat.TopicInfo{{Partitions: []leat.PartitionInfo{{Node: 1}, {Node: 2}, {Node: 1}}}}, nil
}

func TestClusterStatus(t *testing.T) {
	d := newDesk(t, "trades")
	d.golden(`
$ leat cluster status
NODE  ADDRESS  STATE  FOR  RTT  PARTITIONS
   0  -        up       -    -           1  answered
$ leat cluster status --fail -o json
{
  "name": "",
  "answer": 0,
  "meta": 0,
  "down": 0,
  "topics": 1,
  "partitions": {
    "all": 1,
    "unavailable": 0
  },
  "nodes": [
    {
      "node": 0,
      "address": "",
      "up": true,
      "rtt_us": 0,
      "partitions": 1
    }
  ]
}
`)
	now := time.Unix(0, clock.System.Now())
	info := leat.ClusterInfo{Name: "prod", Answer: 2, Meta: 1, Nodes: []leat.NodeInfo{
		{ID: 1, Address: "10.0.0.1:4740", Up: true, Since: now.Add(-90 * time.Minute), RTT: 250 * time.Microsecond},
		{ID: 2, Address: "10.0.0.2:4740", Up: true, Since: now.Add(-90 * time.Minute)},
		{ID: 3, Address: "10.0.0.3:4740", Since: now.Add(-100 * time.Hour), Err: errors.New("no answer for 3 s")},
	}}
	d.prepare = func(a *app) {
		a.dial = func(context.Context, string, ...leat.DialOption) (*leat.Bus, error) {
			return leat.NewBus(nodes{shared{d.bus.Backend()}, info}), nil
		}
		a.clock = clock.NewManual(now.UnixNano()) // which does not go on while the machine is busy
	}
	got := d.must("cluster status")
	want := strings.TrimPrefix(`
NODE  ADDRESS        STATE       FOR      RTT  PARTITIONS
   1  10.0.0.1:4740  up      1h30m0s  0.25 ms           2  meta
   2  10.0.0.2:4740  up      1h30m0s        -           1  answered
   3  10.0.0.3:4740  down  100h0m0s        -           0  no answer for 3 s
`, "\n")
	if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("cluster status printed\n%s\nwant\n%s", got, want)
	}
	got = d.run("cluster status --fail").stderr
	if !strings.HasPrefix(got, "error: node 3 is down\n") {
		t.Errorf("cluster status --fail = %s; want an error about node 3", got)
	}
}

func TestCompletion(t *testing.T) {
	d := newDesk(t, "trades", "quakes")
	d.must("pub trades a")
	d.must("sub trades --group risk --count 1")
	for line, want := range map[string][]string{
		"pub":                   {"quakes", "trades"},
		"sub":                   {"quakes", "trades"},
		"topic rm":              {"quakes", "trades"},
		"topic describe":        {"quakes", "trades"},
		"group describe":        {"risk"},
		"sub trades --group":    {"risk"},
		"group rm risk --topic": {"quakes", "trades"},
		"pub trades":            nil,
	} {
		got := d.must("__complete " + line + " ''")
		lines := strings.Split(strings.TrimSpace(got), "\n")
		if names := lines[:len(lines)-1]; strings.Join(names, " ") != strings.Join(want, " ") {
			t.Errorf("completing %q: %q; want %q", line, names, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := d.must("completion " + shell); !strings.Contains(got, "leat") || len(got) < 1000 {
			t.Errorf("completion %s printed %q", shell, got)
		}
	}
	if got := d.run("completion tcsh"); got.code != exitUsage {
		t.Errorf("completion tcsh = %+v; want exit code 2", got)
	}
	d.prepare = func(a *app) {
		a.dial = func(ctx context.Context, _ string, _ ...leat.DialOption) (*leat.Bus, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	if got := d.run("__complete pub ''"); got.code != 0 || !strings.HasPrefix(got.stdout, ":") ||
		strings.Contains(got.stderr, "error") {
		t.Errorf("completing without a server = %+v; want nothing", got)
	}
}
