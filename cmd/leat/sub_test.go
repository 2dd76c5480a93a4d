package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// screen is a writer that tells when it has seen a text.
type screen struct {
	mu   sync.Mutex // guards the following
	text strings.Builder
	want string
	seen chan struct{}
	told bool
}

func newScreen(want string) *screen { return &screen{want: want, seen: make(chan struct{})} }

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if !s.told && strings.Contains(s.text.String(), s.want) {
		s.told = true
		close(s.seen)
	}
	return len(p), nil
}

// String gives everything written.
func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestSubscribeLive: without --from only what comes from now on, and it is printed at once.
func TestSubscribeLive(t *testing.T) {
	d := newDesk(t, "t")
	d.must("pub t before")
	for _, line := range []string{"sub t", "sub t --group g --from latest"} {
		ctx, cancel := context.WithCancel(t.Context())
		out, errs := newScreen("two\n"), &bytes.Buffer{}
		done := make(chan int, 1)
		go func() { done <- d.start(nil, out, errs).run(ctx, strings.Fields(line)) }()
		publisher, err := d.bus.Producer("t")
		if err != nil {
			t.Fatal(err)
		}
		// The subscription may not be open yet, so go on until something arrives.
		first := newCounter(out)
		d.wait("a message", func() bool {
			if _, err := publisher.Publish(t.Context(), leat.Message{Value: []byte("one")}); err != nil {
				t.Error(err)
			}
			return first()
		})
		d.must("pub t two")
		<-out.seen
		cancel()
		if code := <-done; code != exitInterrupted || errs.String() != "error: interrupted\n" {
			t.Errorf("leat %s: exit code %d, %s; want 130", line, code, errs)
		}
		if text := out.String(); strings.Contains(text, "before") || !strings.HasSuffix(text, "one\ntwo\n") {
			t.Errorf("leat %s printed %q", line, text)
		}
		if err := publisher.Close(); err != nil {
			t.Error(err)
		}
	}
}

func newCounter(s *screen) func() bool { return func() bool { return s.String() != "" } }

