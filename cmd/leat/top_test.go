package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/admindoc"
)

func newTopDesk(t *testing.T) *desk {
	d := newDesk(t, "quiet")
	d.create("jobs", leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	for _, line := range []string{"pub jobs a -k x", "pub jobs b -k y", "pub jobs c -k z",
		"sub jobs --group work --queue --count 1", "sub jobs --group risk --count 2"} {
		d.must(line)
	}
	return d
}

// TestTop pins what people and scripts see.
func TestTop(t *testing.T) {
	d := newTopDesk(t)
	mask := func(text string) string {
		text = regexp.MustCompile(`\d+\.\d+ [KM]iB`).ReplaceAllString(text, "<size>")
		text = regexp.MustCompile(`"bytes": \d+`).ReplaceAllString(text, `"bytes": <n>`)
		return regexp.MustCompile(` +(SIZE|<size>)`).ReplaceAllString(times(text), " $1")
	}
	d.goldenAs(`
$ leat top --once --every 100ms
2026-11-26T12:00:00Z: 1 of 1 nodes up, 0 messages/s in, lag 3

NODE  ADDRESS  STATE  RTT  PARTITIONS
   0  -        up       -           3

TOPIC  PARTITIONS  MESSAGES SIZE  IN/S  LAG
jobs            2         3 <size>     0    2
quiet           1         0  0 B     0    0

GROUP  TOPIC  MODE    MEMBERS  LAG AGE  ACKED/S  DONE IN  READY  LEASED  DELAYED
work   jobs   queue         0    2 <age>        0    never      2       0        0
risk   jobs   stream        0    1 <age>        0    never      -       -        -
`, func(text string) string { return regexp.MustCompile(` +0 B `).ReplaceAllString(mask(text), "  0 B ") })
	doc := document(t, d.must("top --once --every 100ms --sort name -o json"))
	if keys := keysOf(doc); keys != "groups nodes seconds time topics" {
		t.Errorf("keys %s", keys)
	}
	topics, groups := doc["topics"].([]any), doc["groups"].([]any)
	if name := topics[0].(map[string]any)["name"]; len(topics) != 2 || name != "jobs" {
		t.Errorf("topics %v", topics)
	}
	if g := groups[0].(map[string]any); len(groups) != 2 || g["group"] != "risk" || g["lag"] != 1.0 ||
		g["acked_per_sec"] != 0.0 {
		t.Errorf("groups %v", groups)
	}
	for line, want := range map[string]string{
		"top --every 1ms": "want 100ms to 1m0s", "top --sort size": "want lag, rate or name",
		"top now": "unexpected",
	} {
		if got := d.run(line); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("leat %s = %+v; want exit code 2 and %q", line, got, want)
		}
	}
}

func TestTopOrder(t *testing.T) {
	pace := func(rate float64) admindoc.GroupLag { return admindoc.GroupLag{Lag: new(int64(0)), AckRate: &rate} }
	behind := func(lag int64) admindoc.GroupLag { return admindoc.GroupLag{Lag: &lag} }
	doc := &topDoc{
		Topics: []topTopicDoc{{Name: "c", Lag: 1}, {Name: "b", Lag: 5}, {Name: "a", Rate: new(9.0)}},
		Groups: []admindoc.Group{{Group: "c", GroupLag: behind(1)}, {Group: "b", GroupLag: behind(5)},
			{Group: "a", GroupLag: pace(9)}},
	}
	for by, want := range map[string]string{"lag": "bca", "rate": "abc", "name": "abc"} {
		doc.sort(by)
		topics, groups := "", ""
		for i := range doc.Topics {
			topics, groups = topics+doc.Topics[i].Name, groups+doc.Groups[i].Group
		}
		if topics != want || groups != want {
			t.Errorf("by %s: topics %s, groups %s; want %s", by, topics, groups, want)
		}
	}
}

func TestTopRate(t *testing.T) {
	info := func(marks ...int64) *leat.TopicInfo {
		info := &leat.TopicInfo{}
		for _, mark := range marks {
			info.Partitions = append(info.Partitions, leat.PartitionInfo{HighWater: mark})
		}
		return info
	}
	if rate := publishRate(info(10, 20), info(15, 25), 2); rate == nil || *rate != 5 {
		t.Errorf("10 messages in 2 s: %v", rate)
	}
	away := info(10)
	away.Partitions[0].Err = errors.New("away")
	for what, rate := range map[string]*float64{
		"first look": publishRate(nil, info(1), 2), "no time": publishRate(info(1), info(2), 0),
		"went back": publishRate(info(2), info(1), 1), "other partitions": publishRate(info(1), info(1, 1), 1),
		"away": publishRate(away, info(12), 1),
	} {
		if rate != nil {
			t.Errorf("%s: %v", what, *rate)
		}
	}
}

