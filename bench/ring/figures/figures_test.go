package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatbus/leat/internal/benchkit"
)

// writeReport makes a report with a rate, a latency and two goals.
func writeReport(t *testing.T) string {
	t.Helper()
	report := benchkit.Report{
		Schema: benchkit.SchemaVersion, Scenario: "ring", Valid: true, Command: "bench run ring",
		Rows: []benchkit.Row{
			{Scenario: "3p1c-64", Name: "ring", Unit: "msgs/s", Value: 30e6, Oversubscribed: true,
				Ratios: []benchkit.Ratio{{Against: "Go channel", Ratio: 2}}},
			{Scenario: "3p1c-64", Name: "Go channel", Unit: "msgs/s", Value: 15e6, Oversubscribed: true},
			{Scenario: "hop-8", Name: "ring", Unit: "µs, p50", Latency: &benchkit.Latency{P50: 0.06, P99: 1.5}},
		},
		Goals: []benchkit.GoalResult{
			{Scenario: "3p1c-64", Goal: "ring, rate ≥ 1 × Go channel", Got: 2, Met: true},
			{Scenario: "hop-8", Goal: "ring, p50 ≤ 1.15 × C", Got: 1.3},
		},
		Skipped: []benchkit.Skipped{{Scenario: "hop-8", Case: "C", Why: "no C compiler"}},
	}
	var text bytes.Buffer
	if err := report.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ring.json")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTables(t *testing.T) {
	var out bytes.Buffer
	if err := figures.Run([]string{writeReport(t)}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 3p1c-64 † | ring, rate ≥ 1 × Go channel | 2 | yes |",
		"| hop-8 | ring, p50 ≤ 1.15 × C | 1.3 | **no** |",
		"| 3p1c-64 † | 30.0 | 15.0 (2.00) |",
		"| hop-8 | 60 ns / 1.5 µs |",
		"Skipped: hop-8, C: no C compiler.",
		"`bench run ring`",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
