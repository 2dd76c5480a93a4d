package main

import (
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// newLetterDesk has four letters of group risk on trades, as the group's node writes them, and a message that
// somebody else published among them.
func newLetterDesk(t *testing.T) *desk {
	d := newDesk(t, "trades", "quakes", "trades.dlq.risk")
	p, err := d.bus.Producer("trades.dlq.risk")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	codes := []core.Code{core.CodeRejected, core.CodeAttemptsExhausted}
	for i := range int64(4) {
		origin := core.DeadLetterOrigin{Topic: "trades", Offset: 10 + i, Time: 1767225600_000_000_000,
			Group: "risk", Attempts: 3, Code: codes[i%2], Reason: "no \x1b[31mprice"}
		m := leat.Message{Key: []byte{'a' + byte(i)}}
		m.Value, m.Headers = origin.Wrap([]byte(strings.Repeat("x", int(1+i*20))),
			[]leat.Header{{Key: "region", Value: []byte("eu")}})
		if _, err := p.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Publish(t.Context(), leat.Message{Value: []byte("stranger")}); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDeadLetters(t *testing.T) { newLetterDesk(t).golden(letterScript) }

const letterScript = `
$ leat dlq ls
DEAD LETTERS     PENDING  REDRIVEN  DROPPED
trades.dlq.risk        5         0        0
$ leat dlq show trades.dlq.risk --limit 1 -o json
[
  {
    "topic": "trades.dlq.risk",
    "partition": 0,
    "offset": 0,
    "time": "2026-11-26T08:00:00.000000000Z",
    "key": "a",
    "value": "x",
    "headers": [
      {
        "key": "region",
        "value": "eu"
      }
    ],
    "key_bytes": 1,
    "value_bytes": 1,
    "origin": {
      "topic": "trades",
      "partition": 0,
      "offset": 10,
      "time": "2026-01-01T00:00:00.000000000Z",
      "group": "risk",
      "attempts": 3,
      "code": "LEAT-7002",
      "reason": "no \u001b[31mprice"
    }
  }
]
$ leat dlq show trades.dlq.risk --code rejected --filter region=eu -k c
PARTITION  OFFSET  DIED                            KEY  VALUE                              CODE      ATTEMPTS  FROM         REASON
        0       2  2026-11-26T08:00:00.000000000Z  c    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  REJECTED         3  trades/0/12  no \x1b[31mprice
$ leat dlq redrive trades.dlq.risk --dry-run --code LEAT-7003
would have redriven 2 of 5 dead letters of trades.dlq.risk
$ leat dlq redrive trades.dlq.risk --code 7003 --limit 1 --rate 1000
redriven 1 of 5 dead letters of trades.dlq.risk
$ leat dlq redrive trades.dlq.risk -k a --to quakes -o json
{
  "name": "trades.dlq.risk",
  "to": "quakes",
  "dry_run": false,
  "pending": 4,
  "redriven": 1,
  "failed": 0
}
$ leat dlq drop trades.dlq.risk --until 24h --yes
dropped 0 of 3 dead letters of trades.dlq.risk
$ leat dlq drop trades.dlq.risk --since 24h --until 0s --limit 2 --yes
dropped 2 of 3 dead letters of trades.dlq.risk
$ leat dlq show trades.dlq.risk --partition 0 --from 4
PARTITION  OFFSET  DIED                            KEY  VALUE     CODE  ATTEMPTS  FROM  REASON
        0       4  2026-11-26T08:00:00.000000000Z  -    stranger  -            -  -     not a dead letter
$ leat dlq redrive trades.dlq.risk
redriven 1 of 1 dead letters of trades.dlq.risk
$ leat dlq ls -o yaml
- name: trades.dlq.risk
  topic: trades
  group: risk
  pending: 0
  redriven: 3
  dropped: 2
  per_partition:
  - partition: 0
    node: 0
    pending: 0
    redriven: 3
    dropped: 2
$ leat sub trades --from earliest --count 2 -f '%k %h %v\n'
b region:eu xxxxxxxxxxxxxxxxxxxxx
  stranger
`

func TestDeadLetterErrors(t *testing.T) {
	d := newLetterDesk(t)
	d.golden(`
$ leat dlq show trades.dlq.rsk
error: leat: show dead letters "trades.dlq.rsk": the topic does not exist (LEAT-2003)
hint: did you mean "trades.dlq.risk"?
$ leat dlq redrive trades
error: leat: redrive dead letters "trades": the topic does not exist (LEAT-2003)
hint: dead letters are in topics that are named TOPIC.dlq.GROUP: leat dlq ls
$ leat dlq redrive trades.dlq.risk --to nowhere -o json
{
  "name": "trades.dlq.risk",
  "to": "nowhere",
  "dry_run": false,
  "pending": 5,
  "redriven": 0,
  "failed": 0
}
error: leat: open a producer on topic "nowhere": the topic does not exist (LEAT-2003)
hint: topics are never created implicitly: create it with node.WithTopic or bus.CreateTopic
`)
	d.create("small", leat.TopicConfig{MaxRecordBytes: 100})
	got := d.run("dlq redrive trades.dlq.risk --to small")
	if got.code != 1 || !strings.Contains(got.stderr, "LEAT-2004") ||
		got.stdout != "redriven 4 of 5 dead letters of trades.dlq.risk, 1 failed and stay\n" {
		t.Errorf("letters that are too large: %+v", got)
	}
	for line, want := range map[string]int{
		"dlq show":                            2,
		"dlq shw":                             2,
		"dlq ls x":                            2,
		"dlq show trades.dlq.risk --limit -1": 2,
		"dlq show trades.dlq.risk --code nothing":          2,
		"dlq show trades.dlq.risk --code 0":                2,
		"dlq show trades.dlq.risk --code 70000":            2,
		"dlq show trades.dlq.risk --since soon":            2,
		"dlq show trades.dlq.risk --since -5m":             2,
		"dlq show trades.dlq.risk --until soon":            2,
		"dlq show trades.dlq.risk --filter region":         2,
		"dlq show trades.dlq.risk --from 3":                2,
		"dlq show trades.dlq.risk --from -3":               2,
		"dlq show trades.dlq.risk --partition 1":           3,
		"dlq redrive trades.dlq.risk --rate -1":            2,
		"dlq redrive trades.dlq.risk --rate NaN":           2,
		"dlq redrive trades.dlq.risk --to trades.dlq.risk": 2,
		"dlq drop trades.dlq.risk":                         2,
		"dlq drop trades.dlq.other --yes":                  3,
	} {
		got := d.run(line)
		if got.code != want || !strings.Contains(got.stderr, "\nhint: ") {
			t.Errorf("leat %s = %+v; want exit code %d, an error and a hint", line, got, want)
		}
	}
}
