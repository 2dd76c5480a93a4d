package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// desk runs command lines against a bus in this process instead of a server.
type desk struct {
	t   *testing.T
	bus *leat.Bus
	dir string // its data folder
	// prepare, if set, changes an app before it runs.
	prepare func(*app)
	quakes  string // what the file earthquakes.tsv has, where an example reads it
}

// copyLive copies a folder that a node has open. Files that got another name meanwhile make it begin again.
func copyLive(t *testing.T, to, from string) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrNotExist) || time.Now().After(end) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
}

// shared is a bus that the commands of a desk cannot close.
type shared struct{ leat.Backend }

func (shared) Close() error { return nil }

func newDesk(t *testing.T, topics ...string) *desk {
	t.Helper()
	needNode(t)
	dir := t.TempDir()
	bus, err := node.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})
	d := &desk{t: t, bus: bus, dir: dir, quakes: quakes(t)}
	for _, name := range topics {
		d.create(name, leat.TopicConfig{Ack: leat.AckPage})
	}
	return d
}

func (d *desk) create(name string, cfg leat.TopicConfig) {
	d.t.Helper()
	if err := d.bus.CreateTopic(d.t.Context(), name, cfg); err != nil {
		d.t.Fatal(err)
	}
}

// start makes an app whose connection is the bus of the desk.
func (d *desk) start(stdin io.Reader, stdout, stderr io.Writer) *app {
	a := newApp(stdin, stdout, stderr)
	a.dial = func(context.Context, string, ...leat.DialOption) (*leat.Bus, error) {
		return leat.NewBus(shared{d.bus.Backend()}), nil
	}
	if d.prepare != nil {
		d.prepare(a)
	}
	return a
}

// feed runs a command line with standard input.
func (d *desk) feed(ctx context.Context, stdin io.Reader, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := d.start(stdin, &stdout, &stderr).run(ctx, args)
	return result{code, stdout.String(), stderr.String()}
}

// run runs a command line as a shell would, within the patience of the test.
func (d *desk) run(line string) result {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	command, file, fed := strings.Cut(line, " < ")
	stdin := ""
	if fed {
		if stdin = d.quakes; file != "earthquakes.tsv" {
			d.t.Fatalf("%s: there is no %s", line, file)
		}
	}
	return d.feed(ctx, strings.NewReader(stdin), shellWords(d.t, command)...)
}

// must runs a command line that must succeed, and gives what it printed.
func (d *desk) must(line string) string {
	d.t.Helper()
	got := d.run(line)
	if got.code != exitOK {
		d.t.Fatalf("leat %s = %+v; want exit code 0", line, got)
	}
	return got.stdout
}

// shellWords cuts a line into words as a shell does, as far as the examples need it: single quotes, $'\t'.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	var word strings.Builder
	inWord, quoted := false, false
	line = strings.ReplaceAll(line, `$'\t'`, "'\t'")
	for _, c := range line {
		switch {
		case c == '\'':
			quoted, inWord = !quoted, true
		case c == ' ' && !quoted:
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quoted {
		t.Fatalf("%s: a quote is not closed", line)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}

// times replaces what a clock decides, so that output can be compared.
func times(text string) string {
	text = regexp.MustCompile(`20\d\d-\d\d-\d\dT[\d:.]+Z`).ReplaceAllString(text, "<time>")
	text = regexp.MustCompile(`"(seconds|msgs_per_sec|lag_seconds)":( ?)[\d.e+-]+`).ReplaceAllString(text, `"$1":$2<n>`)
	text = regexp.MustCompile(`\b(seconds|msgs_per_sec|lag_seconds): [\d.e+-]+`).ReplaceAllString(text, "$1: <n>")
	text = regexp.MustCompile(` in [\d.]+m?s: [\d,]+ messages/s`).ReplaceAllString(text, " in <n>: <n> messages/s")
	text = regexp.MustCompile(`\b[\d.]+(ms|s)\b`).ReplaceAllString(text, "<age>")
	return regexp.MustCompile(` +(AGE|<age>)`).ReplaceAllString(text, " $1")
}

// golden runs command lines and compares what they print, times replaced. An input begins with $, what
// is printed follows, errors included.
func (d *desk) golden(script string) { d.t.Helper(); d.goldenAs(script, times) }

// goldenAs is golden with another way to replace what differs from run to run.
func (d *desk) goldenAs(script string, mask func(string) string) {
	d.t.Helper()
	for _, block := range strings.Split("\n"+strings.TrimSpace(script), "\n$ leat ")[1:] {
		line, want, _ := strings.Cut(block, "\n")
		got := d.run(line)
		want = strings.TrimRight(mask(want), "\n")
		if text := strings.TrimRight(mask(got.stdout+got.stderr), "\n"); text != want {
			d.t.Errorf("leat %s (exit code %d) printed\n%s\nwant\n%s", line, got.code, text, want)
		}
	}
}
