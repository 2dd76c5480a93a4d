package benchkit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

const (
	selfRate  = 10_000 // messages per second of the paced load
	selfFor   = time.Second
	selfStall = 100 * time.Millisecond
	// What has to be seen of the stall: a tenth of the messages wait for it, evenly from all of it to
	// nothing, so p99 is 90 % of it.
	selfP99Min = 70e3 // µs
	selfMaxMin = 100e3
)

// SelfTest checks that the harness finds what it is there to find: a stall of 100 ms in a paced load, and
// lost, repeated, reordered and corrupted messages, a missed rate and a disturbed round. The report is
// invalid if it overlooks one. It takes a few seconds.
func SelfTest(ctx context.Context, o Options) (*Report, error) {
	return (&selfTest{stall: selfStall, faults: selfFaults}).run(ctx, o)
}

// selfTest injects; its tests change what.
type selfTest struct {
	stall  time.Duration
	faults []selfFault
}

// selfFault is one thing that must make a run invalid.
type selfFault struct {
	name string
	want string // part of the problem
	pass func(f *faultyPath, number uint64)
}

// selfFaults have an effect on the hundredth message.
var selfFaults = []selfFault{
	{"a lost message", "1 lost", func(f *faultyPath, number uint64) {
		if number != 100 {
			f.deliver(number)
		}
	}},
	{"a repeated message", "1 duplicated", func(f *faultyPath, number uint64) {
		f.deliver(number)
		if number == 100 {
			f.deliver(number)
		}
	}},
	{"two messages in the wrong order", "1 reordered", func(f *faultyPath, number uint64) {
		if number == 100 {
			return
		}
		f.deliver(number)
		if number == 101 {
			f.deliver(100)
		}
	}},
	{"a corrupted message", "sum wrong", func(f *faultyPath, number uint64) {
		f.deliver(number)
		if number == 100 {
			f.sum++
		}
	}},
	{"a missed rate", "disturbed", func(f *faultyPath, number uint64) {
		f.deliver(number)
		if number == 100 {
			f.pause(selfStall)
		}
	}},
}

// faultyPath brings messages from a paced sender to a receiver, badly.
type faultyPath struct {
	clock     clock.Clock
	sequences *Sequences
	sum       uint64 // of what was delivered
}

func (f *faultyPath) deliver(number uint64) {
	f.sequences.Observe(0, number)
	f.sum += number
}

func (f *faultyPath) pause(d time.Duration) {
	for end := f.clock.Mono() + int64(d); f.clock.Mono() < end; {
	}
}

func (t *selfTest) run(ctx context.Context, o Options) (*Report, error) {
	o.Guard = GuardOptions{Off: true, Repeats: 9}
	o.Rounds, o.Only = 1, nil
	stall := t.stallSuite()
	report, err := stall.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	report.Scenario, report.Guard = "selftest", nil
	row := &report.Rows[0]
	if row.Latency.P99 < selfP99Min || row.Latency.Max < selfMaxMin {
		report.problem("a stall of %v was overlooked: p99 %s, max %s; want at least 70 ms and 100 ms",
			t.stall, micros(row.Latency.P99), micros(row.Latency.Max))
	}
	for _, fault := range t.faults {
		found, err := t.finds(ctx, o, fault)
		if err != nil {
			return nil, err
		}
		report.found(fault.name, found)
	}
	found, err := findsDisturbance(ctx, o)
	if err != nil {
		return nil, err
	}
	report.found("a round with a slow canary", found)
	return report, nil
}

// found adds a row for something that was injected.
func (r *Report) found(what string, found bool) {
	value := 1.0
	if !found {
		value = 0
		r.problem("%s was overlooked", what)
	}
	r.row(what, "-", "found", []float64{value})
}

// stallSuite has one load whose receiver stalls in the middle, measured in two ways.
func (t *selfTest) stallSuite() *Suite {
	return &Suite{Name: "selftest", Scenarios: []Scenario{{
		Name: "stall",
		About: fmt.Sprintf("open loop at %d msgs/s for %v, the receiver stalls once for %v",
			selfRate, selfFor, t.stall),
		Measure: ByP99,
		Cases: []Case{
			{Name: "from the intended time", Role: Ours,
				Run: func(ctx context.Context, _ int) (Sample, error) { return t.stalled(ctx, true) }},
			{Name: "from the send time", Role: Peer, Note: "for comparison: this hides most of the stall",
				Run: func(ctx context.Context, _ int) (Sample, error) { return t.stalled(ctx, false) }},
		},
	}}}
}

// stalled sends to a receiver that makes the sender wait, as one with a receipt does.
func (t *selfTest) stalled(ctx context.Context, fromIntended bool) (s Sample, err error) {
	const n = int64(selfRate) * int64(selfFor) / int64(time.Second)
	path := &faultyPath{clock: clock.System, sequences: NewSequences(1)}
	h := NewHistogram()
	number := uint64(0)
	err = paced(ctx, path.clock, &s, selfRate, n, func(intended int64) error {
		from := intended
		if !fromIntended {
			from = path.clock.Mono()
		}
		if number == uint64(n)/2 {
			path.pause(t.stall)
		}
		path.deliver(number)
		number++
		h.Record(path.clock.Mono() - from)
		return nil
	})
	s.Measured(h)
	s.Judged(path.sequences.Against([]uint64{number}))
	return s, err
}

// finds reports whether a run with a fault is invalid because of it.
func (t *selfTest) finds(ctx context.Context, o Options, fault selfFault) (bool, error) {
	run := func(ctx context.Context, _ int) (s Sample, err error) {
		path := &faultyPath{clock: clock.System, sequences: NewSequences(1)}
		number, sum := uint64(0), uint64(0)
		err = paced(ctx, path.clock, &s, selfRate, selfRate/50, func(int64) error {
			fault.pass(path, number)
			sum += number
			number++
			return nil
		})
		s.Judged(path.sequences.Against([]uint64{number}))
		s.SumWrong = s.Lost == 0 && s.Duplicated == 0 && path.sum != sum
		return s, err
	}
	suite := &Suite{Name: "selftest", Scenarios: []Scenario{{Name: "fault",
		Cases: []Case{{Name: fault.name, Role: Ours, Run: run}}}}}
	report, err := suite.Run(ctx, o)
	if err != nil {
		return false, err
	}
	return !report.Valid && strings.Contains(report.Err().Error(), fault.want), nil
}

// findsDisturbance runs a round under a canary that is slow once, and looks whether it was repeated.
func findsDisturbance(ctx context.Context, o Options) (found bool, err error) {
	b, err := newBench("selftest", o)
	if err != nil {
		return false, err
	}
	defer b.end(&err)
	hops := []float64{50, 100}
	// What really disturbs the machine meanwhile is not what has to be found.
	nobody := func() (machineUse, bool) { return machineUse{}, false }
	g := &guard{usage: nobody, now: b.clock.Mono, seen: Guarding{On: true}}
	g.canary.hop = func(context.Context) (float64, error) {
		hop := hops[0]
		hops = append(hops[1:], 50)
		return hop, nil
	}
	rounds := 0
	scenario := Scenario{Name: "disturbed", Cases: []Case{{Name: "any", Role: Ours,
		Run: func(context.Context, int) (Sample, error) { rounds++; return Sample{Rate: 1}, nil }}}}
	report, err := b.runSuite(ctx, []*Scenario{&scenario}, g)
	if err != nil {
		return false, err
	}
	return report.Valid && rounds == 3 && len(report.Guard.Discarded) == 1, nil
}
