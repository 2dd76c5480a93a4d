package document

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatbus/leat/internal/benchkit"
)

var inOurs = Command{Tables: func(r *benchkit.Report) string { return Tables(r, "ours ÷ it") }}

// writeReport makes a report with a rate, a latency, a further figure and two goals.
func writeReport(t *testing.T) string {
	t.Helper()
	none := 0.0
	report := benchkit.Report{
		Schema: benchkit.SchemaVersion, Scenario: "log", Valid: true, Command: "bench run log",
		Rows: []benchkit.Row{
			{Scenario: "append-256", About: "append one by one", Name: "mmaplog", Role: benchkit.Ours, Level: "page",
				Unit: "records/s", Value: 30e6, AllocsPerOp: &none,
				Ratios: []benchkit.Ratio{{Against: "wal", Ratio: 60}}},
			{Scenario: "append-256", Name: "wal", Role: benchkit.Peer, Level: "page", Unit: "records/s", Value: 500e3,
				Note: "no checksum"},
			{Scenario: "durable-1", About: "one after the other", Name: "mmaplog", Role: benchkit.Ours, Level: "disk",
				Unit: "µs, p50", Value: 98, Latency: &benchkit.Latency{P50: 98, P99: 150, P999: 1500, Max: 2e6}},
			{Scenario: "durable-1", Name: "written per record", Role: benchkit.Ours, Level: "disk", Unit: "KB",
				Value: 4.2},
		},
		Goals: []benchkit.GoalResult{
			{Scenario: "append-256", Goal: "mmaplog, rate ≥ 10 × wal", Got: 60, Met: true},
			{Scenario: "durable-1", Goal: "mmaplog, p50 ≤ 90 µs", Got: 98},
		},
		Skipped: []benchkit.Skipped{{Scenario: "append-256", Case: "Chronicle Queue", Why: "no java"}},
		Guard:   &benchkit.Guarding{},
	}
	var text bytes.Buffer
	if err := report.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "log.json")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTables(t *testing.T) {
	var out bytes.Buffer
	if err := inOurs.Run([]string{writeReport(t)}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| durable-1 | mmaplog, p50 ≤ 90 µs | 98 | **no** |",
		"### append-256\n\nAppend one by one.", "| ours ÷ it |",
		"| **mmaplog** | page | 30 M |  | 0.00 |",
		"| wal | page | 500 k | 60 | |",
		"| **mmaplog** | disk | 98 µs |  | 98 µs | 150 µs | 1.5 ms | 2 s | |",
		"written per record: 4.2 KB.",
		"wal: no checksum.",
		"Left out: Chronicle Queue: no java.",
		"no figures to keep", "`bench run log`",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestDocumentKeepsTheRest(t *testing.T) {
	folder := t.TempDir()
	document := filepath.Join(folder, "log.md")
	text := "![](plots/log-append-256-bars.svg)\n" + beginMark + "old\n" + endMark + "after\n"
	if err := os.WriteFile(document, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	report := writeReport(t)
	var results []string
	for range 2 {
		if err := inOurs.Run([]string{"-into", document, "-plots", folder, report}, nil); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, string(got))
	}
	if got := results[0]; !strings.HasPrefix(got, "![](plots") || strings.Contains(got, "old") ||
		!strings.HasSuffix(got, endMark+"after\n") || !strings.Contains(got, "### append-256") {
		t.Errorf("the document became %q", got)
	}
	if results[0] != results[1] {
		t.Errorf("a second time changed the document to %q", results[1])
	}
	pictures, err := filepath.Glob(filepath.Join(folder, "*.svg"))
	if err != nil || len(pictures) != 1 || filepath.Base(pictures[0]) != "log-append-256-bars.svg" {
		t.Errorf("pictures %v, %v; want the one that the document shows", pictures, err)
	}
	for _, arguments := range [][]string{{}, {report, report}, {"-unknown", report},
		{filepath.Join(folder, "none.json")}, {"-into", filepath.Join(folder, "none.md"), report}} {
		if err := inOurs.Run(arguments, nil); err == nil {
			t.Errorf("%q = nil; want an error", arguments)
		}
	}
	for _, broken := range []string{"no marks", beginMark + "no end", endMark + beginMark} {
		if _, err := between(broken, ""); err == nil {
			t.Errorf("between(%q) = nil; want an error", broken)
		}
	}
}
