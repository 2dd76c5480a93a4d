package observe

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/leatbus/leat/internal/histogram"
)

func written(p *page) string {
	var b bytes.Buffer
	p.write(&b)
	return b.String()
}

// TestPage: labels are escaped, and a histogram is complete.
func TestPage(t *testing.T) {
	p := newPage()
	p.add("leat_produce_messages_total", 1e15, "a\"b\\c\nd")
	h := histogram.Durations()
	h.Add(3000)
	s := h.Snapshot()
	p.spread("leat_produce_ack_seconds", &s, "fsync")
	text := written(p)
	if _, err := parse(text); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, want := range []string{
		"# HELP leat_produce_messages_total Messages accepted from producers\n" +
			"# TYPE leat_produce_messages_total counter\n",
		`leat_produce_messages_total{topic="a\"b\\c\nd"} 1e+15` + "\n",
		`leat_produce_ack_seconds_bucket{ack="fsync",le="1e-06"} 0` + "\n",
		`leat_produce_ack_seconds_bucket{ack="fsync",le="5e-06"} 1` + "\n",
		`leat_produce_ack_seconds_sum{ack="fsync"} 3e-06` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s\n%s", want, text)
		}
	}
}

// TestSeriesAreBounded: what clients name makes no more than maxSeries; the rest is summed up.
func TestSeriesAreBounded(t *testing.T) {
	p := newPage()
	for i := range maxSeries + 5 {
		p.add("leat_deliver_messages_total", 2, "t", fmt.Sprint("group", i))
		p.add("leat_log_end_offset", 1, "t", fmt.Sprint(i))
	}
	for name, want := range map[string]string{
		"leat_deliver_messages_total": `leat_deliver_messages_total{topic="other",group="other"} 10`,
		"leat_log_end_offset":         `leat_log_end_offset{topic="other",partition="other"} 5`,
	} {
		if n := len(p.byName[name].series); n != maxSeries+1 {
			t.Errorf("%s: %d series; want %d", name, n, maxSeries+1)
		}
		if !strings.Contains(written(p), want+"\n") {
			t.Errorf("lacks %s", want)
		}
	}
}

// TestParseRefuses: the checker of the other tests finds what it is for.
func TestParseRefuses(t *testing.T) {
	const head = "# HELP a A.\n# TYPE a histogram\n"
	for _, text := range []string{
		"a 1", "a 1\na 2\n", "a{x=\"1\",x=\"2\"} 1\n", "a{x=\"\\q\"} 1\n", "a{x=1} 1\n", "9a 1\n", "a one\n",
		"# HELP a\n", "# TYPE a gauge\n", head + head, "a 1\nb 1\na{x=\"1\"} 1\n", "a 1\nb 1\n" + head,
		"a_bucket{vmrange=\"1...2\"} 1\n", head + "a_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
		head + "a_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
		head + "a_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n", head + "a_bucket{le=\"+Inf\"} 1\na_count 1\n",
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("parse takes %q", text)
		}
	}
	good := head + "a_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n"
	if _, err := parse(good); err != nil {
		t.Error(err)
	}
}

// TestDocument: docs/metrics.md has the table of families, row by row.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	if len(families) < 25 || len(rows) != len(families) {
		t.Errorf("%d rows, %d families", len(rows), len(families))
	}
	for i, f := range families {
		labels := "–"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "` `") + "`"
		}
		want := fmt.Sprintf("| `%s` | %s | %s | %s |", f.name, f.kind, labels, f.help)
		if i >= len(rows) || rows[i] != want {
			t.Errorf("docs/metrics.md, row %d: want\n%s", i+1, want)
		}
	}
}
