package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

// handles replaces what differs from run to run: when a message was stored, its place and its tag.
func handles(text string) string {
	text = regexp.MustCompile(`stored("?): "[^"]*"`).ReplaceAllString(text, `stored$1: "<time>"`)
	text = regexp.MustCompile(`d1\.(\d+)\.(\d+)\.\d+\.[0-9a-f]{8}`).ReplaceAllString(text, "d1.$1.$2.<handle>")
	return regexp.MustCompile(`--after (\d+)\.0\.\d+`).ReplaceAllString(text, "--after $1.0.<offset>")
}

// newDelayDesk has four messages that wait, from 2035 on.
func newDelayDesk(t *testing.T) *desk {
	d := newDesk(t, "trades", "quakes")
	for _, line := range []string{
		"pub trades 110 -k ACME --at 2035-01-03", "pub trades 111 -k ACME --at 2035-01-01T01:00:00+01:00",
		"pub trades 112 --at 2035-01-02", "pub quakes x -k '' --at 2035-01-04",
	} {
		d.must(line)
	}
	return d
}

func TestDelay(t *testing.T) {
	d := newDelayDesk(t)
	d.goldenAs(delayScript, handles)
	left := strings.Fields(d.must("delay ls --topic trades"))
	handle := left[6] // behind the names of the columns
	d.goldenAs(strings.ReplaceAll(`
$ leat delay cancel <H>
<H> cancelled
$ leat delay cancel <H> d1.99.0.0.00000000
<H> cancelled
d1.99.0.0.00000000 unknown
error: 1 of 2 messages were not cancelled
hint: fired means that a message is in its topic already: leat delay ls lists those that wait
$ leat delay cancel <H> -o json
{
  "cancelled": 1,
  "others": 0,
  "messages": [
    {
      "handle": "<H>",
      "outcome": "cancelled"
    }
  ]
}
$ leat delay ls --topic trades
HANDLE  DUE  TOPIC  PARTITION  KEY  BYTES
`, "<H>", handle), handles)
}

const delayScript = `
$ leat delay ls
HANDLE              DUE                             TOPIC   PARTITION  KEY   BYTES
d1.16.0.0.00000000  2035-01-01T00:00:00.000000000Z  trades          0  ACME     32
d1.16.0.0.00000000  2035-01-02T00:00:00.000000000Z  trades          0  -        32
d1.16.0.0.00000000  2035-01-03T00:00:00.000000000Z  trades          0  ACME     32
d1.17.0.0.00000000  2035-01-04T00:00:00.000000000Z  quakes          0           32
$ leat delay ls --limit 1 -k ACME
HANDLE              DUE                             TOPIC   PARTITION  KEY   BYTES
d1.16.0.0.00000000  2035-01-01T00:00:00.000000000Z  trades          0  ACME     32
there may be more; go on with --after 2051222400000.0.1
$ leat delay ls --after 2051222400000.0.999 --to 2035-01-03 -o json
{
  "messages": [
    {
      "handle": "d1.16.0.0.00000000",
      "topic": "trades",
      "partition": 0,
      "due": "2035-01-02T00:00:00.000000000Z",
      "stored": "2026-11-26T08:00:00.000000000Z",
      "bytes": 32
    }
  ]
}
$ leat delay ls --topic quakes --from 1h -o yaml
messages:
- handle: d1.17.0.0.00000000
  topic: quakes
  partition: 0
  due: "2035-01-04T00:00:00.000000000Z"
  stored: "2026-11-26T08:00:00.000000000Z"
  key: ""
  bytes: 32
$ leat delay ls --to -1m
HANDLE  DUE  TOPIC  PARTITION  KEY  BYTES
$ leat delay ls --topic trade
error: leat: list delayed messages of topic "trade": the topic does not exist (LEAT-2003)
hint: did you mean "trades"? Otherwise create it: leat topic create trade
$ leat delay cancel -k ACME --dry-run
would have cancelled 2 delayed messages
$ leat delay cancel -k ACME
error: leat delay cancel needs --yes where nobody can be asked
hint: see: leat delay cancel --help
$ leat delay cancel -k ACME --to 2035-01-02 --yes
cancelled 1 delayed messages
$ leat delay cancel -k ACME --yes -o json
{
  "cancelled": 1,
  "others": 0
}
$ leat delay cancel -k ACME --yes
cancelled 0 delayed messages
`

// TestDelayReschedule: a message gets another time and another handle.
func TestDelayReschedule(t *testing.T) {
	d := newDelayDesk(t)
	old := strings.Fields(d.must("delay ls --topic trades"))[6]
	d.goldenAs("\n$ leat delay reschedule "+old+` --at 2035-02-01T01:00:00+01:00
d1.16.0.0.00000000 2035-02-01T00:00:00.000000000Z
$ leat delay ls --from 2035-01-05
HANDLE              DUE                             TOPIC   PARTITION  KEY   BYTES
d1.16.0.0.00000000  2035-02-01T00:00:00.000000000Z  trades          0  ACME     32
$ leat delay cancel `+old+`
`+old+` rescheduled
error: 1 of 1 messages were not cancelled
hint: fired means that a message is in its topic already: leat delay ls lists those that wait
$ leat delay reschedule `+old+` --delay 5m
`+old+` rescheduled
error: the message was not rescheduled: rescheduled
hint: leat delay ls lists those that wait
$ leat delay reschedule `+old+` --delay 5m -o json
{
  "handle": "`+old+`",
  "outcome": "rescheduled"
}
error: the message was not rescheduled: rescheduled
hint: leat delay ls lists those that wait
`, handles)
	moved := strings.Fields(d.must("delay ls --from 2035-01-05"))[6]
	var doc admindoc.Rescheduled
	text := d.must("delay reschedule " + moved + " --at 2001-01-01 -o json")
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.Handle != moved || doc.New == moved ||
		doc.Outcome != "rescheduled" || !strings.HasPrefix(doc.Due, "20") {
		t.Errorf("reschedule printed %s, %v", text, err)
	}
	if got := d.must("sub trades --from earliest --count 1"); got != "111\n" {
		t.Errorf("due now: %s", got)
	}
}