// TestSubscribePositions: the same offset need not exist in every partition.
func TestSubscribePositions(t *testing.T) {
	d := newDesk(t)
	d.create("t", leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	for p, n := range []int{5, 0, 2} {
		input := strings.NewReader(strings.Repeat("m\n", n))
		partition := string(rune('0' + p))
		if got := d.feed(t.Context(), input, "pub", "t", "--partition", partition); got.code != 0 {
			t.Fatalf("pub = %+v", got)
		}
	}
	for line, want := range map[string]string{
		"sub t --from 3 --partition 0 --count 2 -f '%p:%o '":                   "0:3 0:4 ",
		"sub t --from earliest --partition 2,1 --count 2 -f '%p:%o '":          "2:0 2:1 ",
		"sub t --from -1h --partition 0 --count 5 -f '%p:%o '":                 "0:0 0:1 0:2 0:3 0:4 ",
		"sub t --from @2020-01-01 --partition 2 --count 2 -f '%p:%o '":         "2:0 2:1 ",
		"sub t --from @2200-01-01 --idle 50ms":                                 "",
		"sub t --from 2 --partition 2 --idle 50ms":                             "",
		"sub t --from earliest --partition 0 --read-at page --count 1 -f '%o'": "0",
	} {
		if got := d.must(line); got != want {
			t.Errorf("leat %s printed %q; want %q", line, got, want)
		}
	}
	for line, code := range map[string]int{
		"sub t --from 6 --partition 0":             3,
		"sub t --from 3 --count 1":                 3,
		"sub t --partition 3":                      3,
		"sub t --partition -1":                     3,
		"sub t --partition 9999999999999999999999": 2,
	} {
		if got := d.run(line); got.code != code || got.stdout != "" {
			t.Errorf("leat %s = %+v; want exit code %d", line, got, code)
		}
	}
}

// TestTerminal: on a terminal what comes from outside cannot do anything; elsewhere it is passed on.
func TestTerminal(t *testing.T) {
	d := newDesk(t, "t")
	evil := "\x1b[2J\x07\u202e\xff\u009bend\tünd"
	got := d.feed(t.Context(), nil, "pub", "t", evil, "-k", evil, "-H", "h:"+evil)
	if got.code != 0 {
		t.Fatalf("pub = %+v", got)
	}
	if got := d.must("sub t --from 0 --count 1 -f '%k|%v|%h'"); got != evil+"|"+evil+"|h:"+evil {
		t.Errorf("elsewhere: %q", got)
	}
	plain := d.must("sub t --from 0 --count 1 -o json")
	if doc := document(t, plain); doc["value"] != nil || doc["value_base64"] == "" {
		t.Errorf("JSON of what is not UTF-8: %s", plain)
	}
	d.must("pub t a\u202e\u009bb")
	d.prepare = func(a *app) { a.stdoutTerminal = true }
	escaped := `\x1b[2J\x07\u202e\ufffd\x9bend\x09ünd`
	if got, want := d.must("sub t --from 0 --count 1"), "0:0\t"+escaped+"\t"+escaped+"\n"; got != want {
		t.Errorf("on a terminal: %q; want %q", got, want)
	}
	onTerminal := d.must("sub t --from 1 --count 1 -o json")
	if doc := document(t, onTerminal); doc["value"] != "a\u202e\u009bb" ||
		strings.ContainsAny(onTerminal, "\u202e\u009b") {
		t.Errorf("JSON on a terminal: %q", onTerminal)
	}
}

// failingWriter fails like a pipe whose reader is gone.
type failingWriter struct{ err error }

// Write implements io.Writer.
func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestBrokenPipe: what could not be written is not acknowledged, and nothing is said about it.
func TestBrokenPipe(t *testing.T) {
	d := newDesk(t, "t")
	d.must("pub t one")
	for _, tt := range []struct {
		err  error
		code int
	}{{&os.PathError{Op: "write", Err: syscall.EPIPE}, 0}, {errors.New("no space"), 1}} {
		var errs bytes.Buffer
		code := d.start(nil, failingWriter{tt.err}, &errs).run(t.Context(), strings.Fields("sub t --group g"))
		if code != tt.code || (code == 0) != (errs.Len() == 0) {
			t.Errorf("%v: exit code %d, %q; want %d", tt.err, code, &errs, tt.code)
		}
	}
	if got := d.must("sub t --group g --count 1"); got != "one\n" {
		t.Errorf("the group got %q after the broken pipe", got)
	}
}

// TestPrinter: while a piece is being written the next one grows, up to a limit, and only what was
// written is told.
func TestPrinter(t *testing.T) {
	read, write := io.Pipe()
	var told sync.Map
	p := newPrinter(write, func(partition int32, offset int64) error {
		told.Store(partition, offset)
		return nil
	}, nil)
	big := bytes.Repeat([]byte("x"), printerMax)
	print := func(offset int64) error {
		m := &leat.Message{Offset: offset}
		return p.print(m, func(dst []byte) ([]byte, error) { return append(dst, big...), nil })
	}
	if err := print(0); err != nil { // is being written
		t.Fatal(err)
	}
	blocked := make(chan error, 2)
	go func() {
		blocked <- print(1)
		blocked <- print(2)
	}()
	if err := <-blocked; err != nil {
		t.Fatal(err)
	}
	select {
	case <-blocked:
		t.Error("more than the limit waits for the reader")
	case <-time.After(20 * time.Millisecond):
	}
	if _, ok := told.Load(int32(0)); ok || p.idle() {
		t.Error("told before it was written")
	}
	go func() { _, _ = io.Copy(io.Discard, read) }()
	if err := <-blocked; err != nil {
		t.Fatal(err)
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	if last, _ := told.Load(int32(0)); last != int64(2) || !p.idle() {
		t.Errorf("told %v; want 2", last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	bad := newPrinter(failingWriter{io.ErrClosedPipe}, nil, cancel)
	for bad.print(&leat.Message{}, func(dst []byte) ([]byte, error) { return append(dst, "x"...), nil }) == nil {
	}
	if err := bad.close(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("close = %v; want the writer's error", err)
	}
	if ctx.Err() == nil {
		t.Error("the loop was not told that writing failed")
	}
}