// TestTopFits: a view has as many lines as the terminal, and tells what it left out.
func TestTopFits(t *testing.T) {
	doc := &topDoc{Time: "2026-11-26T12:00:00.000000000Z", Missing: "no \x1b answer"}
	for i := range 50 {
		doc.Topics = append(doc.Topics, topTopicDoc{Name: fmt.Sprint("topic", i)})
		doc.Groups = append(doc.Groups, admindoc.Group{Group: fmt.Sprint("group", i)})
	}
	doc.Nodes = make([]admindoc.Node, 1)
	for rows := 1; rows < 120; rows++ {
		lines := doc.lines(rows)
		if len(lines) > rows || rows > 20 && rows < 100 && len(lines) != rows {
			t.Errorf("%d lines on a terminal of %d", len(lines), rows)
		}
		text := strings.Join(lines, "\n")
		if rows > 20 && (!strings.Contains(text, "topic0") || !strings.Contains(text, "group0") ||
			rows < 100 && !strings.Contains(text, " more")) {
			t.Errorf("on %d rows:\n%s", rows, text)
		}
	}
	if n := len(doc.lines(0)); n != 1+1+3+2+51+51 {
		t.Errorf("%d lines without a bound", n)
	}
	if got := cutLine("größer", 3); got != "grö" {
		t.Errorf("cutLine = %q", got)
	}
}

// lame is a bus that stops answering.
type lame struct {
	shared
	gone atomic.Bool
}

// Topics implements leat.Backend.
func (l *lame) Topics(ctx context.Context) ([]leat.TopicInfo, error) {
	if l.gone.Load() {
		return nil, errors.New("nobody is there")
	}
	return l.shared.Topics(ctx)
}

// TestTopLive: the terminal is drawn again and again, a server that is away is told, and Ctrl-C leaves the
// terminal as it was.
func TestTopLive(t *testing.T) {
	d := newTopDesk(t)
	bus := &lame{shared: shared{d.bus.Backend()}}
	d.prepare = func(a *app) {
		a.dial = func(context.Context, string, ...leat.DialOption) (*leat.Bus, error) {
			return leat.NewBus(bus), nil
		}
		a.stdoutTerminal = true
		a.size = func() (columns, rows int) { return 40, 12 }
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, errs := newScreen("! nobody is there"), &bytes.Buffer{}
	done := make(chan int, 1)
	go func() { done <- d.start(nil, out, errs).run(ctx, strings.Fields("top --every 100ms")) }()
	d.wait("rates", func() bool { return strings.Count(out.String(), screenBegin) >= 2 })
	bus.gone.Store(true)
	<-out.seen
	cancel()
	if code := <-done; code != 0 || errs.Len() > 0 {
		t.Errorf("exit code %d, %s; want 0 after Ctrl-C", code, errs)
	}
	text := out.String()
	if !strings.HasPrefix(text, screenOpen) || !strings.HasSuffix(text, screenClose) {
		t.Errorf("the terminal is not given back: %q", text)
	}
	for _, view := range strings.Split(text, screenBegin)[1:] {
		if n := strings.Count(view, "\n"); n > 11 {
			t.Errorf("%d lines on a terminal of 12:\n%s", n+1, view)
		}
	}
}

// TestTopPiped: elsewhere views follow each other, as lines of JSON too.
func TestTopPiped(t *testing.T) {
	d := newTopDesk(t)
	for line, want := range map[string]string{
		"top --every 100ms": "ACKED/S", "top --every 100ms -o json": "acked_per_sec",
		"top --every 100ms -o yaml": "acked_per_sec",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out := newScreen(want)
		done := make(chan int, 1)
		go func() { done <- d.start(nil, out, newScreen("")).run(ctx, strings.Fields(line)) }()
		<-out.seen
		cancel()
		if code := <-done; code != 0 || strings.Contains(out.String(), "\x1b") {
			t.Errorf("leat %s: exit code %d\n%s", line, code, out)
		}
	}
}
