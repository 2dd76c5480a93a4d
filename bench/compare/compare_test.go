package compare

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/internal/benchkit"
)

// report has one case of ours, a floor and a figure that nobody judges.
func report(rate, p99, floor []float64, allocs float64) *benchkit.Report {
	return &benchkit.Report{Scenario: "ring", Valid: true, Time: "2026-11-25T20:00:00Z", Rows: []benchkit.Row{
		{Scenario: "one", Name: "ours", Role: benchkit.Ours, Unit: "msgs/s", Better: "higher", Rounds: rate,
			P99Rounds: p99, AllocsPerOp: &allocs},
		{Scenario: "one", Name: "floor", Role: benchkit.Floor, Unit: "msgs/s", Better: "higher", Rounds: floor},
		{Scenario: "one", Name: "held", Role: benchkit.Ours, Unit: "s", Rounds: rate},
	}}
}

// around gives n values around v, within 1 %.
func around(v float64, n int) (values []float64) {
	for i := range n {
		values = append(values, v*(1+0.01*math.Sin(float64(i))))
	}
	return values
}

func TestReports(t *testing.T) {
	base := func() *benchkit.Report { return report(around(100, 6), around(50, 6), around(300, 6), 0) }
	tests := []struct {
		name     string
		changed  *benchkit.Report
		failed   bool
		verdicts []Verdict // value, p99, allocations, floor
	}{
		{"the same", base(), false, []Verdict{Same, Same, Same, Same}},
		{"10 % slower", report(around(90, 6), around(50, 6), around(300, 6), 0), true,
			[]Verdict{Worse, Same, Same, Same}},
		{"2 % slower", report(around(98, 6), around(50, 6), around(300, 6), 0), false,
			[]Verdict{Same, Same, Same, Same}},
		{"10 % faster", report(around(110, 6), around(50, 6), around(300, 6), 0), false,
			[]Verdict{Better, Same, Same, Same}},
		{"a longer tail", report(around(100, 6), around(56, 6), around(300, 6), 0), true,
			[]Verdict{Same, Worse, Same, Same}},
		{"a tail 4 % longer", report(around(100, 6), around(52, 6), around(300, 6), 0), false,
			[]Verdict{Same, Same, Same, Same}},
		{"an allocation in a hundred", report(around(100, 6), around(50, 6), around(300, 6), 0.01), true,
			[]Verdict{Same, Same, Worse, Same}},
		{"the machine is slower", report(around(100, 6), around(50, 6), around(200, 6), 0), false,
			[]Verdict{Same, Same, Same, Worse}},
		{"slower by chance", report([]float64{80, 101, 99, 102, 100, 120}, around(50, 6), around(300, 6), 0), false,
			[]Verdict{Same, Same, Same, Same}},
		{"too few rounds", report(around(50, 2), around(50, 6), around(300, 6), 0), false,
			[]Verdict{Undecided, Same, Same, Same}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Reports(base(), tt.changed)
			if err != nil {
				t.Fatal(err)
			}
			var verdicts []Verdict
			for _, row := range got.Rows {
				verdicts = append(verdicts, row.Verdict)
			}
			if !slices.Equal(verdicts, tt.verdicts) || got.Failed() != tt.failed {
				t.Errorf("verdicts %v, failed %v; want %v, %v\n%+v", verdicts, got.Failed(), tt.verdicts, tt.failed,
					got.Rows)
			}
			moved := strings.Contains(strings.Join(got.Warnings, "\n"), "machine differs")
			if moved != (tt.verdicts[3] != Same) {
				t.Errorf("warnings %q; want one if the floor moved", got.Warnings)
			}
		})
	}
}

func TestKnownP(t *testing.T) {
	row := Row{}
	row.judge([]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, "lower", latencyMax)
	// 2 ÷ C(10, 5): every value of one side is above the other.
	if want := 2.0 / 252; math.Abs(row.P-want) > 1e-6 || row.Verdict != Worse {
		t.Errorf("p %v, %v; want %v and worse", row.P, row.Verdict, want)
	}
	for _, tt := range []struct {
		n, m int
		want float64
	}{{1, 1, 1}, {3, 3, 0.1}, {4, 4, 2.0 / 70}, {3, 5, 2.0 / 56}, {0, 9, 1}} {
		if got := smallestP(tt.n, tt.m); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("smallestP(%d, %d) = %v; want %v", tt.n, tt.m, got, tt.want)
		}
	}
}

func TestWhatIsNotCompared(t *testing.T) {
	good := report(around(1, 6), nil, around(1, 6), 0)
	invalid := report(around(1, 6), nil, around(1, 6), 0)
	invalid.Valid, invalid.Problems = false, []string{"3 lost"}
	other := report(around(1, 6), nil, around(1, 6), 0)
	other.Scenario = "bus"
	few := report(around(1, 3), nil, around(1, 3), 0)
	few.Rows[0].AllocsPerOp = nil
	empty := &benchkit.Report{Scenario: "ring", Valid: true}
	for name, tt := range map[string]struct {
		a, b *benchkit.Report
		want string
	}{
		"invalid":  {good, invalid, "3 lost"},
		"other":    {good, other, "of ring, the other of bus"},
		"too few":  {few, few, "too few rounds in every row (too few rounds: 3 and 3)"},
		"no rows":  {empty, empty, "no rows"},
		"invalid2": {invalid, good, "measure again"},
	} {
		if _, err := Reports(tt.a, tt.b); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Reports = %v; want %q", name, err, tt.want)
		}
	}
}

func TestGoneAndWarnings(t *testing.T) {
	base, changed := report(around(1, 6), nil, around(1, 6), 0), report(around(1, 6), nil, around(1, 6), 0)
	changed.Rows = changed.Rows[1:]
	changed.Env.Go, changed.Time = "go9", "2026-11-26T20:00:00Z"
	changed.Guard = &benchkit.Guarding{}
	got, err := Reports(base, changed)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Failed() || got.Rows[0].Verdict != Gone {
		t.Errorf("rows %+v; want the first gone", got.Rows)
	}
	text := strings.Join(got.Warnings, "\n")
	for _, want := range []string{`Go: "" and "go9"`, "24h0m0s apart", "unguarded"} {
		if !strings.Contains(text, want) {
			t.Errorf("warnings %q lack %q", text, want)
		}
	}
	var table, markdown, document bytes.Buffer
	if err := got.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if err := got.WriteMarkdown(&markdown); err != nil {
		t.Fatal(err)
	}
	if err := got.WriteJSON(&document); err != nil || !json.Valid(document.Bytes()) {
		t.Fatalf("WriteJSON = %v: %s", err, document.Bytes())
	}
	for _, text := range []string{table.String(), markdown.String()} {
		if !strings.Contains(text, "GONE: not in the new report") || !strings.Contains(text, "FAILED") {
			t.Errorf("the table lacks what is gone:\n%s", text)
		}
	}
}
