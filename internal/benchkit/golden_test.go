package benchkit

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files; read the difference")

// goldenReport has everything that a report of a suite can say.
func goldenReport() *Report {
	allocs := 0.25
	interval := func(lo, hi float64) Interval { return Interval{lo, hi, 0.9375} }
	half := interval(0.4, 0.6)
	return &Report{
		Schema: SchemaVersion, Scenario: "ring", Time: "2026-11-25T20:00:00Z", Command: "bench run ring",
		Valid: false, Problems: []string{"hop: ring, round 2: 1 lost"},
		Env: Environment{
			Machine: "some-cpu-2cpu", CPU: "Some CPU", Cores: 2, GoMaxProcs: 2, OS: "linux", Arch: "amd64",
			Kernel: "6.1", Go: "go1.26", FileSystem: "ext4", Commit: "0123abc", GCPercent: "100",
			Oversubscribed: true,
			Processor:      Processor{Caches: "L1d 32K", Siblings: "0", Virtual: true, ClockSource: "tsc"},
			System:         System{HugePages: "madvise", Memory: "8 kB", Mount: "/dev/x rw", Disk: "scheduler none"},
			Build:          Build{Tags: "leat_noasm", Level: "GOAMD64=v1", CGO: "0"},
		},
		Rows: []Row{
			{
				Scenario: "uni-64", About: "one producer | one consumer, 64 B", Name: "ring", Role: Ours, Level: "-",
				Value: 5e7, Unit: "msgs/s", Better: "higher", Rounds: []float64{4e7, 5e7, 6e7, 5e7, 5.2e7},
				Interval: interval(4e7, 6e7), Spread: 0.04, Floor: "C | ring", FloorValue: 1e8, Ratio: 0.5,
				RatioInterval: &half, AllocsPerOp: &allocs,
				Ratios:         []Ratio{{"C | ring", 0.5, half}, {"channel", 9, half}},
				Oversubscribed: true, Note: "batches of one",
			},
			{
				Scenario: "uni-64", About: "one producer | one consumer, 64 B", Name: "C | ring", Role: Floor, Level: "-",
				Value: 1e8, Unit: "msgs/s", Better: "higher", Rounds: []float64{1e8, 1e8, 1e8, 1e8, 1e8},
				Interval: interval(1e8, 1e8), Spread: 0.2,
			},
			{
				Scenario: "hop", About: "half of a ping-pong", Name: "ring", Role: Ours, Level: "-", Value: 0.0553,
				Unit: "µs, p50", Better: "lower", Rounds: []float64{0.055, 0.0553, 0.056},
				Interval: Interval{0.055, 0.056, 0.75}, Spread: 0.06,
				Latency:   &Latency{Count: 1000, P50: 0.0553, P99: 0.08, P999: 12.5, Max: 3400},
				P99Rounds: []float64{0.08, 0.07, 0.09}, Curve: []Quantile{{0.5, 0.0553}, {1, 3400}},
			},
		},
		Goals:   []GoalResult{{"uni-64", "ring, rate ≥ 0.8 × C | ring", 0.5, false}},
		Skipped: []Skipped{{"uni-64", "LMAX", "no java"}},
		Guard: &Guarding{On: true, Canary: "C", BestHop: 55, WorstHop: 140, Seconds: 12.5, Discarded: []Discarded{
			{"hop", 1, "steal 2.0 %"}, {"hop", 1, "canary 140 ns per hop, best of the run 55 ns"},
		}},
		Instruments: &Instruments{ClockNanos: 47, RecordNanos: 30, LateP50: 0.1, LateP99: 25},
		Pressure:    &Pressure{StealShare: 0.002, CPUSeconds: 1.5, Voluntary: 12, Involuntary: 3, Switches: 99},
	}
}

// TestGoldenReport freezes what reports look like. The keys of the JSON may only grow.
func TestGoldenReport(t *testing.T) {
	for file, write := range map[string]func(*Report, io.Writer) error{
		"report.json": (*Report).WriteJSON,
		"report.md":   (*Report).WriteMarkdown,
		"report.txt":  (*Report).WriteTable,
	} {
		var got bytes.Buffer
		if err := write(goldenReport(), &got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.ReplaceAll(string(want), "\r\n", "\n"); got.String() != text {
			t.Errorf("%s differs; run with -update and read the difference\n%s", file, got.String())
		}
	}
}

func TestReadReport(t *testing.T) {
	got, err := ReadReport(filepath.Join("testdata", "report.json"))
	if err != nil || !reflect.DeepEqual(got, goldenReport()) {
		t.Errorf("ReadReport = %+v, %v; want what was written", got, err)
	}
	dir := t.TempDir()
	for content, want := range map[string]string{
		"garbage":       "is no report",
		`{"schema": 1}`: "has version 1 of the schema, want 2",
	} {
		path := filepath.Join(dir, "report.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadReport(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadReport of %s = %v; want %q", content, err, want)
		}
	}
	if _, err := ReadReport(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadReport of no file = %v; want that it does not exist", err)
	}
}
