package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/admindoc"
)

func TestAlterTopic(t *testing.T) {
	d := newDesk(t, "trades")
	d.golden(`
$ leat topic alter trades --retention-bytes 1GiB
altered trades
retention-bytes: all → 1.0 GiB
$ leat topic alter trades --max-record-bytes 2MiB --retention-bytes 0
altered trades
retention-bytes: 1.0 GiB → all
max-record-bytes: 1.0 MiB → 2.0 MiB
$ leat topic alter trades --max-record-bytes 1MiB -o json
{
  "name": "trades",
  "partitions": 1,
  "ack": "page",
  "cleanup": "delete",
  "retention_ms": 604800000,
  "retention_bytes": 0,
  "retention_records": 0,
  "max_record_bytes": 1048576,
  "segment_bytes": 67108864,
  "messages": 0,
  "bytes": 0,
  "unavailable": 0
}
`)
}

// newGroupDesk has a group that reads two topics.
func newGroupDesk(t *testing.T) *desk {
	d := newDesk(t, "trades")
	d.create("wide", leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	for _, line := range []string{
		"pub trades a", "pub trades b", "pub trades c", "sub trades --group risk --count 1",
		"pub wide x --partition 1", "sub wide --group risk --count 1",
	} {
		d.must(line)
	}
	return d
}

func TestGroupLag(t *testing.T) {
	newGroupDesk(t).golden(`
$ leat group ls
GROUP  TOPIC   MODE    MEMBERS  LAG AGE
risk   trades  stream        0    2 <age>
risk   wide    stream        0    0 <age>
$ leat group ls -o yaml
- group: risk
  topic: trades
  mode: stream
  generation: 2
  members: []
  lag: 2
  lag_seconds: <n>
- group: risk
  topic: wide
  mode: stream
  generation: 2
  members: []
  lag: 0
  lag_seconds: <n>
$ leat group describe risk
risk on trades: members 0, generation 2, lag 2, <age>

PARTITION  MEMBER  COMMITTED  LAG AGE
        0  -               1    2 <age>

risk on wide: members 0, generation 2, lag 0, <age>

PARTITION  MEMBER  COMMITTED  LAG AGE
        0  -               -    0 <age>
        1  -               1    0 <age>
$ leat group describe risk --topic trades -o json
[
  {
    "group": "risk",
    "topic": "trades",
    "mode": "stream",
    "generation": 2,
    "members": [],
    "lag": 2,
    "lag_seconds": <n>,
    "per_partition": [
      {
        "partition": 0,
        "committed": 1,
        "lag": 2,
        "lag_seconds": <n>
      }
    ]
  }
]
`)
}

func TestGroupReset(t *testing.T) {
	newGroupDesk(t).golden(`
$ leat group reset risk --topic trades --to earliest --dry-run
would reset risk on trades to earliest

PARTITION  FROM  TO
        0     1   0
$ leat group reset risk --topic trades --to 2
reset risk on trades to 2

PARTITION  FROM  TO
        0     1   2
$ leat sub trades --group risk --count 1
c
$ leat group reset risk --topic trades --to @2020-01-01 -o json
{
  "group": "risk",
  "topic": "trades",
  "to": "@2020-01-01",
  "dry_run": false,
  "per_partition": [
    {
      "partition": 0,
      "from": 3,
      "to": 0
    }
  ]
}
$ leat group reset risk --topic trades --to latest --dry-run -o yaml
group: risk
topic: trades
to: latest
dry_run: true
per_partition:
- partition: 0
  from: 0
  to: 3
$ leat group rm risk --topic trades --dry-run
would remove risk on trades: lag 3
$ leat group rm risk --topic trades --yes
removed risk on trades
$ leat group rm risk --topic wide --yes -o json
{
  "dry_run": false,
  "group": "risk",
  "topic": "wide",
  "mode": "stream",
  "generation": 2,
  "members": [],
  "lag": 0,
  "lag_seconds": <n>,
  "per_partition": [
    {
      "partition": 0,
      "lag": 0,
      "lag_seconds": <n>
    },
    {
      "partition": 1,
      "committed": 1,
      "lag": 0,
      "lag_seconds": <n>
    }
  ]
}
$ leat group ls -o json
[]
`)
}

// TestLagOfUnevenPartitions: the age is found although a subscription has one offset for all partitions.
func TestLagOfUnevenPartitions(t *testing.T) {
	d := newDesk(t)
	d.create("t", leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	for range 10 {
		d.must("pub t x --partition 0")
	}
	d.must("sub t --group g --count 9")
	got := d.must("group describe g --topic t -o json")
	if strings.Count(got, "lag_seconds") != 3 || !strings.Contains(got, `"committed": 9`) {
		t.Errorf("describe printed %s; want every lag in seconds", got)
	}
}

func TestGroupErrors(t *testing.T) {
	d := newDesk(t, "trades", "other")
	d.must("pub trades a")
	d.must("sub trades --group risk --count 1")
	d.golden(`
$ leat group describe rsk
error: leat: describe group "rsk": the group does not exist (LEAT-6002)
hint: did you mean "risk"?
$ leat group describe audit
error: leat: describe group "audit": the group does not exist (LEAT-6002)
hint: a group exists from its first subscription on: leat group ls
$ leat group describe risk --topic trade
error: leat: describe group "risk" on topic "trade": the topic does not exist (LEAT-2003)
hint: did you mean "trades"? Otherwise create it: leat topic create trade
$ leat group rm risk --topic other --yes
error: leat: remove group "risk" on topic "other": the group does not exist (LEAT-6002)
hint: did you mean "risk"?
$ leat group reset risk --topic trades --to 2 --dry-run
error: leat: reset group "risk": the offset is not in the log: offset 2, partition 0 has [0, 1) (LEAT-3008)
hint: read from leat.Earliest, or from an offset within the range the message names
`)
	for line, want := range map[string]int{
		"group reset risk":                                     2,
		"group reset risk --topic trades":                      2,
		"group reset risk --topic trades --to there":           2,
		"group reset risk --topic trades --to 5":               3,
		"group reset nobody --topic trades --to latest":        3,
		"group rm risk --topic trades":                         2,
		"group rm risk --yes":                                  2,
		"group rm nobody --topic trades --yes":                 3,
		"group describe":                                       2,
		"group lss":                                            2,
		"group reset risk --topic trades --to latest --dry-ru": 2,
	} {
		if got := d.run(line); got.code != want || got.stdout != "" || !strings.Contains(got.stderr, "\nhint: ") {
			t.Errorf("leat %s = %+v; want exit code %d, an error and a hint", line, got, want)
		}
	}
}

// TestGroupActive: a group that reads is neither reset nor removed.
func TestGroupActive(t *testing.T) {
	d := newDesk(t, "trades")
	d.must("pub trades a")
	ctx, cancel := context.WithCancel(t.Context())
	out := newScreen("a\n")
	done := make(chan int, 1)
	go func() { done <- d.start(nil, out, newScreen("")).run(ctx, strings.Fields("sub trades --group risk")) }()
	<-out.seen
	for _, line := range []string{
		"group reset risk --topic trades --to earliest", "group reset risk --topic trades --to earliest --dry-run",
		"group rm risk --topic trades --yes", "group rm risk --topic trades --dry-run",
	} {
		if got := d.run(line); got.code != 1 || !strings.Contains(got.stderr, "LEAT-6004") {
			t.Errorf("leat %s = %+v; want GROUP_ACTIVE", line, got)
		}
	}
	d.wait("what was printed is acknowledged", func() bool {
		return strings.Contains(d.must("group ls"), "risk   trades  stream        1    0")
	})
	cancel()
	if code := <-done; code != exitInterrupted {
		t.Errorf("sub: exit code %d", code)
	}
}

// TestGroupPace: a group that is watched tells its pace; one that stands still is never done.
func TestGroupPace(t *testing.T) {
	d := newGroupDesk(t)
	d.golden(`
$ leat group ls --over 100ms
GROUP  TOPIC   MODE    MEMBERS  LAG AGE  ACKED/S  DONE IN
risk   trades  stream        0    2 <age>        0    never
risk   wide    stream        0    0 <age>        -        -
`)
	got := d.must("group describe risk --topic trades --over 100ms -o json")
	if strings.Count(got, `"acked_per_sec": 0`) != 2 || strings.Contains(got, "zero_in_seconds") {
		t.Errorf("describe printed %s; want a pace of 0 and no end", got)
	}
	for line, want := range map[string]string{
		"group ls --over 1ms": "--over 1ms: want 100ms to 1m0s", "group ls --over -1s": "--over -1s",
		"group describe risk --over 2m": "--over 2m",
	} {
		if got := d.run(line); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want exit code 2 and %q", line, got, want)
		}
	}
	doc := admindoc.LagOf(leat.GroupLag{Records: 30, Time: time.Second, AckRate: 2.5,
		TimeToZero: 12 * time.Second})
	if cells := paced(&doc, time.Second, nil); strings.Join(cells, " ") != "2.5 12s" {
		t.Errorf("the cells of a group that is done in 12 s: %q", cells)
	}
}
