package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/internal/crashload"
)

// plan is what a call of this program does.
type plan struct {
	seed   uint64
	cuts   int
	perRun int
	steps  int // of the writer in a run
	lie    bool
}

// runPlan does runs until there are enough cuts, at page and disk in turn, and gives the first finding.
func runPlan(p plan) (*tally, error) {
	t := &tally{Aimed: map[string]int{}}
	started := clock.System.Mono()
	dir, err := os.MkdirTemp("", "leat-powercut-")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(dir)
	empty, err := makeDisk(dir)
	if err != nil {
		return t, err
	}
	for i := 0; t.Cuts < p.cuts; i++ {
		if err := oneRun(p, i, empty, t); err != nil {
			return t, fmt.Errorf("seed %d, run %d: %w", p.seed, i, err)
		}
	}
	t.For = time.Duration(clock.System.Mono() - started)
	return t, nil
}

func oneRun(p plan, i int, empty []byte, t *tally) (err error) {
	r, err := newRig(empty)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	random := rand.New(rand.NewPCG(p.seed, uint64(i)))
	load := crashload.Spec{Disk: i%2 == 1, Seed: random.Uint64(), Steps: p.steps, NoMap: i%6 == 5}
	if i%4 == 3 {
		load.TrimAt, load.Steps = 9, 3*p.steps // more segments at once than are kept to be used again
	}
	level := core.AckPage
	if load.Disk {
		level = core.AckDisk
	}
	run, err := r.load(writerSpec{Load: load, Lie: p.lie})
	if err != nil {
		return err
	}
	if len(run.ops) == 0 {
		return errors.New("nothing reached the disk")
	}
	return r.cutMany(run, min(p.perRun, p.cuts-t.Cuts), level, random, t)
}
