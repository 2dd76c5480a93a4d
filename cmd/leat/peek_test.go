package main

import (
	"strings"
	"testing"

	"github.com/leatbus/leat"
)

func TestPeek(t *testing.T) {
	d := newDesk(t, "trades")
	d.create("wide", leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	for _, line := range []string{
		"pub trades 108 -k ACME", "pub trades 109 -k ACME", "pub trades 77 -k EMCA -H source:desk",
		"pub wide x --partition 0", "pub wide y --partition 1", "pub wide z --partition 1",
	} {
		d.must(line)
	}
	d.golden(`
$ leat topic peek trades
108
109
77
$ leat topic peek trades --key ACME --from 1 -f '%p:%o %k %v\n'
0:1 ACME 109
$ leat topic peek trades --from 1 --to 2
109
$ leat topic peek trades --bytes 1 --limit 2
1
1
looked at 2; go on with --after 0:2
$ leat topic peek trades --after 0:2 -o json
{"topic":"trades","partition":0,"offset":2,"time":"<time>","key":"EMCA","value":"77","headers":[{"key":"source","value":"desk"}],"key_bytes":4,"value_bytes":2}
$ leat topic peek trades --key ''
$ leat topic peek wide --scan 1
x
looked at 1; go on with --after 1:-1
$ leat topic peek wide --after 1:-1 --limit 1
y
looked at 1; go on with --after 1:1
$ leat topic peek wide --partition 1 --from -15m
y
z
$ leat topic peek wide --partition 2
error: leat: read topic "wide": the topic has no such partition: partition 2 of 2 (LEAT-2012)
hint: use a partition from 0 to the topic's partitions minus one
$ leat topic peek trades --bytes 1 --limit 1 -o yaml
---
topic: trades
partition: 0
offset: 0
time: "<time>"
key: A
value: "1"
key_bytes: 4
value_bytes: 3
looked at 1; go on with --after 0:1
$ leat pub wide w -k ACME --id order-17
0 1
$ leat topic peek wide --id order-17 -f '%p:%o %k %v\n'
0:1 ACME w
$ leat topic peek wide --id order-17 --key EMCA
$ leat topic peek wide --id order-1 --scan 2
looked at 2; go on with --after 1:-1
$ leat topic peek wide --id order-1 --key ACME --scan 3
looked at 3; go on with --after 1:1
$ leat topic peek trade
error: leat: describe topic "trade": the topic does not exist (LEAT-2003)
hint: did you mean "trades"? Otherwise create it: leat topic create trade
$ leat group ls -o json
[]
`)
}

func TestPeekUsage(t *testing.T) {
	d := newDesk(t, "trades")
	for line, want := range map[string]string{
		"topic peek": "want TOPIC", "topic peek trades --to x": "--to", "topic peek trades --from x": "--from",
		"topic peek trades --limit 0": "--limit", "topic peek trades --limit 1001": "--limit",
		"topic peek trades --scan -1": "--scan", "topic peek trades --after 1": "PARTITION:OFFSET",
		"topic peek trades --after 0:-2": "PARTITION:OFFSET", "topic peek trades --after -1:0": "PARTITION:OFFSET",
		"topic peek trades --bytes x": "--bytes", "topic peek trades -f %q": "-f",
	} {
		if got := d.run(line); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want exit code 2 and %q", line, got, want)
		}
	}
}

// TestWhere: sub and peek print what passes a filter.
func TestWhere(t *testing.T) {
	d := newDesk(t, "trades")
	for _, line := range []string{
		"pub trades 108 -k ACME -H lots:5", "pub trades 109 -k ACME -H lots:50", "pub trades 77 -k EMCA",
		"pub trades -k ACME --tombstone",
	} {
		d.must(line)
	}
	d.golden(`
$ leat topic peek trades --where 'int(header("lots")) > 5'
109
$ leat topic peek trades --where 'header("lots") == nil' -f '%k %v\n'
EMCA 77
ACME 
$ leat sub trades --from earliest --where 'key == "ACME" and size > 4' --count 2
108
109
$ leat sub trades --from earliest --where 'tombstone' --count 1 -o json
{"topic":"trades","partition":0,"offset":3,"time":"<time>","key":"ACME"}
$ leat sub trades --from earliest --group g --where 'key == "EMCA"' --count 1
77
$ leat sub trades --from earliest --speed 1000x --where 'header("lots") != nil' --count 2
108
109
$ leat sub trades --from 1 --partition 0 --speed 1000 --max-gap 1ms --count 2
109
77
$ leat sub trades --from earliest --where 'kay == "EMCA"'
error: leat: filter "kay == \"EMCA\"": invalid configuration: column 1, at "kay == \"EMCA\"": there is no "kay": want header(…), headers, key, id, size, time, topic, partition, offset or tombstone (LEAT-1001)
hint: docs/filters.md has the names, operators and functions of filters
`)
	for line, want := range map[string]string{
		"sub trades --speed 2x": "--from", "sub trades --from latest --speed 2x": "--from",
		"sub trades --from earliest --group g --speed 2x": "--group", "sub trades --from 0 --speed fast": "--speed",
		"sub trades --from 0 --speed 0x": "--speed", "sub trades --from 0 --max-gap 1s": "--max-gap",
		"sub trades --from 0 --speed 1x --max-gap -1s": "--max-gap", "pub trades x -k a --tombstone": "--tombstone",
		"pub trades --tombstone": "--tombstone",
	} {
		if got := d.run(line); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want exit code 2 and %q", line, got, want)
		}
	}
}
