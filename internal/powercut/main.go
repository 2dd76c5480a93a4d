package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/leatbus/leat/internal/clock"
)

// plan is what a call of this program does.
type plan struct {
	seed   uint64
	cuts   int
	perRun int
	steps  int    // of the writer in a run
	fs     string // the file system
	lie    bool   // the writer's syncs do nothing
}

func main() {
	if code, child := becomeWriter(); child {
		os.Exit(code)
	}
	var p plan
	flag.IntVar(&p.cuts, "cuts", 200, "how many times the power is cut")
	flag.IntVar(&p.perRun, "per-run", 50, "cuts of one run of the writer")
	flag.IntVar(&p.steps, "steps", 250, "steps of the writer in a run")
	flag.Uint64Var(&p.seed, "seed", uint64(clock.System.Now()), "repeats the choices of a run")
	flag.StringVar(&p.fs, "fs", "ext4", "file system: ext4, xfs (with reflinks) or btrfs")
	flag.BoolVar(&p.lie, "lie", false, "negative control: syncs do nothing, and what is lost is counted")
	flag.Parse()
	summary, err := run(p)
	fmt.Println(summary)
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}
