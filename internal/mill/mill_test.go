package mill

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"testing"
	"testing/synctest"
)

var (
	seedsFlag   = flag.Int("seeds", 0, "how many seeds TestMill runs; 0 for the usual number")
	seedFlag    = flag.Uint64("seed", 1, "the first seed; LEAT_SEED is this one alone")
	stepsFlag   = flag.Int("steps", 1<<30, "after how many events the trouble of TestMill ends")
	withoutFlag = flag.Uint("without", 0, "bits of trouble that is left out")
)

// runSeed runs one plan.
func runSeed(t *testing.T, p plan, verbose func(string, ...any)) (err error, w *world) {
	synctest.Test(t, func(*testing.T) {
		w = newWorld(p, synctest.Wait, verbose)
		err = w.run()
	})
	return err, w
}

// shrink gives the plan with as little trouble, and as few events of it, as a failure of the same kind takes.
func shrink(t *testing.T, p plan, found *finding, events int) plan {
	same := func(p plan) bool {
		err, _ := runSeed(t, p, nil)
		f, ok := err.(*finding)
		return ok && f.kind == found.kind
	}
	for bit := trouble(1); bit < allTrouble; bit <<= 1 {
		less := p
		less.without |= bit
		if p.has(bit) && same(less) {
			p = less
		}
	}
	lo, hi := 0, min(p.steps, events)
	for lo < hi {
		less := p
		if less.steps = (lo + hi) / 2; same(less) {
			hi, p.steps = less.steps, less.steps
		} else {
			lo = less.steps + 1
		}
	}
	return p
}

// reproduce says how to have a failure again.
func reproduce(p plan) string {
	return fmt.Sprintf("LEAT_SEED=%d go test ./internal/mill -run 'TestMill$' -v -steps %d -without %d", p.seed,
		p.steps, p.without)
}

// TestMill runs queue groups, and one seed in delaySeeds delayed messages, through the trouble of many seeds.
func TestMill(t *testing.T) {
	first, n := *seedFlag, *seedsFlag
	if n == 0 {
		n = 2200
		if testing.Short() {
			n = 220
		}
	}
	var verbose func(string, ...any)
	if text := os.Getenv("LEAT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, n = seed, 1
		if testing.Verbose() {
			verbose = t.Logf
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // there is little to keep
	var all counts
	for seed := first; seed < first+uint64(n); seed++ {
		p := planOf(seed)
		p.steps, p.without = *stepsFlag, trouble(*withoutFlag)
		err, w := runSeed(t, p, verbose)
		all.add(&w.counts)
		f, ok := err.(*finding)
		if !ok {
			continue
		}
		t.Errorf("LEAT_SEED=%d: %v\nwith less: %s", seed, f, reproduce(shrink(t, p, f, w.done)))
		if t.Failed() && n > 1 && seed > first+1000 {
			break
		}
	}
	t.Logf("%d seeds: %+v", n, all)
}

// TestMillRepeats: a seed does the same each time, or nothing that it finds could be looked at.
func TestMillRepeats(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		var digests [2]uint64
		for i := range digests {
			_, w := runSeed(t, planOf(seed), nil)
			digests[i] = w.digest
		}
		if digests[0] != digests[1] {
			t.Errorf("LEAT_SEED=%d: two runs differ", seed)
		}
	}
}
