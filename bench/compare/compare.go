package compare

import (
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/perf/benchmath"

	"github.com/leatbus/leat/internal/benchkit"
)

// Bounds of what counts as worse.
const (
	alpha      = 0.05
	rateMax    = 0.03 // share of the rate that may be lost
	latencyMax = 0.05 // share that a latency may grow by
	allocsMax  = 0.005
	// apartMax is how far apart two runs may be before the phases of the machine count more than the code.
	apartMax = 2 * time.Hour
)

// Verdict is what became of one row.
type Verdict string

// The verdicts. Worse and Gone make the comparison fail if the row is one of ours.
const (
	Same      Verdict = "same"
	Better    Verdict = "better"
	Worse     Verdict = "WORSE"
	Undecided Verdict = "undecided"
	Gone      Verdict = "GONE"
)

// Row compares one figure of one case.
type Row struct {
	Scenario string        `json:"scenario"`
	Case     string        `json:"case"`
	Role     benchkit.Role `json:"role"`
	What     string        `json:"what"` // "value", "p99" or "allocs"
	Unit     string        `json:"unit"`
	Base     float64       `json:"base"`
	New      float64       `json:"new"`
	Change   float64       `json:"change"` // (new − base) ÷ base
	P        float64       `json:"p"`      // chance of such a difference without a cause; 1 for allocations
	Verdict  Verdict       `json:"verdict"`
	Why      string        `json:"why,omitempty"`
}

// Result is a whole comparison.
type Result struct {
	Base     string   `json:"base"` // commits
	New      string   `json:"new"`
	Rows     []Row    `json:"rows"`
	Warnings []string `json:"warnings"`
}

// Reports compares two valid reports of the same suite.
func Reports(base, changed *benchkit.Report) (*Result, error) {
	if base.Scenario != changed.Scenario {
		return nil, fmt.Errorf("compare: one report is of %s, the other of %s", base.Scenario, changed.Scenario)
	}
	for _, r := range []*benchkit.Report{base, changed} {
		if !r.Valid {
			return nil, fmt.Errorf("compare: the report of %s is invalid, measure again: %w", r.Time, r.Err())
		}
	}
	result := &Result{Base: base.Env.Commit, New: changed.Env.Commit, Rows: []Row{}}
	result.Warnings = warnings(base, changed)
	for i := range base.Rows {
		result.compare(&base.Rows[i], find(changed, &base.Rows[i]))
	}
	result.warnOfTheMachine()
	if len(result.Rows) == 0 {
		return nil, fmt.Errorf("compare: the reports of %s have no rows to compare", base.Scenario)
	}
	if !slices.ContainsFunc(result.Rows, func(r Row) bool { return r.Verdict != Undecided }) {
		return nil, fmt.Errorf("compare: too few rounds in every row (%s): at least 4 on each side",
			result.Rows[0].Why)
	}
	return result, nil
}

func find(r *benchkit.Report, row *benchkit.Row) *benchkit.Row {
	for i := range r.Rows {
		if r.Rows[i].Scenario == row.Scenario && r.Rows[i].Name == row.Name {
			return &r.Rows[i]
		}
	}
	return nil
}

// Failed reports whether a case of ours is worse or gone.
func (r *Result) Failed() bool {
	return slices.ContainsFunc(r.Rows, func(row Row) bool {
		return row.Role == benchkit.Ours && (row.Verdict == Worse || row.Verdict == Gone)
	})
}

// compare adds the rows of one case; changed is nil if it is gone.
func (r *Result) compare(base, changed *benchkit.Row) {
	if base.Better == "" {
		return
	}
	row := Row{Scenario: base.Scenario, Case: base.Name, Role: base.Role, What: "value", Unit: base.Unit,
		Base: base.Value, P: 1}
	if changed == nil {
		row.Verdict, row.Why = Gone, "not in the new report"
		r.Rows = append(r.Rows, row)
		return
	}
	bound := latencyMax
	if base.Better == "higher" {
		bound = rateMax
	}
	row.judge(base.Rounds, changed.Rounds, base.Better, bound)
	r.Rows = append(r.Rows, row)
	if len(base.P99Rounds) > 0 && len(changed.P99Rounds) > 0 {
		p99 := Row{Scenario: base.Scenario, Case: base.Name, Role: base.Role, What: "p99", Unit: "µs"}
		p99.judge(base.P99Rounds, changed.P99Rounds, "lower", latencyMax)
		r.Rows = append(r.Rows, p99)
	}
	if base.AllocsPerOp != nil && changed.AllocsPerOp != nil {
		r.Rows = append(r.Rows, allocations(base, changed))
	}
}

