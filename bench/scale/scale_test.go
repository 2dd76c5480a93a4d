package scale

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// TestSuiteRuns runs all scenarios in miniature.
func TestSuiteRuns(t *testing.T) {
	o := benchkit.Options{For: 20 * time.Millisecond, Rounds: 1, Members: 5, Backlog: 10_000,
		Guard: benchkit.GuardOptions{Off: true}, Dir: t.TempDir()}
	suite, err := Suite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := suite.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range report.Problems {
		// A busy machine may miss the rate; nothing else may go wrong.
		if !strings.Contains(problem, "disturbed") {
			t.Error(problem)
		}
	}
	seen := map[string]float64{}
	for _, row := range report.Rows {
		seen[row.Scenario+" "+row.Name] = row.Value
	}
	if free, ok := freeBytes(o.Dir); ok && free < 2*spareBytes { // the cases of the backlog may be left out
		for _, s := range report.Skipped {
			seen[s.Scenario+" "+s.Case] = 0
		}
	}
	for i := range suite.Scenarios {
		scenario := &suite.Scenarios[i]
		for _, c := range scenario.Cases {
			if _, ok := seen[scenario.Name+" "+c.Name]; !ok {
				t.Errorf("no row for %s %s in %v", scenario.Name, c.Name, seen)
			}
		}
	}
	// Of 10 partitions a sixth member gets 1; the oldest of 5, who leaves, has 2.
	for name, want := range map[string]float64{
		"members " + movedBy(joinCase): 0.5, "members " + movedBy(leaveCase): 1,
		"members-quic " + movedBy(joinCase): 0.5, "members-quic " + movedBy(leaveCase): 1,
	} {
		if got := seen[name]; got != want {
			t.Errorf("%s: %v; want %v", name, got, want)
		}
	}
	left, err := os.ReadDir(o.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("the run left %v, %v in its folder; want nothing", left, err)
	}
}

// TestGoalsNameScenarios: a goal for a scenario or case that does not exist would never be missed.
func TestGoalsNameScenarios(t *testing.T) {
	suite, err := Suite(t.Context(), benchkit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, wanted := range goals() {
		i := slices.IndexFunc(suite.Scenarios, func(s benchkit.Scenario) bool { return s.Name == name })
		if i < 0 || len(wanted) == 0 {
			t.Errorf("%d goals for %s: no such scenario, or no goals", len(wanted), name)
			continue
		}
		for _, goal := range wanted {
			for _, of := range []string{goal.Case, goal.Against} {
				has := func(c benchkit.Case) bool { return of == "" || c.Name == of }
				if !slices.ContainsFunc(suite.Scenarios[i].Cases, has) {
					t.Errorf("%s: a goal of %s, which is no case", name, of)
				}
			}
		}
	}
	if err := suite.Close(); err != nil {
		t.Errorf("close of a suite that did not run: %v", err)
	}
}

// TestFullDisk: without room for the backlog its cases are left out and say so.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if _, ok := freeBytes(dir); !ok {
		t.Skip("nobody knows how much room there is")
	}
	o := benchkit.Options{For: time.Millisecond, Rounds: 1, Backlog: 1 << 50, Dir: dir,
		Only: []string{"backlog-publish"}, Guard: benchkit.GuardOptions{Off: true}}
	suite, err := Suite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := suite.Run(t.Context(), o)
	if err != nil || !report.Valid || len(report.Rows) != 0 {
		t.Errorf("Run = %+v, %v; want a valid report without rows", report, err)
	}
}

// TestWatch: a group has settled when all partitions are held once, by everybody as many, and not before.
func TestWatch(t *testing.T) {
	w := &watch{partitions: 5, settled: make(chan int64, 1)}
	settled := func() bool {
		select {
		case <-w.settled:
			return true
		default:
			return false
		}
	}
	one, two := &member{}, &member{}
	w.comes(one)
	w.told(one, 4, 0)
	if settled() {
		t.Error("settled with 4 of 5 partitions")
	}
	if w.told(one, 1, 0); !settled() || w.moves() != 5 {
		t.Errorf("one member with all partitions has not settled, after %d moves", w.moves())
	}
	w.comes(two)
	w.told(two, 2, 0)
	if settled() {
		t.Error("settled while two partitions are held twice")
	}
	if w.told(one, 0, 2); !settled() || w.moves() != 2 {
		t.Errorf("two members with 3 and 2 have not settled, after %d moves", w.moves())
	}
	w.told(one, 0, 2)
	w.told(two, 2, 0)
	if settled() {
		t.Error("settled although nothing was to change")
	}
	w.goes(one)
	w.told(one, 1, 0)
	if settled() {
		t.Error("settled with partitions of a member that has gone")
	}
	if w.told(two, 1, 0); !settled() || w.moves() != 1 {
		t.Errorf("the rest has not settled after %d moves: %s", w.moves(), w.describe())
	}
}

// TestWatchWantsBalance: members may differ by one partition.
func TestWatchWantsBalance(t *testing.T) {
	w := &watch{partitions: 4, settled: make(chan int64, 1)}
	one, two := &member{}, &member{}
	w.comes(one)
	w.comes(two)
	w.told(two, 1, 0)
	w.told(one, 3, 0)
	if len(w.settled) != 0 || w.describe() != "2 members hold 4 of 4 partitions, 1 to 3 each" {
		t.Errorf("settled: %s", w.describe())
	}
	w.told(one, 0, 1)
	if w.told(two, 1, 0); len(w.settled) != 1 {
		t.Errorf("not settled: %s", w.describe())
	}
}

// TestBehind: readers begin all over the backlog, and know how much is left.
func TestBehind(t *testing.T) {
	s := &store{}
	for i := range s.old {
		s.old[i] = span{10, 110}
	}
	for i, want := range []struct{ at, left int64 }{{10, 400}, {35, 300}, {60, 200}, {85, 100}} {
		places, left := s.behind(int64(i), 4)
		if len(places) != backlogPartitions || places[3].Value != want.at || left != want.left {
			t.Errorf("reader %d: %d messages behind %+v; want %d behind %d", i, left, places, want.left, want.at)
		}
	}
}
