package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/cmd/leat/internal/demo"
)

// cardKeys are all keys of the result card; scripts rely on the first nine.
const cardKeys = "altered delivered disk_bytes duplicated held_seconds level lost max_us msgs_per_sec " +
	"p50_us p999_us p99_us partitions published reordered seconds slow_behind slow_delivered"

func TestDemo(t *testing.T) {
	needNode(t)
	got := execute(t, t.Context(), "demo", "--for", "1s", "--rate", "100000", "-o", "json")
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("demo = %+v; want exit code 0 and nothing on stderr", got)
	}
	card := document(t, got.stdout)
	if keys := keysOf(card); keys != cardKeys {
		t.Errorf("keys = %s; want %s", keys, cardKeys)
	}
	for _, key := range []string{"lost", "duplicated", "reordered", "altered"} {
		if card[key] != 0.0 {
			t.Errorf("%s = %v; want 0", key, card[key])
		}
	}
	published, delivered := card["published"].(float64), card["delivered"].(float64)
	if published < 1000 || delivered != 2*published {
		t.Errorf("published %v, delivered %v; want many, each delivered to two groups", published, delivered)
	}
	if slow := card["slow_delivered"].(float64); slow <= 0 || slow >= published {
		t.Errorf("the slow subscriber read %v of %v; want some, not all", slow, published)
	}
	if p50, worst := card["p50_us"].(float64), card["max_us"].(float64); p50 <= 0 || worst < p50 {
		t.Errorf("p50 %v µs, max %v µs", p50, worst)
	}
}

func TestDemoTable(t *testing.T) {
	needNode(t)
	got := execute(t, t.Context(), "demo", "--for", "100ms", "--rate", "5000")
	if got.code != 0 {
		t.Fatalf("demo = %+v; want exit code 0", got)
	}
	for _, want := range []string{"published", "lost", "duplicated", "reordered", "page", "slow subscriber"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the card lacks %q:\n%s", want, got.stdout)
		}
	}
}

// TestDemoFindsFaults shows that the check works: each fault must make the demo fail.
func TestDemoFindsFaults(t *testing.T) {
	needNode(t)
	for fault, key := range map[string]string{"lost": "lost", "dup": "duplicated", "order": "reordered"} {
		t.Run(fault, func(t *testing.T) {
			got := execute(t, t.Context(), "demo", "--for", "200ms", "--rate", "50000", "--break", fault, "-o", "json")
			card := document(t, got.stdout)
			if got.code != 1 || card[key] != 1.0 || !strings.Contains(got.stderr, "error: demo:") {
				t.Errorf("demo --break %s = %+v; want exit code 1 and one %s", fault, got, key)
			}
			for _, other := range []string{"lost", "duplicated", "reordered"} {
				if other != key && card[other] != 0.0 {
					t.Errorf("%s = %v; want 0", other, card[other])
				}
			}
		})
	}
}

func TestDemoEndsWithItsContext(t *testing.T) {
	needNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer time.AfterFunc(300*time.Millisecond, cancel).Stop()
	got := execute(t, ctx, "demo", "--for", "1h", "--rate", "1000")
	if got.code != exitInterrupted || got.stdout != "" {
		t.Errorf("demo = %+v; want exit code 130 and no card", got)
	}
}

func TestDemoWithoutFolder(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"demo", "--for", "1s"}, &out, &errs); code != 1 {
		t.Errorf("demo without a temporary folder = %d, %q; want 1", code, errs.String())
	}
}

func TestLiveLine(t *testing.T) {
	var b strings.Builder
	l := &liveLine{w: &b, terminal: true}
	l.Show("one")
	l.Show("two")
	l.Done()
	if got, want := b.String(), "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[K"; got != want {
		t.Errorf("on a terminal: %q; want %q", got, want)
	}
	b.Reset()
	l = &liveLine{w: &b, every: 2}
	for range 4 {
		l.Show("x")
	}
	l.Done()
	if got, want := b.String(), "x\nx\n"; got != want {
		t.Errorf("elsewhere: %q; want %q", got, want)
	}
	b.Reset()
	(&liveLine{w: &b, silent: true, every: 1}).Show("x")
	if b.Len() != 0 {
		t.Errorf("with JSON: %q; want nothing", b.String())
	}
	if newLiveLine(&app{stderr: &b, output: formatJSON}).silent != true {
		t.Error("JSON to something that is no terminal is not silent")
	}
	f := demo.Figures{Elapsed: time.Second, Published: 10, Plain: 8, Held: true}
	if text := f.String(); !strings.Contains(text, "plain 2") || !strings.Contains(text, "held back") {
		t.Errorf("figures = %q", text)
	}
}