func allocations(base, changed *benchkit.Row) Row {
	row := Row{Scenario: base.Scenario, Case: base.Name, Role: base.Role, What: "allocs", Unit: "allocs/op",
		Base: *base.AllocsPerOp, New: *changed.AllocsPerOp, P: 1, Verdict: Same}
	row.Change = change(row.Base, row.New)
	switch difference := row.New - row.Base; {
	case difference > allocsMax:
		row.Verdict = Worse
	case difference < -allocsMax:
		row.Verdict = Better
	}
	return row
}

// judge compares the rounds of both sides.
func (r *Row) judge(base, changed []float64, better string, bound float64) {
	a := benchmath.NewSample(slices.Clone(base), &benchmath.DefaultThresholds)
	b := benchmath.NewSample(slices.Clone(changed), &benchmath.DefaultThresholds)
	r.Base = benchmath.AssumeNothing.Summary(a, 0.95).Center
	r.New = benchmath.AssumeNothing.Summary(b, 0.95).Center
	r.Change = change(r.Base, r.New)
	if smallestP(len(base), len(changed)) >= alpha {
		r.P, r.Verdict = 1, Undecided
		r.Why = fmt.Sprintf("too few rounds: %d and %d", len(base), len(changed))
		return
	}
	r.P = benchmath.AssumeNothing.Compare(a, b).P
	worse := r.Change
	if better == "higher" {
		worse = -worse
	}
	switch {
	case r.P >= alpha || math.Abs(worse) <= bound:
		r.Verdict = Same
	case worse > 0:
		r.Verdict = Worse
	default:
		r.Verdict = Better
	}
}

func change(base, changed float64) float64 {
	if base == 0 {
		return 0
	}
	return (changed - base) / base
}

// smallestP is the lowest p that so many rounds can give: when every value of one side is above all others.
func smallestP(n, m int) float64 {
	ways := 1.0
	for i := 1; i <= n; i++ {
		ways *= float64(m+i) / float64(i)
	}
	return min(1, 2/ways)
}

// warnings says what else differs between the two.
func warnings(base, changed *benchkit.Report) []string {
	list := []string{}
	a, b := base.Env, changed.Env
	for _, field := range []struct{ name, a, b string }{
		{"processor", a.CPU, b.CPU},
		{"cores", fmt.Sprint(a.Cores), fmt.Sprint(b.Cores)},
		{"GOMAXPROCS", fmt.Sprint(a.GoMaxProcs), fmt.Sprint(b.GoMaxProcs)},
		{"kernel", a.Kernel, b.Kernel},
		{"Go", a.Go, b.Go},
		{"file system", a.FileSystem, b.FileSystem},
		{"build tags", a.Build.Tags, b.Build.Tags},
	} {
		if field.a != field.b {
			list = append(list, fmt.Sprintf("%s: %q and %q", field.name, field.a, field.b))
		}
	}
	before, errA := time.Parse(time.RFC3339, base.Time)
	after, errB := time.Parse(time.RFC3339, changed.Time)
	if apart := after.Sub(before).Abs(); errA == nil && errB == nil && apart > apartMax {
		list = append(list, fmt.Sprintf("measured %v apart: measure the base again in the same hour", apart))
	}
	for _, r := range []*benchkit.Report{base, changed} {
		if r.Guard != nil && !r.Guard.On {
			list = append(list, "the report of "+r.Time+" is unguarded: disturbed rounds are in it")
		}
	}
	return list
}

// warnOfTheMachine names floors and peers that moved: they have not been changed.
func (r *Result) warnOfTheMachine() {
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Role != benchkit.Ours && row.What == "value" && (row.Verdict == Worse || row.Verdict == Better) {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: %s moved by %+.1f %%, though nobody changed it: the "+
				"machine differs", row.Scenario, row.Case, row.Change*100))
		}
	}
}
