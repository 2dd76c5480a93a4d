package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// steps names what each command runs, in this order: the tests come last, because their lines are
// what a reader of a log looks for at its end.
var steps = map[string][]step{
	"test": {{"vet", vet}, {"fuzz", fuzz}, {"race", race}, {"ports", ports}, {"models", models},
		{"bench", bench}, {"schemathesis", schemathesis}, {"test", test}},
	"race":   {{"race", race}},
	"fuzz":   {{"fuzz", fuzz}},
	"models": {{"models", models}},

	"schemathesis": {{"schemathesis", schemathesis}},
}

type step struct {
	name string
	run  func(context.Context, *checker) error
}

// errSkipped marks a step that this machine cannot run; its text says why.
var errSkipped = errors.New("skipped")

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	fuzzRuns := flags.Int("fuzzruns", 4_000, "how many inputs each fuzz target gets")
	if len(args) == 0 || steps[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: check test|race|fuzz|models|schemathesis [-fuzzruns 4000]")
		return 2
	}
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	c := &checker{fuzzRuns: *fuzzRuns, run: runGo, output: runGoOutput, program: runProgram, look: lookPath}
	summary, ok := c.runSteps(ctx, steps[args[0]])
	fmt.Println(summary)
	if !ok {
		return 1
	}
	return 0
}

// checker holds what the steps share.
type checker struct {
	fuzzRuns int
	// run runs go with the streams of this process, see runGo; output returns its standard output instead.
	run    func(ctx context.Context, args ...string) error
	output func(ctx context.Context, args ...string) (string, error)
	// program runs any other program in a folder and returns all it printed; look tells whether it exists.
	program func(ctx context.Context, dir string, command []string) (string, error)
	look    func(name string) error
	notes   []string // what each step has to say in the summary
}

// runSteps runs all steps, whatever becomes of each, and returns one line about them.
func (c *checker) runSteps(ctx context.Context, steps []step) (summary string, ok bool) {
	start := clock.System.Mono()
	ok = true
	var parts []string
	for _, step := range steps {
		c.notes = nil
		stepStart := clock.System.Mono()
		err := step.run(ctx, c)
		result := "ok"
		switch {
		case errors.Is(err, errSkipped):
			result = "SKIPPED"
			fmt.Printf("check: %s: %v\n", step.name, err)
		case err != nil:
			result, ok = "FAILED", false
			fmt.Printf("check: %s: %v\n", step.name, err)
		}
		note := strings.Join(append(c.notes, since(stepStart)), ", ")
		parts = append(parts, fmt.Sprintf("%s %s (%s)", step.name, result, note))
	}
	verdict := "ok"
	if !ok {
		verdict = "FAILED"
	}
	return fmt.Sprintf("check: %s in %s: %s", verdict, since(start), strings.Join(parts, "; ")), ok
}

func since(start int64) string {
	return time.Duration(clock.System.Mono() - start).Round(time.Second).String()
}
