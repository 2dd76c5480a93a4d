package benchkit

import (
	"context"
	"fmt"
	"runtime"
	"strings"
)

// Bounds of a round that counts.
const (
	canaryBand  = 1.5  // times the best hop of the run
	stealMax    = 0.01 // share of all processor time that the host took away
	otherMax    = 0.3  // cores that other processes used
	canaryFirst = 5    // runs of the canary before the first round, so that the best is a good one
	// watchMin is how many nanoseconds a round must last to be judged by counters of 10 ms ticks.
	watchMin = int64(250e6)
)

// GuardOptions say when a round of a suite is discarded and repeated.
type GuardOptions struct {
	Off       bool    // nothing is discarded, and the report says so: for trying a suite out
	CanaryMax float64 // nanoseconds per hop that the canary may take at most; 0 means 1.5 times the best
	Repeats   int     // discarded rounds per scenario before it goes on without; 0 means twice the rounds + 3
}

// Guarding is what the guard saw, for the report.
type Guarding struct {
	On        bool        `json:"on"`
	Canary    string      `json:"canary"`       // C, Go, or why there is none
	BestHop   float64     `json:"best_hop_ns"`  // fastest median hop of the run
	WorstHop  float64     `json:"worst_hop_ns"` // slowest one, in any round
	HopMax    float64     `json:"hop_max_ns"`   // the bound that was asked for; 0 if none was
	Seconds   float64     `json:"seconds"`      // of all rounds together, with the canaries
	Discarded []Discarded `json:"discarded"`
}

// Discarded is a round that did not count.
type Discarded struct {
	Scenario string `json:"scenario"`
	Round    int    `json:"round"`
	Why      string `json:"why"`
}

// guard judges rounds. It belongs to one goroutine.
type guard struct {
	canary canary
	max    float64
	// usage reads the counters of the machine; ok is false where there are none.
	usage func() (machineUse, bool)
	now   func() int64
	seen  Guarding
}

// newGuard prepares the canary in dir.
func newGuard(ctx context.Context, o GuardOptions, dir string, now func() int64) (*guard, error) {
	g := &guard{max: o.CanaryMax, usage: readMachineUse, now: now}
	g.seen = Guarding{On: !o.Off, HopMax: o.CanaryMax, Discarded: []Discarded{}}
	if o.Off {
		g.seen.Canary = "off"
		return g, nil
	}
	var err error
	if g.canary, err = newCanary(ctx, dir); err != nil {
		return nil, err
	}
	g.seen.Canary = g.canary.kind
	return g, g.calibrate(ctx)
}

func (g *guard) calibrate(ctx context.Context) error {
	for range canaryFirst {
		if _, err := g.sing(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sing runs the canary once and returns its hop, 0 if there is none.
func (g *guard) sing(ctx context.Context) (float64, error) {
	if g.canary.hop == nil {
		return 0, nil
	}
	hop, err := g.canary.hop(ctx)
	if err != nil {
		return 0, err
	}
	if g.seen.BestHop == 0 || hop < g.seen.BestHop {
		g.seen.BestHop = hop
	}
	g.seen.WorstHop = max(g.seen.WorstHop, hop)
	return hop, nil
}

// inBand reports whether a hop is as fast as it has to be, as far as is known by now. A bound that was asked
// for is the only one: on a virtual machine the best hop of a run may be that of a lucky moment, in which two
// threads shared a core, and no other round would ever come near it.
func (g *guard) inBand(hop float64) bool {
	if g.max != 0 {
		return hop <= g.max
	}
	return hop <= canaryBand*g.seen.BestHop
}

// watched is what was seen around one round.
type watched struct {
	hop       float64 // the slower one of the canaries before and after
	disturbed string  // why the round does not count, by anything but the canary; or ""
}

// watch runs a round between two canaries.
func (g *guard) watch(ctx context.Context, round func() error) (w watched, err error) {
	if !g.seen.On {
		return w, round()
	}
	before, err := g.sing(ctx)
	if err != nil {
		return w, err
	}
	usedBefore, known := g.usage()
	start := g.now()
	if err := round(); err != nil {
		return w, err
	}
	nanos := g.now() - start
	if usedAfter, still := g.usage(); known && still {
		w.disturbed = disturbance(usedAfter.minus(usedBefore), nanos)
	}
	after, err := g.sing(ctx)
	w.hop = max(before, after)
	return w, err
}

// judge says why a round does not count, or "".
func (g *guard) judge(w watched) string {
	var why []string
	if g.seen.On && w.hop > 0 && !g.inBand(w.hop) {
		limit := fmt.Sprintf("best of the run %.0f ns", g.seen.BestHop)
		if g.max != 0 {
			limit = fmt.Sprintf("bound %.0f ns", g.max)
		}
		why = append(why, fmt.Sprintf("canary %.0f ns per hop, %s", w.hop, limit))
	}
	if w.disturbed != "" {
		why = append(why, w.disturbed)
	}
	return strings.Join(why, ", ")
}

// machineUse are counters of processor time, in nanoseconds.
type machineUse struct {
	total, busy, steal int64 // of all processors; busy is without idle, waiting and steal
	own                int64 // of this process and its children
}

func (u machineUse) minus(before machineUse) machineUse {
	return machineUse{u.total - before.total, u.busy - before.busy, u.steal - before.steal, u.own - before.own}
}

// disturbance judges what was used while nanos passed. A round that is too short for the counters is taken.
func disturbance(u machineUse, nanos int64) string {
	if nanos < watchMin || u.total <= 0 {
		return ""
	}
	if share := float64(u.steal) / float64(u.total); share > stealMax {
		return fmt.Sprintf("steal %.1f %%", share*100)
	}
	// What this process used is known exactly, what all used only in ticks: one tick per processor is noise.
	other := float64(u.busy-u.own-int64(runtime.NumCPU())*10e6) / float64(nanos)
	if other > otherMax {
		return fmt.Sprintf("others used %.2f cores", other)
	}
	return ""
}
