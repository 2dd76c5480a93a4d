package benchkit

import (
	"context"
	"testing"
)

func constant(rate float64) func(context.Context, int) (Sample, error) {
	return func(context.Context, int) (Sample, error) { return Sample{Rate: rate, Ops: 1}, nil }
}

// TestSuiteRuns is the smallest suite on the real machine.
func TestSuiteRuns(t *testing.T) {
	suite := &Suite{Name: "small", Scenarios: []Scenario{{
		Name: "one", Baseline: "floor", Cases: []Case{
			{Name: "ours", Role: Ours, Run: constant(30)},
			{Name: "floor", Role: Floor, Run: constant(60)},
		},
		Goals: []Goal{{Case: "ours", Against: "floor", Bound: 0.4}, {Case: "ours", Bound: 31}},
	}}}
	report, err := suite.Run(t.Context(), Options{Dir: t.TempDir(), Rounds: 3, Guard: GuardOptions{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid || len(report.Rows) != 2 || report.Rows[0].Ratio != 0.5 {
		t.Errorf("report %+v; want two rows and a ratio of 0.5", report)
	}
	if goals := report.Goals; len(goals) != 2 || !goals[0].Met || goals[1].Met {
		t.Errorf("goals %+v; want the first met, the second not", goals)
	}
}
