package benchkit

import (
	"errors"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/benchkit/handoff"
)

func TestRingSuite(t *testing.T) {
	o := Options{
		For: 2 * time.Millisecond, Rounds: 1, Dir: t.TempDir(), Guard: GuardOptions{Off: true},
		Only: []string{handoff.HopOfWords, handoff.OneToOneEvents},
	}
	report, err := Ring(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid {
		t.Errorf("the report is invalid: %v", report.Problems)
	}
	rows := make(map[string]Row)
	for _, row := range report.Rows {
		rows[row.Scenario+" "+row.Name] = row
	}
	hop := rows[handoff.HopOfWords+" "+ringCase]
	if hop.Floor != atomicsCase || hop.Ratio <= 0 || hop.Latency == nil || len(hop.Curve) < 4 ||
		hop.Unit != "µs, p50" {
		t.Errorf("row of a hop = %+v; want a latency held against two atomic words", hop)
	}
	rate := rows[handoff.OneToOneEvents+" "+ringCase]
	if rate.Floor != channelCase || rate.Value <= 0 || rate.Unit != "msgs/s" || rate.AllocsPerOp == nil {
		t.Errorf("row of a rate = %+v; want messages and allocations held against a channel", rate)
	}
}

// TestHandoffFailureIsTold: a run that lost messages must not give a figure.
func TestHandoffFailureIsTold(t *testing.T) {
	lost := errors.New("lost")
	suite := Suite{Name: "broken", Scenarios: []Scenario{{Name: "one"}}}
	loses := func(int64) (handoff.Result, error) { return handoff.Result{}, lost }
	suite.Scenarios[0].Add("case", Ours, loses, 1)
	suite.Scenarios[0].Add("no such case", Peer, nil, 1)
	report, err := suite.Run(t.Context(), Options{Rounds: 1, Dir: t.TempDir(), Guard: GuardOptions{Off: true}})
	if err != nil || report.Valid || len(report.Rows) != 0 {
		t.Errorf("report = %+v, %v; want an invalid one without rows", report, err)
	}
}

// TestMeasuresOfCost: less is better, nothing is fine, and a goal says so.
func TestMeasuresOfCost(t *testing.T) {
	allocs := 0.5
	sample := Sample{Cost: 0, AllocsPerOp: &allocs}
	if err := sample.complete(ByCost); err != nil {
		t.Errorf("complete(ByCost) of no cost = %v; want nil", err)
	}
	if got := sample.value(ByAllocs); got != allocs {
		t.Errorf("value(ByAllocs) = %v; want %v", got, allocs)
	}
}