// TestPublishLater: what is published with --delay comes once it is due, and a batch of lines too.
func TestPublishLater(t *testing.T) {
	d := newDesk(t, "trades")
	d.goldenAs(`
$ leat pub trades 110 -k ACME --delay 1ms
0 d1.16.0.0.00000000
$ leat pub trades 111 -k ACME --at 2001-01-01 -o json
{"topic":"trades","published":1,"bytes":7,"seconds":0.1,"msgs_per_sec":1,"partition":0,"handle":"d1.16.0.0.00000000"}
$ leat pub trades 112 --delay 1ms --ack none
0 -
`, func(text string) string { return handles(times(text)) })
	got := d.feed(t.Context(), strings.NewReader("113\n114\n"), "pub", "trades", "-", "--delay", "2ms")
	if got.code != 0 {
		t.Fatalf("pub of lines = %+v", got)
	}
	lines := strings.Fields(d.must("sub trades --from earliest --count 5"))
	for _, want := range []string{"110", "111", "112", "113", "114"} {
		if n := strings.Count(strings.Join(lines, " "), want); n != 1 {
			t.Errorf("%s came %d times: %v", want, n, lines)
		}
	}
	list := d.must("sub trades --from earliest --count 1 -o json")
	if !strings.Contains(list, `"leat-delay-id"`) {
		t.Errorf("delivered without its handle: %s", list)
	}
}

func TestDelayUsage(t *testing.T) {
	d := newDesk(t, "trades")
	for line, want := range map[string]string{
		"delay":                             "",
		"delay lst":                         `did you mean "ls"?`,
		"delay ls x":                        "unexpected argument",
		"delay ls --limit 0":                "from 1 to 1000",
		"delay ls --limit 1001":             "from 1 to 1000",
		"delay ls --from soon":              "--from",
		"delay ls --to 2035-13-01":          "--to",
		"delay cancel":                      "nothing to cancel",
		"delay cancel x":                    "handle",
		"delay cancel d1.16.0.0.00000000 x": "handle",
		"delay cancel d1.16.0.0.00000000 --topic trades":               "want one of them",
		"delay cancel d1.16.0.0.00000000 --dry-run":                    "want one of them",
		"delay cancel --topic trades":                                  "--yes",
		"delay reschedule":                                             "want HANDLE",
		"delay reschedule x --delay 1m":                                "handle",
		"delay reschedule d1.16.0.0.00000000":                          "want --at or --delay",
		"delay reschedule d1.16.0.0.00000000 --delay 1m --at 2035-1-1": "want one of them",
		"delay reschedule d1.16.0.0.00000000 --delay 0s":               "--delay",
		"delay reschedule d1.16.0.0.00000000 --at soon":                "--at",
		"pub trades x --delay 1m --at 2035-01-01":                      "want one of them",
		"pub trades x --delay 1us":                                     "--delay",
		"pub trades x --delay -1m":                                     "--delay",
		"pub trades x --delay 4000d":                                   "--delay",
		"pub trades x --delay x":                                       "--delay",
		"pub trades x --at tomorrow":                                   "--at",
		"pub trades x --at ''":                                         "--at",
		"pub trades x --delay 1m --id a":                               "--id",
	} {
		code := exitUsage
		if want == "" {
			code = exitOK
		}
		if got := d.run(line); got.code != code || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want exit code %d and %q", line, got, code, want)
		}
	}
	for line, want := range map[string]string{
		"pub trades x --at 2200-01-01":                        "at most",
		"delay ls --after x":                                  "page",
		"delay reschedule d1.16.0.0.00000000 --at 2200-01-01": "at most",
		"delay reschedule d1.99.0.0.00000000 --delay 1m":      "unknown",
	} {
		if got := d.run(line); got.code == exitOK || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want an error with %q", line, got, want)
		}
	}
}

// TestDelayCancelMany: more than a page is cancelled, some at the same time.
func TestDelayCancelMany(t *testing.T) {
	d := newDesk(t, "trades")
	p, err := d.bus.Producer("trades", leat.WithAck(core.AckPage))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const n = leat.MaxDelayedPage + 100
	for range n {
		p.PublishAsync(leat.Message{Delay: time.Hour}, nil)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.must("delay cancel --topic trades --yes"); got != "cancelled 1,100 delayed messages\n" {
		t.Errorf("cancel = %s", got)
	}
	if got := d.must("delay ls -o json"); got != "{\n  \"messages\": []\n}\n" {
		t.Errorf("left: %s", got)
	}
}
