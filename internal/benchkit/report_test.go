package benchkit

import (
	"bytes"
	"encoding/json"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func sampleReport() *Report {
	report := newReport("sample", Capture("."))
	report.row("append", "page", "records/s", []float64{10, 30, 20}).
		against("memcpy", []float64{40, 40, 40})
	row := report.row("wake", "-", "ns", []float64{5})
	row.Latency, row.Note = &Latency{Count: 1, P50: 0.5, Max: 7}, "one round"
	return report
}

// TestReportKeys freezes the keys that scripts rely on.
func TestReportKeys(t *testing.T) {
	var out bytes.Buffer
	if err := sampleReport().WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(out.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	rows := document["rows"].([]any)
	row := rows[1].(map[string]any)
	tests := []struct {
		name   string
		object any
		want   string
	}{
		{"report", document, "command env problems rows scenario schema time valid"},
		{"row", row, "floor floor_value interval latency_us level name note ratio rounds spread unit value"},
		{"latency", row["latency_us"], "count max p50 p99 p999"},
		{"env", document["env"],
			"arch build commit cores cpu file_system gc_percent go gomaxprocs kernel machine os oversubscribed " +
				"processor system"},
	}
	for _, tt := range tests {
		got := strings.Join(slices.Sorted(maps.Keys(tt.object.(map[string]any))), " ")
		if got != tt.want {
			t.Errorf("keys of %s = %s; want %s", tt.name, got, tt.want)
		}
	}
	if first := rows[0].(map[string]any); first["value"] != 20.0 || first["ratio"] != 0.5 {
		t.Errorf("value %v, ratio %v; want 20 and 0.5", first["value"], first["ratio"])
	}
}

func TestReportTable(t *testing.T) {
	report := sampleReport()
	report.problem("lost %d messages", 3)
	var out bytes.Buffer
	if err := report.WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"append", "page", "memcpy", "wake: one round", "INVALID: lost 3 messages",
		runtime.Version()} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, out.String())
		}
	}
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "lost 3 messages") {
		t.Errorf("Err() = %v; want the problem", err)
	}
	if err := sampleReport().Err(); err != nil {
		t.Errorf("Err() of a valid report = %v", err)
	}
}

func TestFigure(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 999: "999", 1500: "1.5 k", 3e6: "3 M", 2.5e9: "2.5 G"} {
		if got := figure(value); got != want {
			t.Errorf("figure(%v) = %q; want %q", value, got, want)
		}
	}
}

func TestCapture(t *testing.T) {
	env := Capture(t.TempDir())
	if env.Cores < 1 || env.GoMaxProcs < 1 || env.Go != runtime.Version() || env.CPU == "" {
		t.Errorf("Capture = %+v; want cores, Go and processor filled", env)
	}
	if runtime.GOOS == "linux" && (env.Kernel == "" || env.FileSystem == "") {
		t.Errorf("Capture on Linux: kernel %q, file system %q; want both", env.Kernel, env.FileSystem)
	}
}

func TestHistogramKeepsWhatIsOutOfBounds(t *testing.T) {
	h := NewHistogram()
	h.Record(-5)
	h.Record(1e15)
	got := h.Summary()
	if got.Count != 2 || got.Max < 59e6 {
		t.Errorf("Summary = %+v; want both values, the higher one as 60 s", got)
	}
	if n := testing.AllocsPerRun(100, func() { h.Record(1234) }); n != 0 {
		t.Errorf("Record allocates %v times; want 0", n)
	}
	other := NewHistogram()
	other.Record(7)
	h.Merge(other)
	if got := h.Summary().Count; got != 104 {
		t.Errorf("Count after Merge = %d; want 104", got)
	}
	h.Reset()
	if got := h.Summary(); got != (Latency{}) {
		t.Errorf("Summary after Reset = %+v; want zeros", got)
	}
}

func TestMedianLatencyKeepsTheWorst(t *testing.T) {
	got := medianLatency([]Latency{
		{Count: 1, P50: 1, Max: 900}, {Count: 1, P50: 3, Max: 5}, {Count: 1, P50: 2, Max: 6},
	})
	if got.P50 != 2 || got.Max != 900 || got.Count != 3 {
		t.Errorf("medianLatency = %+v; want p50 2, max 900, count 3", got)
	}
}
