package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// newQueueDesk has messages, and groups of all modes that are not through with them.
func newQueueDesk(t *testing.T) *desk {
	d := newDesk(t, "jobs")
	for _, line := range []string{
		"pub jobs a -k x", "pub jobs b -k y", "pub jobs c -k x", "pub jobs d --id four",
	} {
		d.must(line)
	}
	d.golden(`
$ leat sub jobs --group work --queue --count 1 -f '%a %v\n'
1 a
$ leat sub jobs --group work --queue --count 1 -o json
{"topic":"jobs","partition":0,"offset":1,"time":"2026-11-26T08:00:00.000000000Z","key":"y","value":"b","attempt":1}
$ leat sub jobs --group byname --key-shared --lease 1m --max-attempts 5 --count 2
a
b
$ leat group ls
GROUP   TOPIC  MODE        MEMBERS  LAG AGE  READY  LEASED  DELAYED
byname  jobs   key-shared        0    2 <age>      2       0        0
work    jobs   queue             0    2 <age>      2       0        0
$ leat sub jobs --group risk --count 1
a
$ leat group ls
GROUP   TOPIC  MODE        MEMBERS  LAG AGE  READY  LEASED  DELAYED
byname  jobs   key-shared        0    2 <age>      2       0        0
risk    jobs   stream            0    3 <age>      -       -        -
work    jobs   queue             0    2 <age>      2       0        0
`)
	return d
}

// TestQueueGroups: members share messages, each is delivered once, and the groups tell where the rest stands.
func TestQueueGroups(t *testing.T) {
	d := newQueueDesk(t)
	sub, err := d.bus.Subscribe("jobs", leat.Group("work"), leat.Queue(), leat.MaxHeld(2))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	failed := false
	for m, err := range sub.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if failed {
			break // with the lease of this one
		}
		failed = true
		if err := m.Nack(time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	d.golden(`
$ leat group show work
work on jobs: queue, members 1, lag 2, <age>

PARTITION  NEXT  READY  LEASED  DELAYED  LAG AGE
        0     4      0       1        1    2 <age>
$ leat group describe work -o json
[
  {
    "group": "work",
    "topic": "jobs",
    "mode": "queue",
    "generation": 0,
    "members": [
      "q3"
    ],
    "lag": 2,
    "lag_seconds": <n>,
    "ready": 0,
    "leased": 1,
    "delayed": 1,
    "per_partition": [
      {
        "partition": 0,
        "committed": 4,
        "lag": 2,
        "lag_seconds": <n>,
        "ready": 0,
        "leased": 1,
        "delayed": 1
      }
    ]
  }
]
`)
}

// TestQueueRefusals: what does not fit a group, or together, is refused with a way out.
func TestQueueRefusals(t *testing.T) {
	d := newQueueDesk(t)
	sub, err := d.bus.Subscribe("jobs", leat.Group("work"), leat.Queue())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for line, want := range map[string]string{
		"sub jobs --group work --count 1":                        "it is a queue group, not a stream group",
		"sub jobs --group work --key-shared --count 1":           "it is a queue group, not a key-shared group",
		"sub jobs --group risk --queue --count 1":                "it is a stream group, not a queue group",
		"sub jobs --group work --queue --lease 5s --count 1":     "Lease differs",
		"sub jobs --group work --queue --max-attempts 3 -o json": "MaxAttempts differs",
		"sub jobs --group byname --key-shared --partition 0":     "--partition and --group",
		"sub jobs --queue":                                        "need --group",
		"sub jobs --group g --queue --key-shared":                 "want one of them",
		"sub jobs --group g --max-held 5":                         "need --queue or --key-shared",
		"sub jobs --group g --lease 5s":                           "need --queue or --key-shared",
		"sub jobs --group g --queue --lease 0":                    "want a duration of 1ms to 1d",
		"sub jobs --group g --queue --max-held 0":                 "want a number from 1",
		"sub jobs --group g --queue --max-attempts none":          "want a number from 1",
		"sub jobs --group g --queue --read-at page --from latest": "--read-at",
	} {
		got := d.run(line)
		if got.code == 0 || got.stdout != "" || !strings.Contains(got.stderr, want) ||
			!strings.Contains(got.stderr, "\nhint: ") {
			t.Errorf("leat %s = %+v; want an error with %q, and a hint", line, got, want)
		}
	}
}

// waitingWriter is a reader of standard output who takes his time.
type waitingWriter struct {
	bytes.Buffer
	wait func()
}

// Write implements io.Writer.
func (w *waitingWriter) Write(p []byte) (int, error) {
	w.wait()
	return w.Buffer.Write(p)
}

// TestQueueLease: what was printed when its lease was over is told, and comes again.
func TestQueueLease(t *testing.T) {
	d := newDesk(t, "jobs")
	d.must("pub jobs a")
	out := &waitingWriter{wait: func() {
		d.wait("the lease is over", func() bool {
			groups, err := d.bus.Groups(t.Context())
			if err != nil || len(groups) != 1 {
				t.Fatalf("%+v, %v", groups, err)
			}
			return groups[0].QueueCounts().Leased == 0
		})
	}}
	var errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := strings.Fields("sub jobs --group work --queue --lease 500ms --count 1")
	code := d.start(nil, out, &errs).run(ctx, args)
	if code != 0 || out.String() != "a\n" || !strings.Contains(errs.String(), "come again: 1 (raise --lease") {
		t.Errorf("exit code %d, %q, %q", code, out.String(), &errs)
	}
	if got := d.must("sub jobs --group work --queue --count 1 -f '%a'"); got != "2" {
		t.Errorf("it came again as attempt %s; want 2", got)
	}
}
