package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/internal/crashload"
	"github.com/leatbus/leat/mmaplog"
)

// runPlan does runs until there are enough cuts, at page and disk in turn, and gives the first finding.
func runPlan(p plan) (*tally, error) {
	t := &tally{FS: p.fs, Aimed: map[string]int{}}
	started := clock.System.Mono()
	fs, err := findFileSystem(p.fs)
	if err != nil {
		return t, err
	}
	dir, err := os.MkdirTemp("", "leat-powercut-")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(dir)
	empty, err := fs.make(dir)
	if err != nil {
		return t, err
	}
	for i := 0; t.Cuts < p.cuts; i++ {
		if err := oneRun(p, i, fs, empty, t); err != nil {
			return t, fmt.Errorf("seed %d, run %d: %w", p.seed, i, err)
		}
	}
	t.For = time.Duration(clock.System.Mono() - started)
	return t, nil
}

func oneRun(p plan, i int, fs fileSystem, empty []byte, t *tally) (err error) {
	r, err := newRig(fs, empty)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	random := rand.New(rand.NewPCG(p.seed, uint64(i)))
	load := crashload.Spec{Disk: i%2 == 1, Seed: random.Uint64(), Steps: p.steps, NoMap: i%6 == 5, Cut: i%3 > 0}
	if i%4 == 3 {
		load.TrimAt, load.Steps = 9, 3*p.steps // more segments at once than are kept to be used again
	}
	run, err := r.load(writerSpec{Load: load, Lie: p.lie})
	if err != nil {
		return err
	}
	if len(run.ops) == 0 {
		return errors.New("nothing reached the disk")
	}
	if err := r.unmountLive(); err != nil {
		return err
	}
	return r.cutMany(run, min(p.perRun, p.cuts-t.Cuts), random, t)
}

// plannedCut is a moment: just before an operation.
type plannedCut struct {
	at         int
	point, why string // aimed at a failpoint, or not
}

// planCuts draws n cuts, half of them right behind failpoints: each time behind the one at which the fewest
// cuts were aimed so far, those before this run included.
func planCuts(ops []operation, n int, before map[string]int, random *rand.Rand) []plannedCut {
	hits := findPoints(ops)
	aimed := map[string]int{}
	maps.Copy(aimed, before)
	names := slices.Sorted(maps.Keys(hits))
	var plan []plannedCut
	for i := range n {
		if i%2 == 0 || len(names) == 0 {
			plan = append(plan, plannedCut{at: random.IntN(len(ops) + 1), why: "anywhere"})
			continue
		}
		name := slices.MinFunc(names, func(a, b string) int { return aimed[a] - aimed[b] })
		aimed[name]++
		at := hits[name][random.IntN(len(hits[name]))] + random.IntN(4)
		plan = append(plan, plannedCut{at: min(at, len(ops)), point: name, why: "behind " + name})
	}
	slices.SortFunc(plan, func(a, b plannedCut) int { return a.at - b.at })
	return plan
}

// findPoints gives, for each failpoint that the writer passed, the first operations behind it.
func findPoints(ops []operation) map[string][]int {
	hits := map[string][]int{}
	before := make([]uint64, len(mmaplog.Points()))
	for i, op := range ops {
		passed := op.progress.Passed()
		for n, name := range mmaplog.Points() {
			if passed[n] > before[n] {
				before[n] = passed[n]
				hits[name] = append(hits[name], i)
			}
		}
	}
	return hits
}
