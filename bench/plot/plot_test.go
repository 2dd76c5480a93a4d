package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/internal/benchkit"
)

// sample has one scenario of rates and one of latencies.
func sample() *benchkit.Report {
	h := benchkit.NewHistogram()
	for i := range int64(100_000) {
		h.Record(50 + i/1000 + i*i/10_000_000)
	}
	latency := h.Summary()
	row := func(scenario, name string, role benchkit.Role, unit string, v float64) benchkit.Row {
		return benchkit.Row{Scenario: scenario, About: "64 B, one producer, one consumer", Name: name, Role: role,
			Unit: unit, Better: "higher", Value: v, Rounds: []float64{v * 0.9, v, v * 1.1},
			Interval: benchkit.Interval{Lo: v * 0.9, Hi: v * 1.1, Confidence: 0.75}}
	}
	r := &benchkit.Report{Scenario: "ring", Valid: true, Time: "2026-11-25T20:00:00Z", Command: "bench run ring",
		Env: benchkit.Environment{CPU: "Some <CPU>", Cores: 2, Commit: "0123abc", Go: "go1.26.8"},
		Rows: []benchkit.Row{
			row("uni-64", "ring", benchkit.Ours, "msgs/s", 88e6),
			row("uni-64", "Go channel", benchkit.Peer, "msgs/s", 12e6),
			row("uni-64", "extra", benchkit.Ours, "bytes", 1e12),
			row("uni-64", "C SPSC ring", benchkit.Floor, "msgs/s", 110e6),
			row("hop", "ring, spinning", benchkit.Ours, "µs, p50", 0.06),
			row("hop", "ring, parked", benchkit.Ours, "µs, p50", 0.2),
			row("hop", "C ping-pong", benchkit.Floor, "µs, p50", 0.055),
			{Name: "no suite", Value: 1, Unit: "ms"},
		}}
	r.Rows[0].Floor, r.Rows[0].FloorValue = "C SPSC ring", 110e6
	for i := 4; i < 6; i++ {
		r.Rows[i].Latency, r.Rows[i].Curve = &latency, h.Curve()
	}
	return r
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	if keep := os.Getenv("LEAT_PLOTS"); keep != "" {
		dir = keep
	}
	files, err := Write(dir, sample())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"ring-uni-64-bars.svg", "ring-uni-64-bars.png", "ring-hop-bars.svg", "ring-hop-bars.png",
		"ring-hop-percentiles.svg", "ring-hop-percentiles.png"}
	if !slices.Equal(files, want) {
		t.Errorf("files %q; want %q", files, want)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".png") {
			if image, err := png.Decode(bytes.NewReader(content)); err != nil || image.Bounds().Dx() < 700 {
				t.Errorf("%s: %v; want a wide picture", file, err)
			}
			continue
		}
		if text := textOf(t, content); !strings.Contains(text, "commit 0123abc · 2026-11-25T20:00:00Z") ||
			!strings.Contains(text, "Some <CPU>, 2 processors") || !strings.Contains(text, "bench run ring") {
			t.Errorf("%s lacks commit, date, machine or command: %q", file, text)
		}
	}
	bars, err := os.ReadFile(filepath.Join(dir, "ring-uni-64-bars.svg"))
	if err != nil {
		t.Fatal(err)
	}
	text := textOf(t, bars)
	for _, want := range []string{"Go channel", "88 M", "12 M", "110 M", "M msgs/s"} {
		if !strings.Contains(text, want) {
			t.Errorf("the bars lack %q: %q", want, text)
		}
	}
	if strings.Contains(text, "extra") {
		t.Errorf("the bars show a figure of another unit: %q", text)
	}
}

// textOf reads the text of an SVG, which also has to be well-formed.
func textOf(t *testing.T, svg []byte) string {
	t.Helper()
	var text strings.Builder
	for decoder := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if data, ok := token.(xml.CharData); ok {
			text.Write(data)
		}
	}
}

func TestMarks(t *testing.T) {
	r := sample()
	r.Valid = false
	if lines := foot(r); !strings.Contains(lines[0], "INVALID RUN") {
		t.Errorf("foot %q; want the mark", lines)
	}
	r.Valid, r.Guard = true, &benchkit.Guarding{}
	if lines := foot(r); !strings.Contains(lines[0], "UNGUARDED RUN") {
		t.Errorf("foot %q; want the mark", lines)
	}
}

func TestWriteWhereItCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(file, sample()); err == nil {
		t.Error("Write into a file = nil; want an error")
	}
}

func TestScale(t *testing.T) {
	tests := []struct {
		unit    string
		highest float64
		value   float64
		want    string
	}{
		{"µs, p50", 0.5, 0.055, "55 ns"}, {"µs, p99", 12, 3.4, "3.4 µs"}, {"µs, p50", 5000, 2500, "2.5 ms"},
		{"msgs/s", 2e9, 1e9, "1 G"}, {"msgs/s", 5e6, 1.5e6, "1.5 M"}, {"msgs/s", 12, 7, "7"},
	}
	for _, tt := range tests {
		s := scaleOf(&benchkit.Row{Unit: tt.unit}, tt.highest)
		if got := s.text(tt.value); got != tt.want {
			t.Errorf("%s up to %v: %v is %q; want %q", tt.unit, tt.highest, tt.value, got, tt.want)
		}
	}
}
