package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatbus/leat/internal/benchkit"
)

// TestTables: a report becomes a table whose ratios are those of the log.
func TestTables(t *testing.T) {
	report := benchkit.Report{Schema: benchkit.SchemaVersion, Scenario: "log", Valid: true,
		Rows: []benchkit.Row{{Scenario: "append-256", About: "append one by one", Name: "mmaplog", Level: "page",
			Role: benchkit.Ours, Unit: "records/s", Value: 30e6}}}
	path := filepath.Join(t.TempDir(), "log.json")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := report.WriteJSON(file); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := figures.Run([]string{path}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| mmaplog ÷ it |", "| **mmaplog** | page | 30 M |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
