package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/admindoc"
)

// quakes is real input in the form key, tab, value.
func quakes(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../examples/quakes/earthquakes.tsv")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// perKey divides lines by what stands before the tab, keeping their order.
func perKey(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(line, "\t")
		all[key] += line
	}
	return all
}

func sameLinesPerKey(t *testing.T, got, want string) {
	t.Helper()
	gotKeys, wantKeys := perKey(got), perKey(want)
	if len(got) != len(want) || len(gotKeys) != len(wantKeys) {
		t.Errorf("%d bytes, %d keys; want %d bytes, %d keys", len(got), len(gotKeys), len(want), len(wantKeys))
	}
	for key, lines := range wantKeys {
		if gotKeys[key] != lines {
			t.Errorf("the messages of key %q differ from what was sent", key)
		}
	}
}

// TestPipeline is the way a person tries it: what goes in comes out, in order per key.
func TestPipeline(t *testing.T) {
	d := newDesk(t)
	d.must("topic create quakes --partitions 4")
	text := quakes(t)
	count := strings.Count(text, "\n")
	got := d.feed(t.Context(), strings.NewReader(text), "pub", "quakes", "-", "--key-sep", "\t", "-o", "json")
	if doc := document(t, got.stdout); got.code != 0 || doc["published"] != float64(count) || got.stderr != "" {
		t.Fatalf("pub = %+v; want %d published", got, count)
	}
	sameLinesPerKey(t, d.must(fmt.Sprintf(`sub quakes --from earliest --count %d -f '%%k\t%%v\n'`, count)), text)
	sameLinesPerKey(t, d.must(fmt.Sprintf(`sub quakes --group g --count %d -f '%%k\t%%v\n'`, count)), text)
	if got := d.must("sub quakes --group g --idle 50ms"); got != "" {
		t.Errorf("the group reads more than there is: %s", got)
	}
	if groups := d.must("group ls"); !strings.HasSuffix(groups, "g      quakes  stream        0    0   0s\n") {
		t.Errorf("the group has not acknowledged what it printed:\n%s", groups)
	}
	var parts string
	info, err := d.bus.Topic(t.Context(), "quakes")
	if err != nil {
		t.Fatal(err)
	}
	for p := range 4 {
		parts += d.must(fmt.Sprintf(`sub quakes --from earliest --partition %d --count %d -f '%%k\t%%v\n'`, p,
			info.Partitions[p].HighWater))
	}
	sameLinesPerKey(t, parts, text)
}

func TestPublishOne(t *testing.T) {
	d := newDesk(t, "t")
	d.create("four", leat.TopicConfig{Partitions: 4})
	d.golden(`
$ leat pub t hello
0 0
$ leat pub t hello -k key -H a:1 -H a:2 -H b:x:y -o json
{"topic":"t","published":1,"bytes":8,"seconds":<n>,"msgs_per_sec":<n>,"partition":0,"offset":1}
$ leat pub t '' -k '' --ack disk -o yaml
topic: t
published: 1
bytes: 0
seconds: <n>
msgs_per_sec: <n>
partition: 0
offset: 2
$ leat pub four x --partition 3
3 0
$ leat sub t --from earliest --count 3 -f '%t/%p/%o [%k] [%v] {%h} %%\\\n'
t/0/0 [] [hello] {} %\
t/0/1 [key] [hello] {a:1,a:2,b:x:y} %\
t/0/2 [] [] {} %\
$ leat sub t --from 1 --count 2 -o json
{"topic":"t","partition":0,"offset":1,"time":"<time>","key":"key","value":"hello","headers":[{"key":"a","value":"1"},{"key":"a","value":"2"},{"key":"b","value":"x:y"}]}
{"topic":"t","partition":0,"offset":2,"time":"<time>","key":"","value":""}
$ leat pub four x --partition 4
error: leat: publish to topic "four": the topic has no such partition: partition 4, the topic has 4 (LEAT-2012)
hint: use a partition from 0 to the topic's partitions minus one
`)
}

func TestPublishErrors(t *testing.T) {
	d := newDesk(t, "t")
	for line, want := range map[string]string{
		"pub":                              "want TOPIC",
		"pub t a b":                        "want TOPIC",
		"pub t x -H novalue":               "want name:value",
		"pub t x -H :v":                    "want name:value",
		"pub t - --key-sep ''":             "--key-sep is empty",
		"pub t x --key-sep :":              "--key-sep is for lines",
		"pub t - --key-sep : -k key":       "want one of them",
		"pub t x --partition -1":           "want 0 or more",
		"pub t x --ack most":               "LEAT-1001",
		"pub t x --ack quorum":             "LEAT-2009",
		"pub t x --timeout 0s":             "above 0",
		"sub":                              "want TOPIC",
		"sub t --from then":                "want earliest",
		"sub t --from @then":               "want earliest",
		"sub t --idle -1s":                 "above 0",
		"sub t --count 0":                  "want a number from 1",
		"sub t --group g --partition 0":    "a group assigns",
		"sub t -f '%x'":                    `"%x" at byte 0`,
		"sub t -f %v -o json":              "want one of them",
		"sub t --read-at none":             "want page or disk",
		"sub t --group bad/name --count 1": "LEAT-2001",
	} {
		if got := d.run(line); got.code != exitUsage || !strings.Contains(got.stderr, want) ||
			!strings.Contains(got.stderr, "\nhint: ") {
			t.Errorf("leat %s = %+v; want exit code 2 and %q", line, got, want)
		}
	}
}

