package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/leatbus/leat"
)

func TestTopicVerbs(t *testing.T) {
	d := newDesk(t)
	testCreating(d)
	testLooking(d)
}

func testCreating(d *desk) {
	d.golden(`
$ leat topic ls -o json
[]
$ leat topic create quakes --partitions 2
created quakes: partitions 2, ack disk
$ leat topic create clicks --ack page --retention-bytes 1GiB --max-record-bytes 64KiB -o json
{
  "name": "clicks",
  "partitions": 1,
  "ack": "page",
  "cleanup": "delete",
  "retention_ms": 604800000,
  "retention_bytes": 1073741824,
  "retention_records": 0,
  "max_record_bytes": 65536,
  "segment_bytes": 67108864,
  "messages": 0,
  "bytes": 0,
  "unavailable": 0
}
$ leat topic create logs -o yaml
name: logs
partitions: 1
ack: disk
cleanup: delete
retention_ms: 604800000
retention_bytes: 0
retention_records: 0
max_record_bytes: 1048576
segment_bytes: 67108864
messages: 0
bytes: 0
unavailable: 0
`)
}

func testLooking(d *desk) {
	d.golden(`
$ leat pub quakes hello -k a
1 0
$ leat topic ls
TOPIC   PARTITIONS  ACK   MESSAGES       SIZE        KEEPS
clicks           1  page         0        0 B  7d, 1.0 GiB
logs             1  disk         0        0 B           7d
quakes           2  disk         1  256.0 KiB           7d
$ leat topic describe quakes
quakes: ack disk, keeps 7d per partition, records up to 1MiB, segments of 64MiB

PARTITION  NODE  START  HIGH WATER  DURABLE       SIZE  STATE
        0     0      0           0        0        0 B  ok
        1     0      0           1        1  256.0 KiB  ok
$ leat topic describe clicks -o yaml
name: clicks
partitions: 1
ack: page
cleanup: delete
retention_ms: 604800000
retention_bytes: 1073741824
retention_records: 0
max_record_bytes: 65536
segment_bytes: 67108864
messages: 0
bytes: 0
unavailable: 0
per_partition:
- partition: 0
  node: 0
  start: 0
  high_water: 0
  end: 0
  durable_end: 0
  bytes: 0
$ leat topic rm clicks --dry-run
would remove clicks: 0 messages, and the place of 0 groups
$ leat topic rm clicks --yes
removed clicks: 0 messages
$ leat topic rm quakes --yes -o json
{
  "topic": "quakes",
  "dry_run": false,
  "messages": 1,
  "groups": []
}
$ leat topic ls -o yaml
- name: logs
  partitions: 1
  ack: disk
  cleanup: delete
  retention_ms: 604800000
  retention_bytes: 0
  retention_records: 0
  max_record_bytes: 1048576
  segment_bytes: 67108864
  messages: 0
  bytes: 0
  unavailable: 0
`)
}

