package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatbus/leat/internal/benchkit"
)

// TestTables: a report becomes tables with the ratios of Leat to its peers.
func TestTables(t *testing.T) {
	report := benchkit.Report{Schema: benchkit.SchemaVersion, Scenario: "queue", Valid: true,
		Rows: []benchkit.Row{
			{Scenario: "network-256", About: "publish and ack", Name: "Leat", Level: "page", Role: benchkit.Ours,
				Unit: "msgs/s", Value: 300e3, Ratios: []benchkit.Ratio{{Against: "RabbitMQ", Ratio: 12}}},
			{Scenario: "network-256", Name: "RabbitMQ", Level: "disk", Role: benchkit.Peer, Unit: "msgs/s",
				Value: 25e3},
		},
		Skipped: []benchkit.Skipped{{Scenario: "network-256", Case: "Redis Streams", Why: "no redis-server"}}}
	path := filepath.Join(t.TempDir(), "queue.json")
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
	for _, want := range []string{"| first row ÷ it |", "| **Leat** | page | 300 k |",
		"| RabbitMQ | disk | 25 k | 12 |", "Left out: Redis Streams: no redis-server."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
