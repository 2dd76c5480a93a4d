package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/leatbus/leat/internal/clock"
)

func main() {
	if code, child := becomeWriter(); child {
		os.Exit(code)
	}
	cuts := flag.Int("cuts", 200, "how many times the power is cut")
	perRun := flag.Int("per-run", 50, "cuts of one run of the writer")
	steps := flag.Int("steps", 250, "steps of the writer in a run")
	seed := flag.Uint64("seed", uint64(clock.System.Now()), "repeats the choices of a run")
	flag.Parse()
	summary, err := run(*seed, *cuts, *perRun, *steps)
	fmt.Println(summary)
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}