func TestTopicErrors(t *testing.T) {
	d := newDesk(t, "quakes", "trades")
	d.golden(`
$ leat topic create quakes
error: leat: create topic "quakes": the topic exists already: its id is 16 (LEAT-2002)
hint: pick another name, or delete the topic first
$ leat topic describe quaks
error: leat: describe topic "quaks": the topic does not exist (LEAT-2003)
hint: did you mean "quakes"? Otherwise create it: leat topic create quaks
$ leat topic describe orders
error: leat: describe topic "orders": the topic does not exist (LEAT-2003)
hint: topics are never created implicitly: leat topic create orders
$ leat topic rm trade --yes
error: leat: remove topic "trade": the topic does not exist (LEAT-2003)
hint: did you mean "trades"? Otherwise create it: leat topic create trade
$ leat pub orders x
error: leat: publish to topic "orders": the topic does not exist (LEAT-2003)
hint: topics are never created implicitly: leat topic create orders
$ leat sub tradse
error: leat: subscribe to topic "tradse": the topic does not exist (LEAT-2003)
hint: did you mean "trades"? Otherwise create it: leat topic create tradse
$ leat topic rm trades
error: leat topic rm needs --yes where nobody can be asked
hint: see: leat topic rm --help
`)
	for line, want := range map[string]int{
		"topic create quakes":                         1,
		"topic create __meta":                         2,
		"topic create bad/name":                       2,
		"topic describe orders":                       3,
		"topic create x --ack quorum":                 2,
		"topic create x --ack everything":             2,
		"topic create x --partitions 16385":           2,
		"topic create":                                2,
		"topic create a b":                            2,
		"topic alter quakes":                          2,
		"topic alter orders --retention-bytes 1KiB":   3,
		"topic create x --retention 0.5s":             2,
		"topic create x --retention 7w":               2,
		"topic create x --retention -1":               2,
		"topic create x --retention d":                2,
		"topic create x --retention-records -1":       2,
		"topic create x --retention-records many":     2,
		"topic create x --retention-bytes 1XiB":       2,
		"topic create x --retention-bytes -1":         2,
		"topic create x --retention-bytes 9999999TiB": 2,
		"topic create x --max-record-bytes 17MiB":     2,
		"topic rm quakes":                             2,
		"topic frob":                                  2,
	} {
		if got := d.run(line); got.code != want || got.stdout != "" || !strings.Contains(got.stderr, "\nhint: ") {
			t.Errorf("leat %s = %+v; want exit code %d, an error and a hint", line, got, want)
		}
	}
	if got := d.must("topic ls"); strings.Count(got, "\n") != 3 {
		t.Errorf("an error has created something:\n%s", got)
	}
}

// TestTopicRetention: every limit at creation and afterwards, and none for ever.
func TestTopicRetention(t *testing.T) {
	d := newDesk(t)
	d.golden(`
$ leat topic create a --retention none
created a: partitions 1, ack disk
$ leat topic create b --retention 36h --retention-bytes 1MiB --retention-records 5000
created b: partitions 1, ack disk
$ leat topic ls
TOPIC  PARTITIONS  ACK   MESSAGES  SIZE                        KEEPS
a               1  disk         0   0 B                          all
b               1  disk         0   0 B  36h, 1.0 MiB, 5,000 records
$ leat topic alter b --retention 0 --retention-records 0 --retention-bytes 0
altered b
retention: 36h → none
retention-bytes: 1.0 MiB → all
retention-records: 5,000 → all
$ leat topic alter b --retention 90s --retention-records 7 -o json
{
  "name": "b",
  "partitions": 1,
  "ack": "disk",
  "cleanup": "delete",
  "retention_ms": 90000,
  "retention_bytes": 0,
  "retention_records": 7,
  "max_record_bytes": 1048576,
  "segment_bytes": 67108864,
  "messages": 0,
  "bytes": 0,
  "unavailable": 0
}
$ leat topic alter a --retention 30d
altered a
retention: none → 30d
$ leat topic describe b
b: ack disk, keeps 1m30s, 7 records per partition, records up to 1MiB, segments of 64MiB

PARTITION  NODE  START  HIGH WATER  DURABLE  SIZE  STATE
        0     0      0           0        0   0 B  ok
$ leat topic create c --cleanup compact
created c: partitions 1, ack disk
$ leat topic create d --cleanup compact --retention 1h
created d: partitions 1, ack disk
$ leat topic ls
TOPIC  PARTITIONS  ACK   MESSAGES  SIZE                   KEEPS
a               1  disk         0   0 B                     30d
b               1  disk         0   0 B        1m30s, 7 records
c               1  disk         0   0 B      newest of each key
d               1  disk         0   0 B  newest of each key, 1h
$ leat topic create e --cleanup compress
error: leat: cleanup "compress": invalid configuration: want delete or compact (LEAT-1001)
hint: change the named field to a value within the named bound
$ leat topic alter a
error: nothing to change: want --retention, --retention-bytes, --retention-records, --max-record-bytes, --ttl or --dedup-window
hint: see: leat topic alter --help
`)
}

