package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What verifiers printed, shortened.
const (
	printedHolds = "State-vector 64 byte, depth reached 223, errors: 0\n  3787916 states, stored\n"
	printedFails = "pan:1: assertion violated (slot==1) (at depth 27)\npan: wrote claim.pml.trail\n" +
		"Warning: Search not completed\n\tinvalid end states\t+\nState-vector 64 byte, errors: 1\n" +
		"     7086 states, stored\n"
	printedDeadlock = "pan:1: invalid end state (at depth 451)\nState-vector 56 byte, errors: 1\n"
	printedDepth    = "error: max search depth too small\n" + printedHolds
	printedMemory   = "pan: reached -DMEMLIM bound\n\t3e+09 bytes used\n\tinvalid end states\t+\n" + printedHolds
)

func TestJudge(t *testing.T) {
	holds, fails := modelRow{file: "a.pml"}, modelRow{file: "a.pml", fails: true}
	tests := []struct {
		name    string
		row     modelRow
		printed string
		verdict string
		bad     string // part of the error; "" for none
	}{
		{"holds", holds, printedHolds, "holds, 3787916 states", ""},
		{"fails as it must", fails, printedFails, "fails as it must: assertion violated, 7086 states", ""},
		{"sleeps as it must", fails, printedDeadlock, "fails as it must: invalid end state, ? states", ""},
		{"should hold", holds, printedFails, "FAILS", "assertion violated"},
		{"should fail", fails, printedHolds, "PASSES", "although its fix is switched off"},
		{"depth", holds, printedDepth, "not verified", "a limit was reached"},
		{"depth of one that fails", fails, printedDepth, "not verified", "a limit was reached"},
		{"memory", holds, printedMemory, "not verified", "a limit was reached"},
		{"no count", holds, "Segmentation fault", "not verified", "counted no errors"},
		{"an error of the model itself", fails, "pan:1: index out of range\nerrors: 1\n", "not verified",
			"not a breach"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			verdict, err := judge(tt.row, tt.printed)
			if verdict != tt.verdict || (err == nil) != (tt.bad == "") ||
				err != nil && !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("judge = %q, %v; want %q, error %q", verdict, err, tt.verdict, tt.bad)
			}
		})
	}
}

func TestModelsVerifiesEveryRow(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	// Every model fails: rows that must fail are well, the others are not.
	c := &checker{look: func(string) error { return nil }}
	c.program = func(_ context.Context, _ string, command []string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, filepath.Base(command[0]))
		return printedFails, nil
	}
	err := models(t.Context(), c)
	if err == nil {
		t.Fatal("models = nil although every model fails")
	}
	for _, row := range modelRows {
		if named := strings.Contains(err.Error(), row.file+" "+row.switches+":"); named == row.fails {
			t.Errorf("%s %s named in the error: %t, want %t", row.file, row.switches, named, !row.fails)
		}
	}
	for _, name := range []string{"spin", "gcc", "pan"} {
		n := 0
		for _, call := range calls {
			if call == name {
				n++
			}
		}
		if n != len(modelRows) {
			t.Errorf("%s ran %d times, want %d", name, n, len(modelRows))
		}
	}
	c.program = func(context.Context, string, []string) (string, error) { return "", errors.New("broken") }
	if err := models(t.Context(), c); err == nil || !strings.Contains(err.Error(), "spin: broken") {
		t.Errorf("models without a working spin = %v, want its error", err)
	}
}

func TestModelsSkipsWithAReason(t *testing.T) {
	for _, missing := range []string{"spin", "gcc"} {
		c := &checker{look: func(name string) error {
			if name == missing {
				return errors.New("no " + missing)
			}
			return nil
		}}
		err := models(t.Context(), c)
		if !errors.Is(err, errSkipped) || !strings.Contains(err.Error(), "no "+missing) {
			t.Errorf("models without %s = %v, want it skipped with the reason", missing, err)
		}
	}
}

// TestEveryModelIsVerifiedBothWays: each file has a row that holds and one that fails.
func TestEveryModelIsVerifiedBothWays(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", modelsDir, "*.pml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no models found: %v", err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		for _, fails := range []bool{false, true} {
			if !slices.ContainsFunc(modelRows, func(r modelRow) bool { return r.file == name && r.fails == fails }) {
				t.Errorf("%s has no row with fails %t", name, fails)
			}
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range modelRows {
			for _, define := range strings.Fields(row.switches) {
				switchName, _, _ := strings.Cut(strings.TrimPrefix(define, "-D"), "=")
				if row.file == name && !strings.Contains(string(source), "#ifndef "+switchName+"\n") {
					t.Errorf("%s does not know the switch %s", name, switchName)
				}
			}
		}
	}
}
