package ring

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/benchkit/handoff"
)

// TestSuiteRuns runs two scenarios in miniature with everything that is installed here.
func TestSuiteRuns(t *testing.T) {
	t.Setenv(PeersVariable, "")
	o := benchkit.Options{
		For: 5 * time.Millisecond, Rounds: 1, Only: []string{handoff.OneToOneWords, idleScenario},
		Guard: benchkit.GuardOptions{Off: true}, Dir: t.TempDir(),
	}
	suite, err := Suite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := suite.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid {
		t.Errorf("the report is invalid: %v", report.Problems)
	}
	var seen []string
	for _, row := range report.Rows {
		seen = append(seen, row.Scenario+" "+row.Name)
	}
	for _, skipped := range report.Skipped {
		t.Logf("skipped: %+v", skipped)
		seen = append(seen, skipped.Scenario+" "+skipped.Case)
	}
	for _, want := range []string{oursCase, atomicOnly, channelCase, xsyncCase, lmaxCase, floorCase} {
		if !slices.Contains(seen, handoff.OneToOneWords+" "+want) {
			t.Errorf("no row and no excuse for %s in %v", want, seen)
		}
	}
	if !slices.Contains(seen, idleScenario+" "+oursCase) {
		t.Errorf("no row for %s in %v", idleScenario, seen)
	}
}

// TestGoPeers lets every case that is a Go package hand on a few messages.
func TestGoPeers(t *testing.T) {
	for _, scenario := range handoff.Scenarios() {
		for _, peer := range []string{xsyncCase, xsyncMPMCCase} {
			if run := goPeer(peer, scenario.Name); run != nil {
				if result, err := run(handoff.Step * 2); err != nil || result.Messages != handoff.Step*2 {
					t.Errorf("%s, %s = %+v, %v; want %d messages", peer, scenario.Name, result, err, handoff.Step*2)
				}
			}
		}
	}
}

// TestGoalsNameScenarios: a goal for a scenario or a case that does not exist would never be missed.
func TestGoalsNameScenarios(t *testing.T) {
	t.Setenv(PeersVariable, "")
	suite, err := Suite(t.Context(), benchkit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, wanted := range goals() {
		i := slices.IndexFunc(suite.Scenarios, func(s benchkit.Scenario) bool { return s.Name == name })
		if i < 0 {
			t.Errorf("goals for %s, which is no scenario", name)
			continue
		}
		for _, goal := range wanted {
			if goal.Against != disruptorCase && !slices.Contains(suite.Scenarios[i].Goals, goal) {
				t.Errorf("%s: goal %+v is left out", name, goal)
			}
		}
	}
}

func TestWork(t *testing.T) {
	var out bytes.Buffer
	if err := Work([]string{channelCase, handoff.OneToOneWords, "2"}, &out); err != nil {
		t.Fatal(err)
	}
	var sample benchkit.Sample
	if err := json.Unmarshal(out.Bytes(), &sample); err != nil || sample.Rate <= 0 || sample.Ops <= 0 {
		t.Errorf("Work printed %q; want a sample with a rate", out.String())
	}
	for _, arguments := range [][]string{
		{}, {oursCase, handoff.OneToOneWords}, {oursCase, handoff.OneToOneWords, "0"},
		{oursCase, "no-such", "2"}, {"nobody", handoff.OneToOneWords, "2"},
	} {
		if err := Work(arguments, &out); err == nil {
			t.Errorf("Work(%q) = nil; want an error", arguments)
		}
	}
}

func TestPeersAreParsed(t *testing.T) {
	program := filepath.Join(t.TempDir(), "peer")
	script := "#!/bin/sh\n[ \"$1 $2\" = \"fast scenarios\" ] && echo 1p1c-8 1p1c-64\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	peers, err := parsePeers(t.Context(), "mine="+program+" fast; ")
	if err != nil || len(peers) != 1 || peers[0].name != "mine" ||
		!peers[0].has("1p1c-64") || peers[0].has("hop-8") {
		t.Fatalf("parsePeers = %+v, %v; want one peer with two scenarios", peers, err)
	}
	if command := peers[0].run("1p1c-8", time.Second); strings.Join(command.Args, " ") != "fast 1p1c-8 1000" {
		t.Errorf("arguments %q; want fast 1p1c-8 1000", command.Args)
	}
	for _, text := range []string{"mine", "=x", "mine=", "mine=" + program} {
		if _, err := parsePeers(t.Context(), text); err == nil {
			t.Errorf("parsePeers(%q) = nil; want an error", text)
		}
	}
}
