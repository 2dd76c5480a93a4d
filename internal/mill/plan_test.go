package mill

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/leatbus/leat/core"
)

// Units of virtual time.
const (
	ms     = int64(time.Millisecond)
	second = int64(time.Second)
)

// trouble is what may go wrong in a run, a bit each, so that a run that fails may be tried without it.
type trouble uint16

const (
	powerCuts   trouble = 1 << iota
	kills               // of the process: the disk keeps everything
	clockSteps          // of the wall clock, back and forth
	slowDisk            // syncs that take seconds
	retention           // the log loses its beginning
	snapshots           // of __groups, which then loses its beginning
	badMembers          // answers that are late, wrong or missing, members that come and go
	poison              // records that always fail
	deadRefused         // dead letters that cannot be stored at first
	refusals            // a disk that is full for a while
	allTrouble  = 1<<iota - 1
)

// groupPlan is one group of a run.
type groupPlan struct {
	name    string
	cfg     core.QueueConfig
	members int
	held    int32 // most records that a member has
	pullers int   // who take records without a session
}

// plan is what a seed makes of a run, before anything happens.
type plan struct {
	seed    uint64
	steps   int // events until the trouble ends, if it does not before
	without trouble
	plant   plant // the defect of the shell, for tests of the oracle

	trouble  trouble
	level    core.Ack
	records  int
	keys     int
	spacing  int64 // between two publishes, on average
	duration int64 // of the trouble
	lag      int64 // of a message to or from a member, at most
	syncs    int64 // how long one usually takes, at most
	groups   []groupPlan
	delays   *delayPlan // nil if the world is one of groups
}

// newPlan draws a plan from the seed. What is taken away by without changes nothing else.
func newPlan(seed uint64) plan {
	d := rand.New(rand.NewPCG(seed, 1))
	p := plan{seed: seed, steps: 1 << 30, level: core.AckDisk}
	if d.IntN(3) == 0 {
		p.level = core.AckPage
	}
	for _, t := range []struct {
		what  trouble
		often int // in 8
	}{{powerCuts, 5}, {kills, 3}, {clockSteps, 4}, {slowDisk, 2}, {retention, 1}, {snapshots, 2},
		{badMembers, 6}, {poison, 5}, {deadRefused, 3}} {
		if d.IntN(8) < t.often {
			p.trouble |= t.what
		}
	}
	p.records = 20 + d.IntN(60)
	if d.IntN(8) == 0 {
		p.records *= 4
	}
	p.keys = 1 + d.IntN(12)
	p.duration = second * (1 + d.Int64N(20))
	if d.IntN(4) == 0 {
		p.duration *= 6
	}
	p.spacing = p.duration / int64(p.records)
	p.lag = ms * (1 + d.Int64N(50))
	p.syncs = ms * (1 + d.Int64N(10))
	kind := d.IntN(4) // 0: both kinds of groups on the same log
	if kind < 2 {
		p.groups = append(p.groups, newGroupPlan("ordered", true, d))
	}
	if kind != 1 {
		p.groups = append(p.groups, newGroupPlan("queue", false, d))
	}
	d = rand.New(rand.NewPCG(seed, 4))
	for i := range p.groups {
		g := &p.groups[i]
		if d.IntN(4) == 0 {
			g.pullers = 1 + d.IntN(3)
		}
		g.cfg.Filtered = d.IntN(5) == 0
	}
	return p
}

func newGroupPlan(name string, ordered bool, d *rand.Rand) groupPlan {
	pick := func(list ...int64) int64 { return list[d.IntN(len(list))] }
	g := groupPlan{name: name, members: 1 + d.IntN(4), held: int32(pick(1, 3, 20, 100, 1000))}
	g.cfg = core.QueueConfig{
		Ordered:      ordered,
		Lease:        time.Duration(pick(50, 300, 2000, 30_000) * ms),
		MaxAttempts:  int32(pick(-1, 1, 2, 3, 5, 16)),
		MaxUnsettled: pick(0, 0, 20, 200),
		Retry: core.Backoff{
			Min:    time.Duration(pick(20, 100, 500) * ms),
			Max:    time.Duration(pick(500, 2000, 20_000) * ms),
			Factor: float64(pick(1, 2, 10)),
			Jitter: float64(pick(0, 2, 10)) / 10,
		},
		Rate: pick(0, 0, 0, 20, 100, 1000),
	}
	return g.fair()
}

// fair keeps what fails for ever, or for long, from using up the group's bound and rate, which are meant to
// stop the others too.
func (g groupPlan) fair() groupPlan {
	if g.cfg.MaxAttempts < 0 && !g.cfg.Ordered { // its retries come before new records, and may take all members
		g.cfg.MaxAttempts = 5
	}
	if g.cfg.MaxAttempts < 0 || g.cfg.MaxAttempts > 5 {
		g.cfg.MaxUnsettled, g.cfg.Rate = 0, 0
	}
	return g
}

// forever reports whether a group tries for ever.
func (p *plan) forever() bool {
	return slices.ContainsFunc(p.groups, func(g groupPlan) bool { return g.cfg.MaxAttempts < 0 })
}

func (p *plan) has(t trouble) bool { return p.trouble&t&^p.without != 0 }

// patience is how long it may take at most until everything is settled, once the trouble has ended.
func (p *plan) patience(stepped int64) int64 {
	return 3*3600*second + stepped
}
