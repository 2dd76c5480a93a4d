package mill

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
)

// delayPlan is a world of delayed messages: a node with __delay, and the partitions that they are for.
type delayPlan struct {
	levels  []core.Ack // of the partitions
	reserve int64      // offsets of those at page
	lives   int        // of what is due soon: how many times the duration of the trouble, in eighths
	plant   delayPlant
}

// delaySeeds: one seed in so many is a world of delays.
const delaySeeds = 5

// planOf draws the plan of a seed, of one kind or the other.
func planOf(seed uint64) plan {
	if seed%delaySeeds == 0 {
		return newDelayPlan(seed)
	}
	return newPlan(seed)
}

// newDelayPlan draws the plan of a world of delays.
func newDelayPlan(seed uint64) plan {
	d := rand.New(rand.NewPCG(seed, 3))
	p := plan{seed: seed, steps: 1 << 30, level: core.AckPage, delays: &delayPlan{}}
	for _, t := range []struct {
		what  trouble
		often int // in 8
	}{{powerCuts, 5}, {kills, 4}, {clockSteps, 4}, {slowDisk, 3}, {snapshots, 2}, {refusals, 3}} {
		if d.IntN(8) < t.often {
			p.trouble |= t.what
		}
	}
	p.records = 10 + d.IntN(60)
	p.duration = second * (1 + d.Int64N(20))
	p.spacing = p.duration / int64(p.records)
	p.lag = ms * (1 + d.Int64N(50))
	p.syncs = ms * (1 + d.Int64N(10))
	for range 1 + d.IntN(3) {
		level := core.AckDisk
		if d.IntN(2) == 0 {
			level = core.AckPage
		}
		p.delays.levels = append(p.delays.levels, level)
	}
	if d.IntN(2) == 0 {
		p.delays.reserve = reserved
	}
	p.delays.lives = 1 + d.IntN(10)
	return p
}

// lateMost is how late a message may be at most that nothing is in the way of; ok is false where disks make
// messages late. A clock that goes forward is noticed after a 256th of the time that was left, of an hour.
func (p *plan) lateMost() (most int64, ok bool) {
	most = 100 * ms
	if p.has(clockSteps) {
		most += 10*second + 3600*second/256
	}
	return most, !p.has(slowDisk) && !p.has(refusals)
}

// delayPlant is a defect of the shell of __delay, which the oracle has to find.
type delayPlant int

const (
	soundDelays    delayPlant = iota
	dueRounded                // what is due in the current millisecond is delivered
	dueMonotonic              // time is not that of the wall clock
	marginMissing             // the time in the target is before the message is due
	restTooLong               // the loop sleeps until the next message
	endFirst                  // a message ends before its target has stored it
	markFirst                 // a mark is written before the ends below it
	markUnsure                // a mark that goes back is not on the disk before there are deliveries
	targetsNotRead            // what targets have is not looked at
	foundOnce                 // the end of what targets have is written once, and may be refused
	tagIgnored                // any message at the offset of a handle counts
	firedUnstored             // what is not on the disk in __delay is delivered
	changeUnstored            // a call is told that a message is changed before that is stored
	replacedKept              // a rescheduled message goes on waiting
	dueKept                   // a rescheduled message is due when it was
	refusedDropped            // what a target refuses is forgotten
	releaseMissing            // what cannot be cancelled waits no more
	takenReversed             // what is due together is delivered in any order
	answersMixed              // a target answers what is stored first before what it got first
	outcomeMixed              // a cancelled message is said to be delivered
)

// plantedDelays is each defect, and as what it may be found.
var plantedDelays = []struct {
	plant delayPlant
	name  string
	kinds []string
	seeds uint64        // within so many
	worse func(p *plan) // what is changed for it; nil for nothing
}{
	{dueRounded, "due rounded", []string{"early"}, 100, nil},
	{dueMonotonic, "due monotonic", []string{"early"}, 100, nil},
	{marginMissing, "margin missing", []string{"early"}, 100, nil},
	{restTooLong, "rest too long", []string{"late"}, 100, nil},
	{endFirst, "end first", []string{"lost", "untrue"}, 100, nil},
	{markFirst, "mark first", []string{"twice"}, 100, nil},
	{markUnsure, "mark unsure", []string{"twice"}, 400, worse(powerCuts, core.AckPage)},
	{targetsNotRead, "targets not read", []string{"twice"}, 100, nil},
	{foundOnce, "found once", []string{"twice"}, 400, worse(refusals|kills, 0)},
	{tagIgnored, "tag ignored", []string{"lost", "untrue"}, 400,
		worse(powerCuts|kills|slowDisk, core.AckPage)},
	{firedUnstored, "fired unstored", []string{"twice"}, 400, worse(powerCuts|slowDisk, core.AckDisk)},
	{changeUnstored, "change unstored", []string{"cancelled", "early"}, 100,
		worse(powerCuts|slowDisk, core.AckDisk)},
	{replacedKept, "replaced kept", []string{"twice", "cancelled", "early"}, 100, nil},
	{dueKept, "due kept", []string{"early"}, 100, nil},
	{refusedDropped, "refused dropped", []string{"lost", "untrue"}, 100, nil},
	{releaseMissing, "release missing", []string{"lost"}, 100, nil},
	{takenReversed, "taken reversed", []string{"order"}, 100, nil},
	{answersMixed, "answers mixed", []string{"twice"}, 400, worse(kills|slowDisk, core.AckPage)},
	{outcomeMixed, "outcome mixed", []string{"untrue"}, 100, nil},
}

// worse makes trouble that a defect needs, and has all targets be at a level if it is not 0.
func worse(what trouble, level core.Ack) func(p *plan) {
	return func(p *plan) {
		p.trouble |= what
		for i := range p.delays.levels {
			p.delays.levels[i] = max(level, p.delays.levels[i])
			if level == core.AckPage {
				p.delays.levels[i], p.delays.reserve = level, 0
			}
		}
	}
}

// TestMillFindsPlantedDelayDefects: each defect is found within few seeds, and is called what it is; those
// that take more than a few are left out with -short.
func TestMillFindsPlantedDelayDefects(t *testing.T) {
	for _, tt := range plantedDelays {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.seeds > 100 {
				t.Skip("it takes many seeds")
			}
			for seed := uint64(1); seed <= tt.seeds; seed++ {
				p := newDelayPlan(seed)
				if p.delays.plant = tt.plant; tt.worse != nil {
					tt.worse(&p)
				}
				err, w := runSeed(t, p, nil)
				if err == nil {
					continue
				}
				if f := err.(*finding); !slices.Contains(tt.kinds, f.kind) {
					t.Errorf("seed %d: found as %v, want one of %v", seed, f, tt.kinds)
				}
				t.Logf("seed %d, event %d: %v", seed, w.done, err)
				return
			}
			t.Errorf("not found in %d seeds", tt.seeds)
		})
	}
}