func TestSpan(t *testing.T) {
	for _, tt := range []struct {
		kind        *spanKind
		good        map[string]string
		bad         []string
		refusalLike string
	}{
		{&lifespans, map[string]string{"7d": "7d", "168h": "7d", "36h": "36h", "1h30m": "1h30m", "90s": "1m30s",
			"1s": "1s", "1.5s": "1.5s", "0": "none", "none": "none", "65535d": "65535d"},
			[]string{"", "d", "-1d", "65536d", "1.5d", "7", "1ms", "none2", "-1ns"}, "1s or more, such as 7d"},
		{&ttls, map[string]string{"1ms": "1ms", "3650d": "3650d", "0": "", "none": ""},
			[]string{"999us", "3651d", "-1s"}, "1ms to 3650d, such as 250ms, 90s or 7d, or none"},
		{&windows, map[string]string{"1s": "1s", "24h": "1d"}, []string{"0", "none", "25h"},
			"1s to 1d, such as 10m"},
		{&leases, map[string]string{"1ms": "1ms", "24h": "1d"}, []string{"0", "none", "25h"}, "1ms to 1d"},
	} {
		for text, want := range tt.good {
			s := span{kind: tt.kind}
			if err := s.Set(text); err != nil || s.String() != want {
				t.Errorf("%q = %q, %v; want %q", text, s.String(), err, want)
			}
		}
		for _, text := range tt.bad {
			s := span{value: 5, kind: tt.kind}
			err := s.Set(text)
			if err == nil || s.value != 5 || !strings.Contains(err.Error(), tt.refusalLike) {
				t.Errorf("%q was taken as %d, %v; want %q", text, s.value, err, tt.refusalLike)
			}
		}
	}
}

// TestConfirm: on a terminal the name must be typed.
func TestConfirm(t *testing.T) {
	d := newDesk(t, "trades")
	d.prepare = func(a *app) { a.stdinTerminal, a.stderrTerminal = true, true }
	for _, answer := range []string{"", "\n", "y\n", "trade\n"} {
		got := d.feed(t.Context(), strings.NewReader(answer), "topic", "rm", "trades")
		if got.code != 1 || !strings.Contains(got.stderr, "nothing was removed") {
			t.Errorf("answered %q: %+v; want exit code 1", answer, got)
		}
	}
	got := d.feed(t.Context(), strings.NewReader("trades\n"), "topic", "rm", "trades")
	if got.code != 0 || got.stdout != "removed trades: 0 messages\n" ||
		!strings.HasPrefix(got.stderr, "This removes topic trades with 0 messages for good. Type its name") {
		t.Errorf("answered with the name: %+v; want it removed", got)
	}
}

func TestUnreachable(t *testing.T) {
	var stdout, stderr bytes.Buffer
	a := newApp(strings.NewReader(""), &stdout, &stderr)
	a.dial = func(ctx context.Context, _ string, _ ...leat.DialOption) (*leat.Bus, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	code := a.run(t.Context(), []string{"topic", "ls", "--timeout", "10ms", "-s", "nowhere:1"})
	if code != 4 || stdout.Len() > 0 || !strings.Contains(stderr.String(), `connect to "nowhere:1"`) ||
		!strings.Contains(stderr.String(), "no answer within 10ms") {
		t.Errorf("an unreachable server: exit code %d, %s; want 4", code, &stderr)
	}
}

func TestEnvironment(t *testing.T) {
	d := newDesk(t, "trades")
	var address string
	d.prepare = func(a *app) {
		dial := a.dial
		a.dial = func(ctx context.Context, to string, options ...leat.DialOption) (*leat.Bus, error) {
			address = to
			return dial(ctx, to, options...)
		}
	}
	d.must("topic ls")
	if address != defaultServer {
		t.Errorf("without a word: dialed %q; want %q", address, defaultServer)
	}
	t.Setenv("LEAT_SERVER", "a:1,b:2")
	t.Setenv("LEAT_OUTPUT", "json")
	if got := d.must("topic ls"); address != "a:1,b:2" || !strings.HasPrefix(got, "[") {
		t.Errorf("with LEAT_SERVER and LEAT_OUTPUT: dialed %q, printed %q", address, got)
	}
	if got := d.must("topic ls -s c:3 -o table"); address != "c:3" || !strings.HasPrefix(got, "TOPIC") {
		t.Errorf("flags over the environment: dialed %q, printed %q", address, got)
	}
	t.Setenv("LEAT_OUTPUT", "xml")
	if got := d.run("topic ls"); got.code != exitUsage || !strings.Contains(got.stderr, "LEAT_OUTPUT") {
		t.Errorf("LEAT_OUTPUT=xml: %+v; want exit code 2", got)
	}
}
