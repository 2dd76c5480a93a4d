package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// called is what a call of the program gave.
type called struct {
	code     int
	out, log string
}

func call(ctx context.Context, s []entry, args ...string) called {
	var out, log bytes.Buffer
	code := (&program{out: &out, log: &log, suites: s}).run(ctx, args)
	return called{code, out.String(), log.String()}
}

// steady is a suite whose rates are what rate says, and that loses messages if it is told to.
func steady(rate float64, lost int64) entry {
	return entry{"steady", func(context.Context, benchkit.Options) (*benchkit.Suite, error) {
		run := func(_ context.Context, round int) (benchkit.Sample, error) {
			h := benchkit.NewHistogram()
			for i := range int64(1000) {
				h.Record(50 + i)
			}
			s := benchkit.Sample{Rate: rate + float64(round), Lost: lost}
			s.Measured(h)
			return s, nil
		}
		scenario := func(name string) benchkit.Scenario {
			return benchkit.Scenario{Name: name, About: "constant", Baseline: "floor", Cases: []benchkit.Case{
				{Name: "ours", Role: benchkit.Ours, Run: run}, {Name: "floor", Role: benchkit.Floor, Run: run}}}
		}
		return &benchkit.Suite{Name: "steady", About: "for tests",
			Scenarios: []benchkit.Scenario{scenario("one"), scenario("two")}}, nil
	}}
}

func TestUsage(t *testing.T) {
	tests := []struct {
		line string
		code int
		want string // on either stream
	}{
		{"", 2, "which command?"},
		{"help", 0, "bench compare"},
		{"--help", 0, "bench compare"},
		{"rnu", 2, `no command "rnu"`},
		{"run -h", 0, "-canary-max"},
		{"run -rounds 0", 2, "-rounds"},
		{"run -rounds many", 2, "-rounds"},
		{"run -backlog -1 steady", 2, "-backlog"},
		{"run -members -1 steady", 2, "-members"},
		{"run -o xml", 2, "-o xml: want table, md or json"},
		{"run nothing", 2, `no suite "nothing"; there are: steady`},
		{"run steady/three -unguarded", 2, `no suite "-unguarded"`},
		{"run -unguarded steady/three", 1, `no scenario "three"`},
		{"compare one.json", 2, "compare 1 reports: want 2"},
		{"compare -o csv a b", 2, "-o csv"},
		{"compare absent.json absent.json", 1, "absent.json"},
		{"plot", 2, "plot what?"},
		{"plot absent.json", 1, "absent.json"},
		{"selftest -o csv", 2, "-o csv"},
		{"list", 0, "  steady/two: constant"},
	}
	for _, tt := range tests {
		got := call(t.Context(), []entry{steady(100, 0)}, strings.Fields(tt.line)...)
		if got.code != tt.code || !strings.Contains(got.out+got.log, tt.want) {
			t.Errorf("bench %s = %+v; want code %d and %q", tt.line, got, tt.code, tt.want)
		}
	}
}

