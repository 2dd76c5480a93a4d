package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	modelsDir = "ringbuf/models"
	// modelTimeMax bounds each of the three programs that verify one row.
	modelTimeMax = 5 * time.Minute
)

// modelRow is one verification: a model, the switches it is compiled with, and whether it must fail.
// A model that passes says little unless it fails as soon as its fix is switched off.
type modelRow struct {
	file     string
	switches string // for the C preprocessor, separated by spaces
	fails    bool
}

// modelRows are verified by check models. The header of each model explains its switches.
var modelRows = []modelRow{
	{file: "claim.pml"},
	{file: "claim.pml", switches: "-DP=3 -DM=1"},
	{file: "claim.pml", switches: "-DTAG=0", fails: true},
	{file: "claim.pml", switches: "-DORDER=0", fails: true},
	{file: "claim.pml", switches: "-DABORT=0", fails: true},
	{file: "claim.pml", switches: "-DWHOLE=0", fails: true},

	{file: "headroom.pml"},
	{file: "headroom.pml", switches: "-DP=3 -DM=1"},
	{file: "headroom.pml", switches: "-DH=1", fails: true},
	{file: "headroom.pml", switches: "-DP=3 -DM=1 -DH=1", fails: true},
	{file: "headroom.pml", switches: "-DSEALBIT=0", fails: true},

	{file: "join.pml"},
	{file: "join.pml", switches: "-DFREE=1"},
	{file: "join.pml", switches: "-DAFTER=1"},
	{file: "join.pml", switches: "-DFIX=0", fails: true},
	{file: "join.pml", switches: "-DAGAIN=0", fails: true},
	{file: "join.pml", switches: "-DCLAIM=1", fails: true},
	{file: "join.pml", switches: "-DSINK=1", fails: true},
	{file: "join.pml", switches: "-DAFTER=1 -DLEAVES=1", fails: true},

	{file: "join_try.pml"},
	{file: "join_try.pml", switches: "-DFREE=1"},
	{file: "join_try.pml", switches: "-DFREE=1 -DXCHG=1"},
	{file: "join_try.pml", switches: "-DFIX=0", fails: true},
	{file: "join_try.pml", switches: "-DAGAIN=0", fails: true},
	{file: "join_try.pml", switches: "-DFENCE=0", fails: true},

	{file: "seal.pml"},
	{file: "seal.pml", switches: "-DBARRIER=0", fails: true},
	{file: "seal.pml", switches: "-DLOWER=0", fails: true},
	{file: "seal.pml", switches: "-DLOCK=0", fails: true},
	{file: "seal.pml", switches: "-DPATIENT=0", fails: true},

	{file: "park.pml", switches: "-DMODE=1"},
	{file: "park.pml", switches: "-DMODE=2"},
	{file: "park.pml", switches: "-DMODE=0", fails: true},
	{file: "park.pml", switches: "-DMODE=3", fails: true},
	{file: "park.pml", switches: "-DLOOK=0", fails: true},
	{file: "park.pml", switches: "-DTAKE=0", fails: true},

	{file: "stage.pml"},
	{file: "stage.pml", switches: "-DFIX=0", fails: true},
	{file: "stage.pml", switches: "-DORDER=0", fails: true},
}

// models verifies modelRows, several at a time, with spin and a C compiler.
func models(ctx context.Context, c *checker) error {
	for _, name := range []string{"spin", "gcc"} {
		if err := c.look(name); err != nil {
			return fmt.Errorf("%w: the models of the ring need spin and gcc: %w", errSkipped, err)
		}
	}
	dir, err := filepath.Abs(modelsDir)
	if err != nil {
		return err
	}
	verdicts := make([]string, len(modelRows))
	errs := make([]error, len(modelRows))
	places := make(chan struct{}, runtime.NumCPU())
	var group sync.WaitGroup
	for i, row := range modelRows {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			verdicts[i], errs[i] = c.verify(ctx, dir, row)
		})
	}
	group.Wait()
	for i, row := range modelRows {
		fmt.Printf("models: %-14s %-21s %s\n", row.file, row.switches, verdicts[i])
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s %s: %w", row.file, row.switches, errs[i])
		}
	}
	c.notes = append(c.notes, fmt.Sprintf("%d verifications", len(modelRows)))
	return errors.Join(errs...)
}

// verify lets spin write a verifier for one row, compiles and runs it, and judges what it printed.
func (c *checker) verify(ctx context.Context, dir string, row modelRow) (verdict string, err error) {
	work, err := os.MkdirTemp("", "leat-model-")
	if err != nil {
		return "no folder to work in", err
	}
	defer os.RemoveAll(work)
	switches := strings.Fields(row.switches)
	spin := append(append([]string{"spin", "-a"}, switches...), filepath.Join(dir, row.file))
	commands := [][]string{
		spin,
		{"gcc", "-O1", "-w", "-DSAFETY", "-DMEMLIM=3000", "-o", "pan", "pan.c"},
		{filepath.Join(work, "pan"), "-m1000000", "-n"},
	}
	var printed string
	for _, command := range commands {
		printed, err = c.program(ctx, work, command)
		if err != nil {
			return "not verified", fmt.Errorf("%s: %w\n%s", filepath.Base(command[0]), err, printed)
		}
	}
	return judge(row, printed)
}

var (
	modelErrors = regexp.MustCompile(`errors: (\d+)`)
	modelStates = regexp.MustCompile(`(\S+) states, stored`)
	// modelBreach is what a model fails with: a property that does not hold, or everybody waits.
	modelBreach = regexp.MustCompile(`assertion violated|invalid end state \(`)
	// modelLimit is what the verifier says when it could not look at all states. Its exit code is 0.
	modelLimit = regexp.MustCompile(`(?i)max search depth too small|out of memory|reached -DMEMLIM|hash-?array`)
)

// judge compares what a verifier printed with what the row expects.
func judge(row modelRow, printed string) (verdict string, err error) {
	found := modelErrors.FindStringSubmatch(printed)
	if found == nil {
		return "not verified", fmt.Errorf("the verifier counted no errors:\n%s", printed)
	}
	states := "? states"
	if match := modelStates.FindStringSubmatch(printed); match != nil {
		states = match[1] + " states"
	}
	breach := modelBreach.FindString(printed)
	switch {
	case found[1] != "0" && breach == "":
		return "not verified", fmt.Errorf("an error that is not a breach of the model:\n%s", printed)
	case found[1] != "0" && row.fails:
		return "fails as it must: " + strings.TrimSuffix(breach, " (") + ", " + states, nil
	case found[1] != "0":
		return "FAILS", fmt.Errorf("%s:\n%s", strings.TrimSuffix(breach, " ("), printed)
	case modelLimit.MatchString(printed):
		return "not verified", fmt.Errorf("a limit was reached, make the model smaller:\n%s", printed)
	case row.fails:
		return "PASSES", errors.New("passes although its fix is switched off")
	default:
		return "holds, " + states, nil
	}
}

// runProgram runs a program to its end and returns all it printed.
func runProgram(ctx context.Context, dir string, command []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, modelTimeMax)
	defer cancel()
	program := exec.CommandContext(ctx, command[0], command[1:]...)
	program.Dir = dir
	printed, err := program.CombinedOutput()
	return string(printed), err
}

func lookPath(name string) error {
	_, err := exec.LookPath(name)
	return err
}