// TestPublishLines: an empty line is a message, the last line needs no newline, and everything but the
// newline is data.
func TestPublishLines(t *testing.T) {
	d := newDesk(t, "t")
	long := strings.Repeat("x", 300_000)
	got := d.feed(t.Context(), strings.NewReader("a\n\n\r\n\xff\x00\n"+long+"\nlast"), "pub", "t")
	told := "published 6 messages, 293.0 KiB in <n>: <n> messages/s\n"
	if got.code != 0 || got.stdout != "" || times(got.stderr) != told {
		t.Fatalf("pub = %+v", got)
	}
	if got := d.must("sub t --from earliest --count 6"); got != "a\n\n\r\n\xff\x00\n"+long+"\nlast\n" {
		t.Errorf("sub printed %q", got)
	}
	got = d.feed(t.Context(), strings.NewReader(""), "pub", "t", "-", "-o", "json")
	if doc := document(t, got.stdout); got.code != 0 || doc["published"] != 0.0 {
		t.Errorf("pub of nothing = %+v; want 0 published", got)
	}
}

func TestKeySeparator(t *testing.T) {
	d := newDesk(t, "t")
	got := d.feed(t.Context(), strings.NewReader("a::b::c\n::\nno separator\nd::e\n"),
		"pub", "t", "-", "--key-sep", "::", "-o", "json")
	if doc := document(t, got.stdout); got.code != 1 || doc["published"] != 2.0 ||
		!strings.HasPrefix(got.stderr, `error: line 3 has no "::" to end its key`) {
		t.Errorf("pub = %+v; want an error about line 3 after 2 messages", got)
	}
	if got := d.must(`sub t --from earliest --count 2 -f '[%k] [%v]\n'`); got != "[a] [b::c]\n[] []\n" {
		t.Errorf("sub printed %q", got)
	}
	if n := d.messages("t"); n != 2 {
		t.Errorf("after the error more was published: %d messages", n)
	}
}

// TestPublishTooLarge: what came before is acknowledged and told.
func TestPublishTooLarge(t *testing.T) {
	d := newDesk(t)
	d.create("t", leat.TopicConfig{MaxRecordBytes: 1000})
	for name, size := range map[string]int{"by the topic": 2000, "by the line": 200_000} {
		input := strings.NewReader("a\nb\n" + strings.Repeat("x", size) + "\nc\n")
		got := d.feed(t.Context(), input, "pub", "t", "-o", "json")
		doc := document(t, got.stdout)
		if n := doc["published"].(float64); got.code != 1 || n < 2 || n > 3 ||
			!strings.Contains(got.stderr, "LEAT-2004") || !strings.HasPrefix(got.stderr, "error: line 3: ") {
			t.Errorf("%s: pub = %+v; want an error about line 3 after 2 messages", name, got)
		}
	}
}

// TestPublishInterrupted: the input is still open, and what was acknowledged is told.
func TestPublishInterrupted(t *testing.T) {
	d := newDesk(t, "t")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdin, keyboard := io.Pipe()
	defer keyboard.Close()
	done := make(chan result, 1)
	go func() { done <- d.feed(ctx, stdin, "pub", "t", "-", "-o", "json") }()
	if _, err := io.WriteString(keyboard, "a\nb\nnot ended"); err != nil {
		t.Fatal(err)
	}
	d.wait("two messages", func() bool { return d.messages("t") == 2 })
	cancel()
	got := <-done
	if doc := document(t, got.stdout); got.code != exitInterrupted || doc["published"] != 2.0 ||
		got.stderr != "error: interrupted\n" {
		t.Errorf("interrupted pub = %+v; want exit code 130 and 2 published", got)
	}
	if n := d.messages("t"); n != 2 {
		t.Errorf("%d messages; want the 2 that were told", n)
	}
}

// wait waits until a condition holds, which must happen.
func (d *desk) wait(what string, holds func() bool) {
	d.t.Helper()
	eventually(d.t, what, holds)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-time.After(time.Millisecond)
	}
}

// messages counts what can be read of a topic.
func (d *desk) messages(topic string) int64 {
	topics, err := d.bus.Topics(d.t.Context())
	if err != nil {
		d.t.Error(err)
	}
	for i := range topics {
		if topics[i].Name == topic {
			return admindoc.TopicOf(&topics[i]).Messages
		}
	}
	return -1
}

// TestProgress: on a terminal, and only there, figures are drawn while lines go out.
func TestProgress(t *testing.T) {
	d := newDesk(t, "t")
	d.prepare = func(a *app) { a.stderrTerminal = true }
	stdin, keyboard := io.Pipe()
	screen := newScreen("2 acknowledged, ")
	done := make(chan int, 1)
	go func() { done <- d.start(stdin, io.Discard, screen).run(t.Context(), []string{"pub", "t"}) }()
	if _, err := io.WriteString(keyboard, "a\nb\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-screen.seen:
	case <-time.After(patience):
		t.Error("no figures on the terminal")
	}
	keyboard.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text := screen.String(); !strings.Contains(text, "0 in flight\r\x1b[K") ||
		!strings.Contains(times(text), "\r\x1b[Kpublished 2 messages, 2 B in <n>") {
		t.Errorf("terminal: %q", text)
	}
}
