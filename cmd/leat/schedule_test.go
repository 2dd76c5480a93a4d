package main

import (
	"strings"
	"testing"
)

func TestSchedule(t *testing.T) {
	d := newDesk(t, "trades", "quakes")
	const put = "schedule put trades close '0 18 1 1 *' '{}' --zone Europe/Berlin -k ACME -H a:b --ttl 1h"
	for line, want := range map[string]string{
		put: "-01-01T18:00:00+01:00",
		"schedule put quakes ping '@every 2h' ping --missed skip": ":",
	} {
		lines := strings.Split(strings.TrimSpace(d.must(line)), "\n")
		if len(lines) != runsShown || !strings.HasPrefix(lines[0], "next ") || !strings.Contains(lines[2], want) {
			t.Errorf("leat %s printed %q", line, lines)
		}
	}
	d.golden(scheduleScript)
	for line, want := range map[string]string{
		"schedule pt":                                "did you mean",
		"schedule put trades a @daily":               "want TOPIC, NAME, CRON and BODY",
		"schedule put trades a 61 x":                 "1 fields",
		"schedule put trades a '61 * * * *' x":       "minute",
		"schedule put trades a @daily x --zone Mars": "time zone",
		"schedule put trades a @daily x --missed no": "--missed",
		"schedule put trades a @daily x -H y":        "name:value",
		"schedule put trades a/b @daily x":           "LEAT-2001",
		"schedule put trade a @daily x":              "did you mean",
		"schedule rm trades":                         "want TOPIC and NAME",
		"schedule ls x":                              "unexpected argument",
	} {
		if got := d.run(line); got.code == exitOK || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want an error with %q", line, got, want)
		}
	}
}

const scheduleScript = `
$ leat schedule ls --topic trades
TOPIC   NAME   CRON        ZONE           MISSED  NEXT
trades  close  0 18 1 1 *  Europe/Berlin  once    2027-01-01T17:00:00.000000000Z
$ leat schedule ls -o json
[
  {
    "topic": "quakes",
    "name": "ping",
    "cron": "@every 2h",
    "zone": "UTC",
    "missed": "skip",
    "partition": 0,
    "next": [
      "2027-01-01T17:00:00.000000000Z"
    ],
    "value": "ping"
  },
  {
    "topic": "trades",
    "name": "close",
    "cron": "0 18 1 1 *",
    "zone": "Europe/Berlin",
    "missed": "once",
    "partition": 0,
    "next": [
      "2027-01-01T17:00:00.000000000Z"
    ],
    "key": "ACME",
    "value": "{}",
    "headers": [
      {
        "key": "a",
        "value": "b"
      }
    ],
    "ttl_ms": 3600000
  }
]
$ leat schedule put trades noon '0 12 1 1 *' x -o json
{
  "topic": "trades",
  "name": "noon",
  "cron": "0 12 1 1 *",
  "zone": "UTC",
  "missed": "once",
  "partition": 0,
  "next": [
    "2027-01-01T12:00:00.000000000Z",
    "2028-01-01T12:00:00.000000000Z",
    "2029-01-01T12:00:00.000000000Z"
  ],
  "value": "x"
}
$ leat schedule rm trades noon
removed noon of trades
$ leat schedule rm trades close
removed close of trades
$ leat schedule rm trades close
error: topic "trades" has no schedule "close"
hint: leat schedule ls lists them
$ leat schedule ls --topic trades
TOPIC  NAME  CRON  ZONE  MISSED  NEXT
$ leat schedule ls --topic trade
error: leat: list schedules of topic "trade": the topic does not exist (LEAT-2003)
hint: did you mean "trades"? Otherwise create it: leat topic create trade
`

func TestScheduleNext(t *testing.T) {
	d := newDesk(t)
	d.goldenAs(`
$ leat schedule next '30 2 * * *' --zone Europe/Berlin --from 2026-03-28
next Sat 2026-03-28T02:30:00+01:00
next Sun 2026-03-29T03:00:00+02:00
next Mon 2026-03-30T02:30:00+02:00
$ leat schedule next '@every 90s' --from 2026-03-28T12:00:00.25Z --count 2
next Sat 2026-03-28T12:01:30.25Z
next Sat 2026-03-28T12:03:00.25Z
$ leat schedule next '@yearly' --from 2026-03-28 --count 1 -o json
{
  "cron": "@yearly",
  "zone": "UTC",
  "next": [
    "2027-01-01T00:00:00.000000000Z"
  ]
}
`, func(text string) string { return text })
	for line, want := range map[string]string{
		"schedule next":                       "want CRON",
		"schedule next x":                     "1 fields",
		"schedule next '0 0 30 2 *'":          "no such day",
		"schedule next @daily --zone Local":   "time zone",
		"schedule next @daily --from then":    "--from",
		"schedule next @daily --count 0":      "--count",
		"schedule next @daily --count 100000": "--count",
	} {
		if got := d.run(line); got.code == exitOK || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want an error with %q", line, got, want)
		}
	}
	if got := strings.Count(d.must("schedule next '* * * * *'"), "next "); got != runsShown {
		t.Errorf("%d runs, want %d", got, runsShown)
	}
}
