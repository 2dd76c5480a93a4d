package benchkit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
)

const (
	roundsDefault = 5
	missedMax     = 0.01 // share of the intended rate that may be missing in a round
)

// Run measures the scenarios of Options.Only, or all, and reports. It blocks for the whole time. A case
// that fails or loses messages makes the report invalid; an error means that there is no report. When ctx
// ends, its error is returned.
func (s *Suite) Run(ctx context.Context, o Options) (_ *Report, err error) {
	if s.Close != nil {
		defer func() { err = errors.Join(err, s.Close()) }()
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	chosen, err := s.choose(o.Only)
	if err != nil {
		return nil, err
	}
	if o.Rounds == 0 {
		o.Rounds = roundsDefault
	}
	b, err := newBench(s.Name, o)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	b.progress("get ready: canary, cost of the instruments")
	g, err := newGuard(ctx, o.Guard, b.dir, b.clock.Mono)
	if err != nil {
		return nil, err
	}
	b.report.Instruments = measureInstruments(b.clock)
	return b.runSuite(ctx, chosen, g)
}

// choose gives the named scenarios in the order of the suite, all for no name.
func (s *Suite) choose(names []string) ([]*Scenario, error) {
	var chosen []*Scenario
	for i := range s.Scenarios {
		if len(names) == 0 || slices.Contains(names, s.Scenarios[i].Name) {
			chosen = append(chosen, &s.Scenarios[i])
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(s.Scenarios, func(s Scenario) bool { return s.Name == name }) {
			return nil, fmt.Errorf("benchkit: suite %s has no scenario %q", s.Name, name)
		}
	}
	return chosen, nil
}

func (b *bench) runSuite(ctx context.Context, scenarios []*Scenario, g *guard) (*Report, error) {
	before, start := readPressure(), b.clock.Mono()
	var runs []*scenarioRun
	for _, scenario := range scenarios {
		run := newScenarioRun(b, scenario, g)
		if err := run.all(ctx); err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	for _, run := range runs {
		run.writeRows()
	}
	g.seen.Seconds = float64(b.clock.Mono()-start) / 1e9
	b.report.Guard = &g.seen
	b.report.Pressure = readPressure().minus(before)
	return b.report, nil
}

// scenarioRun is one scenario under way.
type scenarioRun struct {
	*bench
	scenario  *Scenario
	guard     *guard
	cases     []*caseRun
	kept      []*keptRound // by number; nil for one that has to be run
	discarded int
	repeats   int
}

// caseRun is one case under way.
type caseRun struct {
	*Case
	out string // why it takes no part any more, or ""
}

// keptRound is a round that counts.
type keptRound struct {
	watched
	samples []*Sample // by case; nil for a case that is out
	taken   bool      // although it was disturbed, because no repeat was left
}

func newScenarioRun(b *bench, scenario *Scenario, g *guard) *scenarioRun {
	r := &scenarioRun{bench: b, scenario: scenario, guard: g, kept: make([]*keptRound, b.Rounds)}
	for i := range scenario.Cases {
		r.cases = append(r.cases, &caseRun{Case: &scenario.Cases[i]})
	}
	if r.repeats = b.Guard.Repeats; r.repeats == 0 {
		r.repeats = 2*b.Rounds + 3
	}
	return r
}

func (r *scenarioRun) all(ctx context.Context) (err error) {
	if r.scenario.Open != nil {
		closeScenario, openErr := r.scenario.Open(ctx)
		if openErr != nil {
			return fmt.Errorf("%s: open: %w", r.scenario.Name, openErr)
		}
		if closeScenario != nil {
			defer func() { err = errors.Join(err, closeScenario()) }()
		}
	}
	if _, err := r.round(ctx, WarmUp); err != nil {
		return err
	}
	for number := r.next(); number >= 0 && r.someLeft(); number = r.next() {
		kept, err := r.guarded(ctx, number)
		if err != nil {
			return err
		}
		why := r.judge(kept)
		if why != "" && r.discard(number, why) {
			continue
		}
		kept.taken = why != ""
		r.kept[number] = kept
	}
	return ctx.Err()
}

// next gives the number of the round to run, or -1. A round that looked well and turns out to be slow,
// because the canary has been faster since, is run again.
func (r *scenarioRun) next() int {
	for number, kept := range r.kept {
		if kept == nil {
			return number
		}
		if kept.taken {
			continue
		}
		if why := r.guard.judge(kept.watched); why != "" {
			if r.discard(number, why) {
				r.kept[number] = nil
				return number
			}
			kept.taken = true
		}
	}
	return -1
}

// discard counts a round that does not count and reports whether it may be repeated.
func (r *scenarioRun) discard(number int, why string) bool {
	if r.discarded >= r.repeats {
		return false
	}
	r.discarded++
	r.progress("%s: round %d discarded: %s", r.scenario.Name, number+1, why)
	r.guard.seen.Discarded = append(r.guard.seen.Discarded, Discarded{r.scenario.Name, number, why})
	return true
}

// judge says why a round does not count, or "". Lost and reordered messages are not among the reasons: no
// disturbance of the machine excuses them.
func (r *scenarioRun) judge(kept *keptRound) string {
	if why := r.guard.judge(kept.watched); why != "" {
		return why
	}
	for i, sample := range kept.samples {
		if sample != nil && sample.MissedRate > missedMax {
			return fmt.Sprintf("%s missed %.1f %% of its rate", r.cases[i].Name, sample.MissedRate*100)
		}
	}
	return ""
}

func (r *scenarioRun) someLeft() bool {
	return slices.ContainsFunc(r.cases, func(c *caseRun) bool { return c.out == "" })
}

func (r *scenarioRun) guarded(ctx context.Context, number int) (kept *keptRound, err error) {
	var samples []*Sample
	w, err := r.guard.watch(ctx, func() (err error) {
		samples, err = r.round(ctx, number)
		return err
	})
	return &keptRound{watched: w, samples: samples}, err
}

// round runs every case that is left once, odd rounds backwards. The error is that of ctx.
func (r *scenarioRun) round(ctx context.Context, number int) ([]*Sample, error) {
	samples := make([]*Sample, len(r.cases))
	for step := range r.cases {
		i := step
		if number&1 == 1 {
			i = len(r.cases) - 1 - step
		}
		c := r.cases[i]
		if c.out != "" {
			continue
		}
		if number == WarmUp {
			r.progress("%s: %s, warm-up", r.scenario.Name, c.Name)
		} else {
			r.progress("%s: %s, round %d of %d", r.scenario.Name, c.Name, number+1, r.Rounds)
		}
		sample, err := c.measure(ctx, number)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			err = sample.complete(r.scenario.Measure)
		}
		if err != nil {
			r.takeOut(c, err)
			continue
		}
		if wrong := sample.wrong(); wrong != "" {
			r.report.problem("%s: %s, round %d: %s", r.scenario.Name, c.Name, number+1, wrong)
		}
		samples[i] = &sample
	}
	return samples, nil
}

// takeOut ends the part of a case that failed or cannot run here.
func (r *scenarioRun) takeOut(c *caseRun, err error) {
	var skip *SkipError
	if errors.As(err, &skip) {
		c.out = skip.Why
		r.report.Skipped = append(r.report.Skipped, Skipped{r.scenario.Name, c.Name, skip.Why})
		return
	}
	c.out = err.Error()
	r.report.problem("%s: %s: %v", r.scenario.Name, c.Name, err)
}

// measure runs a case once, after a collection, so that it does not pay for what others left behind.
func (c *caseRun) measure(ctx context.Context, number int) (Sample, error) {
	runtime.GC()
	if c.Command != nil {
		return c.Command.Run(ctx)
	}
	before := mallocs()
	sample, err := c.Run(ctx, number)
	if err == nil && sample.Ops > 0 && sample.AllocsPerOp == nil {
		perOp := float64(mallocs()-before) / float64(sample.Ops)
		sample.AllocsPerOp = &perOp
	}
	return sample, err
}

func mallocs() uint64 {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.Mallocs
}
