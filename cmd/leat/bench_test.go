package main

import (
	"testing"
)

// TestBenchJSON runs every scenario in miniature. The figures mean nothing, the keys do.
func TestBenchJSON(t *testing.T) {
	needNode(t)
	t.Setenv(childVariable, "1")
	tests := map[string][]string{
		"log":  {"--for", "5ms", "--rounds", "1", "--size", "128"},
		"bus":  {"--for", "50ms", "--rounds", "1"},
		"idle": {"--for", "20ms", "--rounds", "1"},
		"open": {"--gb", "0.001", "--rounds", "2"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			got := execute(t, t.Context(), append([]string{"bench", name, "-o", "json", "--dir", t.TempDir()}, args...)...)
			report := document(t, got.stdout)
			if keys, want := keysOf(report), "env problems rows scenario valid"; keys != want {
				t.Errorf("keys = %s; want %s", keys, want)
			}
			if report["scenario"] != name || len(report["rows"].([]any)) == 0 {
				t.Errorf("report = %v; want rows of scenario %s", report, name)
			}
			// A busy machine may miss a rate: then the report and the exit code have to agree.
			if valid := report["valid"].(bool); valid != (got.code == 0) || !valid && len(report["problems"].([]any)) == 0 {
				t.Errorf("valid %v, problems %v, exit code %d", valid, report["problems"], got.code)
			}
		})
	}
}