// TestRunCompareAndPlot goes the way of a change that is 20 % slower.
func TestRunCompareAndPlot(t *testing.T) {
	dir := t.TempDir()
	run := func(folder string, rate float64) called {
		return call(t.Context(), []entry{steady(rate, 0)}, "run", "-unguarded", "-o", "json", "-out",
			filepath.Join(dir, folder), "steady/one")
	}
	base, slower, same := run("base", 1e6), run("slower", 8e5), run("same", 1e6)
	var document map[string]any
	if base.code != 0 || json.Unmarshal([]byte(base.out), &document) != nil || document["scenario"] != "steady" {
		t.Fatalf("run = %+v; want a JSON document", base)
	}
	if !strings.Contains(base.log, "one: ours, round 5 of 5") || !strings.Contains(base.log, "4 plots") {
		t.Errorf("log %q; want progress and the files", base.log)
	}
	if slower.code != 0 || same.code != 0 {
		t.Fatalf("run = %+v, %+v", slower, same)
	}
	file := func(folder string) string { return filepath.Join(dir, folder, "steady.json") }
	if got := call(t.Context(), nil, "compare", file("base"), file("same")); got.code != 0 ||
		!strings.Contains(got.out, "same") {
		t.Errorf("compare with the same = %+v; want code 0", got)
	}
	got := call(t.Context(), nil, "compare", "-o", "md", file("base"), file("slower"))
	if got.code != 1 || !strings.Contains(got.out, "WORSE") || !strings.Contains(got.log, "got worse") {
		t.Errorf("compare with a slower one = %+v; want code 1", got)
	}
	if got := call(t.Context(), nil, "compare", file("slower"), file("base")); got.code != 0 ||
		!strings.Contains(got.out, "better") {
		t.Errorf("compare with a faster one = %+v; want code 0", got)
	}
	pictures := filepath.Join(dir, "pictures")
	if got := call(t.Context(), nil, "plot", "-out", pictures, file("base")); got.code != 0 ||
		got.out != "steady-one-bars.svg\nsteady-one-bars.png\n"+
			"steady-one-percentiles.svg\nsteady-one-percentiles.png\n" {
		t.Errorf("plot = %+v; want four files", got)
	}
	for _, name := range []string{"base/steady.md", "pictures/steady-one-bars.png"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestAutoFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	got := call(t.Context(), []entry{steady(10, 0)},
		"run", "-unguarded", "-rounds", "1", "-out", "auto", "-o", "md")
	files, err := filepath.Glob(filepath.Join("results", time.Now().UTC().Format("2006-")+"*cpu", "steady.json"))
	if got.code != 0 || err != nil || len(files) != 1 || !strings.HasPrefix(got.out, "# bench steady") {
		t.Errorf("run = %+v, files %q, %v; want a folder of the day and the machine", got, files, err)
	}
}

func TestInvalidRun(t *testing.T) {
	broken := steady(10, 3)
	broken.name = "broken"
	got := call(t.Context(), []entry{broken, steady(10, 0)}, "run", "-unguarded", "-rounds", "1")
	if got.code != 1 || !strings.Contains(got.log, "3 lost") || strings.Count(got.out, "STEADY one") != 2 {
		t.Errorf("run = %+v; want code 1, the loss, and both suites", got)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	waiting := entry{"waiting", func(context.Context, benchkit.Options) (*benchkit.Suite, error) {
		run := func(ctx context.Context, _ int) (benchkit.Sample, error) {
			cancel()
			<-ctx.Done()
			return benchkit.Sample{}, ctx.Err()
		}
		return &benchkit.Suite{Name: "waiting", Scenarios: []benchkit.Scenario{{Name: "s",
			Cases: []benchkit.Case{{Name: "c", Role: benchkit.Ours, Run: run}}}}}, nil
	}}
	got := call(ctx, []entry{waiting}, "run", "-unguarded", "-dir", dir)
	if got.code != exitInterrupted || got.out != "" || !strings.HasSuffix(got.log, "interrupted\n") {
		t.Errorf("run = %+v; want code 130 and no report", got)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestSuites: every suite has the name it is asked for by, and can be listed without measuring.
func TestSuites(t *testing.T) {
	for _, s := range suites {
		suite, err := s.make(t.Context(), benchkit.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if suite.Name != s.name || suite.About == "" || len(suite.Scenarios) == 0 {
			t.Errorf("suite %q is called %q, about %q, with %d scenarios", s.name, suite.Name, suite.About,
				len(suite.Scenarios))
		}
		if suite.Close != nil {
			if err := suite.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	p := &program{out: io.Discard, log: io.Discard, suites: suites}
	if got := p.run(t.Context(), []string{"list"}); got != 0 {
		t.Errorf("list = %d", got)
	}
}

func TestSelfTest(t *testing.T) {
	got := call(t.Context(), nil, "selftest", "-o", "json")
	var report benchkit.Report
	if err := json.Unmarshal([]byte(got.out), &report); err != nil || got.code != 0 || !report.Valid {
		t.Errorf("selftest = %+v, %v; want a valid report", got, err)
	}
}
