package benchkit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func constant(rate float64) func(context.Context, int) (Sample, error) {
	return func(context.Context, int) (Sample, error) { return Sample{Rate: rate, Ops: 1}, nil }
}

// fakeMachine drives a guard: each call of the canary and of the counters takes the next value, and the
// last one for ever. A round lasts one second.
type fakeMachine struct {
	hops  []float64
	uses  []machineUse // what each round uses, besides a second of this process
	calls int
	nanos int64
	used  machineUse
}

func (f *fakeMachine) guard() *guard {
	return &guard{
		canary: canary{kind: "fake", hop: func(context.Context) (float64, error) {
			hop := f.hops[0]
			if len(f.hops) > 1 {
				f.hops = f.hops[1:]
			}
			return hop, nil
		}},
		usage: f.usage,
		now:   func() int64 { f.nanos += 1e9; return f.nanos },
		seen:  Guarding{On: true, Canary: "fake", Discarded: []Discarded{}},
	}
}

// usage is read before and after each round.
func (f *fakeMachine) usage() (machineUse, bool) {
	if f.calls++; f.calls%2 == 0 {
		f.used.total, f.used.busy, f.used.own = f.used.total+2e9, f.used.busy+1e9, f.used.own+1e9
		if len(f.uses) > 0 {
			f.used.steal += f.uses[0].steal
			f.used.busy += f.uses[0].busy
			f.uses = f.uses[1:]
		}
	}
	return f.used, true
}

// runFake runs one scenario of three rounds under a guard of f.
func runFake(t *testing.T, f *fakeMachine, s Scenario, change ...func(*guard)) *Report {
	t.Helper()
	if len(f.hops) == 0 {
		f.hops = []float64{50}
	}
	g := f.guard()
	for _, c := range change {
		c(g)
	}
	b, err := newBench("fake", Options{Dir: t.TempDir(), Rounds: 3})
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "s"
	if err := (&Suite{Scenarios: []Scenario{s}}).check(); err != nil {
		t.Fatal(err)
	}
	report, err := b.runSuite(t.Context(), []*Scenario{&s}, g)
	if err != nil {
		t.Fatal(err)
	}
	if b.end(&err); err != nil {
		t.Fatal(err)
	}
	return report
}

// counting gives a case whose rate is the number of the call, and the rounds it was called with.
func counting(name string) (c Case, rounds *[]int) {
	rounds = new([]int)
	return Case{Name: name, Role: Ours, Run: func(_ context.Context, round int) (Sample, error) {
		*rounds = append(*rounds, round)
		return Sample{Rate: float64(len(*rounds))}, nil
	}}, rounds
}

func TestSuiteOnThisMachine(t *testing.T) {
	closed := false
	suite := &Suite{Name: "small", Close: func() error { closed = true; return nil }, Scenarios: []Scenario{
		{Name: "one", Baseline: "floor", Cases: []Case{
			{Name: "ours", Role: Ours, Run: constant(30)},
			{Name: "floor", Role: Floor, Run: constant(60)},
		}, Goals: []Goal{{Case: "ours", Against: "floor", Bound: 0.4}, {Case: "ours", Bound: 31}}},
		{Name: "two", Cases: []Case{{Name: "ours", Role: Ours, Run: constant(1)}}},
	}}
	o := Options{Dir: t.TempDir(), Rounds: 3, Only: []string{"one"}, Command: "bench x",
		Guard: GuardOptions{Off: true}}
	report, err := suite.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid || len(report.Rows) != 2 || report.Rows[0].Ratio != 0.5 || !closed {
		t.Errorf("report %+v, closed %v; want two rows and a ratio of 0.5", report, closed)
	}
	if goals := report.Goals; len(goals) != 2 || !goals[0].Met || goals[1].Met {
		t.Errorf("goals %+v; want the first met, the second not", goals)
	}
	if report.Schema != SchemaVersion || report.Time == "" || report.Command != "bench x" ||
		report.Guard.On || report.Instruments.ClockNanos <= 0 {
		t.Errorf("report %+v; want schema, time, command, instruments and an idle guard", report)
	}
	checkEmpty(t, o.Dir)
	o.Only = []string{"three"}
	if _, err := suite.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), `"three"`) {
		t.Errorf("Run of an unknown scenario = %v; want an error with its name", err)
	}
}

// TestGoalsOfFiguresAndTails: a goal may hold a further figure, in the direction that this one has, or p99.9.
func TestGoalsOfFiguresAndTails(t *testing.T) {
	run := func(context.Context, int) (Sample, error) {
		return Sample{Rate: 1, Latency: &Latency{Count: 1, P999: 7}, More: []Figure{
			{Name: "stall", Value: 9, Unit: "ms", Better: "lower"}, {Name: "kept", Value: 9, Better: "higher"},
		}}, nil
	}
	report := runFake(t, &fakeMachine{}, Scenario{
		Cases: []Case{{Name: "a", Role: Ours, Run: run}},
		Goals: []Goal{
			{Case: "a", Figure: "stall", Bound: 10}, {Case: "a", Figure: "stall", Bound: 8},
			{Case: "a", Figure: "kept", Bound: 10}, {Case: "a", Figure: "kept", Bound: 8},
			{Case: "a", Measure: ByP999, Bound: 7}, {Case: "a", Measure: ByP999, Bound: 6},
			{Case: "a", Figure: "not measured", Bound: 1},
		},
	})
	var met []bool
	for _, goal := range report.Goals {
		met = append(met, goal.Met)
	}
	if want := []bool{true, false, false, true, true, false}; !slices.Equal(met, want) {
		t.Errorf("goals %+v; want met %v", report.Goals, want)
	}
}

func TestSuiteMistakes(t *testing.T) {
	run := constant(1)
	good := Case{Name: "a", Role: Ours, Run: run}
	tests := map[string][]Scenario{
		"scenario twice":   {{Name: "s"}, {Name: "s"}},
		"no name":          {{}},
		"case twice":       {{Name: "s", Cases: []Case{good, good}}},
		"neither":          {{Name: "s", Cases: []Case{{Name: "a", Role: Ours}}}},
		"both":             {{Name: "s", Cases: []Case{{Name: "a", Role: Ours, Run: run, Command: &Command{}}}}},
		"no role":          {{Name: "s", Cases: []Case{{Name: "a", Run: run}}}},
		"unknown baseline": {{Name: "s", Cases: []Case{good}, Baseline: "b"}},
		"unknown goal":     {{Name: "s", Cases: []Case{good}, Goals: []Goal{{Case: "b"}}}},
	}
	for name, scenarios := range tests {
		suite := &Suite{Scenarios: scenarios}
		if _, err := suite.Run(t.Context(), Options{Dir: t.TempDir()}); err == nil {
			t.Errorf("%s: Run = nil; want an error", name)
		}
	}
}

func TestSuiteTurnsTheOrder(t *testing.T) {
	var order strings.Builder
	note := func(name string) Case {
		return Case{Name: name, Role: Ours, Run: func(context.Context, int) (Sample, error) {
			order.WriteString(name)
			return Sample{Rate: 1}, nil
		}}
	}
	report := runFake(t, &fakeMachine{}, Scenario{Cases: []Case{note("a"), note("b"), note("c")}})
	if got, want := order.String(), "cba"+"abc"+"cba"+"abc"; got != want || !report.Valid {
		t.Errorf("order = %s; want %s", got, want)
	}
}

func TestSuiteForgetsTheWarmUp(t *testing.T) {
	c, rounds := counting("a")
	report := runFake(t, &fakeMachine{}, Scenario{Cases: []Case{c}})
	if got := report.Rows[0].Rounds; !slices.Equal(got, []float64{2, 3, 4}) {
		t.Errorf("rounds = %v; want [2 3 4]", got)
	}
	if !slices.Equal(*rounds, []int{WarmUp, 0, 1, 2}) {
		t.Errorf("called with %v", *rounds)
	}
}

func TestGuardDiscards(t *testing.T) {
	tests := []struct {
		name    string
		machine fakeMachine
		change  func(*guard)
		rounds  []int
		why     string // of the discarded round
	}{
		{"nothing", fakeMachine{}, nil, []int{WarmUp, 0, 1, 2}, ""},
		{"a slow canary before", fakeMachine{hops: []float64{50, 50, 90, 50}}, nil,
			[]int{WarmUp, 0, 1, 1, 2}, "canary 90 ns per hop, best of the run 50 ns"},
		{"a slow canary after", fakeMachine{hops: []float64{50, 50, 50, 76, 50}}, nil,
			[]int{WarmUp, 0, 1, 1, 2}, "canary 76 ns"},
		{"within the band", fakeMachine{hops: []float64{50, 74}}, nil, []int{WarmUp, 0, 1, 2}, ""},
		{"beyond the absolute bound", fakeMachine{hops: []float64{50, 74, 50}}, func(g *guard) { g.max = 70 },
			[]int{WarmUp, 0, 0, 1, 2}, "canary 74 ns"},
		{"the absolute bound alone", fakeMachine{hops: []float64{27, 65}}, func(g *guard) { g.max = 80 },
			[]int{WarmUp, 0, 1, 2}, ""},
		{"a round found slow later", fakeMachine{hops: []float64{90, 90, 50}}, nil,
			[]int{WarmUp, 0, 1, 0, 2}, "canary 90 ns"},
		{"steal", fakeMachine{uses: []machineUse{{}, {steal: 21e6}}}, nil,
			[]int{WarmUp, 0, 1, 1, 2}, "steal 1.1 %"},
		{"steal below the bound", fakeMachine{uses: []machineUse{{}, {steal: 19e6}}}, nil,
			[]int{WarmUp, 0, 1, 2}, ""},
		{"other load", fakeMachine{uses: []machineUse{{busy: 900e6}}}, nil,
			[]int{WarmUp, 0, 0, 1, 2}, "others used 0."},
		{"other load below the bound", fakeMachine{uses: []machineUse{{busy: 250e6}}}, nil,
			[]int{WarmUp, 0, 1, 2}, ""},
		{"guard off", fakeMachine{hops: []float64{50, 500}, uses: []machineUse{{steal: 1e9}}},
			func(g *guard) { g.seen.On = false }, []int{WarmUp, 0, 1, 2}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, rounds := counting("a")
			change := tt.change
			if change == nil {
				change = func(*guard) {}
			}
			report := runFake(t, &tt.machine, Scenario{Cases: []Case{c}}, change)
			if !slices.Equal(*rounds, tt.rounds) || !report.Valid || len(report.Rows[0].Rounds) != 3 {
				t.Errorf("called with %v, report %+v; want %v and a valid one", *rounds, report, tt.rounds)
			}
			discarded := report.Guard.Discarded
			if (tt.why == "") != (len(discarded) == 0) {
				t.Fatalf("discarded %+v; want %q", discarded, tt.why)
			}
			if tt.why != "" && !strings.Contains(discarded[0].Why, tt.why) {
				t.Errorf("discarded %+v; want %q", discarded, tt.why)
			}
		})
	}
}

func TestGuardGivesUp(t *testing.T) {
	c, rounds := counting("a")
	report := runFake(t, &fakeMachine{hops: []float64{50, 90}}, Scenario{Cases: []Case{c}})
	if n := len(*rounds); n != 1+9+3 {
		t.Errorf("%d rounds were run; want the warm-up, 9 that were discarded and 3", n)
	}
	if report.Valid || len(report.Rows) != 1 || len(report.Guard.Discarded) != 9 {
		t.Errorf("report %+v; want an invalid one with figures", report)
	}
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "3 of 3 rounds are disturbed") {
		t.Errorf("Err = %v", err)
	}
}

func TestMissedRateIsRepeatedThenInvalid(t *testing.T) {
	for _, tt := range []struct {
		missing int // calls after the warm-up that miss
		valid   bool
	}{{2, true}, {1000, false}} {
		calls := 0
		run := func(context.Context, int) (Sample, error) {
			s := Sample{Rate: 1}
			if calls++; calls > 1 && calls <= 1+tt.missing {
				s.MissedRate = 0.011
			}
			return s, nil
		}
		report := runFake(t, &fakeMachine{}, Scenario{Cases: []Case{{Name: "a", Role: Ours, Run: run}}})
		if report.Valid != tt.valid || len(report.Guard.Discarded) != min(tt.missing, 9) {
			t.Errorf("%d misses: report %+v; want valid %v", tt.missing, report, tt.valid)
		}
		if why := report.Guard.Discarded[0].Why; why != "a missed 1.1 % of its rate" {
			t.Errorf("discarded because %q", why)
		}
	}
}

// TestWrongMessagesAreNeverRepeated: the machine does not excuse them.
func TestWrongMessagesAreNeverRepeated(t *testing.T) {
	for want, wrong := range map[string]Sample{
		"3 lost": {Lost: 3}, "1 duplicated": {Duplicated: 1}, "2 reordered": {Reordered: 2},
		"sum wrong": {SumWrong: true},
	} {
		calls := 0
		run := func(_ context.Context, round int) (Sample, error) {
			calls++
			if round != 1 {
				return Sample{Rate: 1}, nil
			}
			s := wrong
			s.Rate = 1
			return s, nil
		}
		report := runFake(t, &fakeMachine{}, Scenario{Cases: []Case{{Name: "a", Role: Peer, Run: run}}})
		if report.Valid || calls != 4 || !strings.Contains(report.Err().Error(), "s: a, round 2: "+want) {
			t.Errorf("%s: %d calls, %v; want an invalid report after 4", want, calls, report.Err())
		}
	}
}

func TestCasesThatDrop(t *testing.T) {
	good := Case{Name: "good", Role: Ours, Run: constant(2)}
	tests := []struct {
		name    string
		run     func(context.Context, int) (Sample, error)
		valid   bool
		skipped int
		problem string
	}{
		{"fails", func(context.Context, int) (Sample, error) { return Sample{}, errors.New("broken") }, false, 0,
			"s: bad: broken"},
		{"fails later", func(_ context.Context, round int) (Sample, error) {
			if round == 1 {
				return Sample{}, errors.New("broken")
			}
			return Sample{Rate: 4}, nil
		}, false, 0, "s: bad: broken"},
		{"is not there", func(context.Context, int) (Sample, error) { return Sample{}, Skipf("no jar") },
			true, 1, ""},
		{"says nothing", func(context.Context, int) (Sample, error) { return Sample{}, nil }, false, 0, "no rate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report := runFake(t, &fakeMachine{}, Scenario{Baseline: "bad", Cases: []Case{good,
				{Name: "bad", Role: Peer, Run: tt.run}}, Goals: []Goal{{Case: "good", Against: "bad", Bound: 9}}})
			if report.Valid != tt.valid || len(report.Skipped) != tt.skipped || len(report.Rows[0].Rounds) != 3 {
				t.Errorf("report %+v; want valid %v, %d skipped, three rounds of the other", report, tt.valid,
					tt.skipped)
			}
			if tt.problem != "" && !strings.Contains(report.Err().Error(), tt.problem) {
				t.Errorf("Err = %v; want %q", report.Err(), tt.problem)
			}
		})
	}
}

func TestSuiteEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	suite := &Suite{Name: "x", Scenarios: []Scenario{{Name: "s", Cases: []Case{{Name: "a", Role: Ours,
		Run: func(ctx context.Context, _ int) (Sample, error) { cancel(); return Sample{}, ctx.Err() }}}}}}
	dir := t.TempDir()
	report, err := suite.Run(ctx, Options{Dir: dir, Guard: GuardOptions{Off: true}})
	if report != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, %v; want %v", report, err, context.Canceled)
	}
	checkEmpty(t, dir)
}

func TestScenarioIsOpenedAndClosed(t *testing.T) {
	var order []string
	c := Case{Name: "a", Role: Ours, Run: func(context.Context, int) (Sample, error) {
		order = append(order, "run")
		return Sample{Rate: 1}, nil
	}}
	runFake(t, &fakeMachine{}, Scenario{Cases: []Case{c}, Open: func(context.Context) (func() error, error) {
		order = append(order, "open")
		return func() error { order = append(order, "close"); return nil }, nil
	}})
	if !slices.Equal(order, []string{"open", "run", "run", "run", "run", "close"}) {
		t.Errorf("order = %v", order)
	}
	b, err := newBench("fake", Options{Dir: t.TempDir(), Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	s := Scenario{Name: "s", Open: func(context.Context) (func() error, error) { return nil, broken }}
	if _, err := b.runSuite(t.Context(), []*Scenario{&s}, (&fakeMachine{}).guard()); !errors.Is(err, broken) {
		t.Errorf("runSuite = %v; want %v", err, broken)
	}
}

var sink []byte

func TestRowOfACase(t *testing.T) {
	allocating := func(_ context.Context, round int) (Sample, error) {
		for range 1000 {
			sink = make([]byte, 64)
		}
		h := NewHistogram()
		for i := range int64(1000) {
			h.Record(i * int64(round+2))
		}
		s := Sample{Ops: 1000, Rate: float64(round + 2)}
		s.Measured(h)
		s.More = []Figure{{Name: "extra", Value: float64(round), Unit: "things", Better: "lower", Note: "n"}}
		return s, nil
	}
	report := runFake(t, &fakeMachine{}, Scenario{Measure: ByP50, Baseline: "floor", Threads: 99, About: "what",
		Cases: []Case{
			{Name: "ours", Role: Ours, Level: "page", Note: "note", Run: allocating},
			{Name: "floor", Role: Floor, Run: allocating},
		}})
	row := report.Rows[0]
	if row.Scenario != "s" || row.About != "what" || row.Role != Ours || row.Level != "page" ||
		row.Note != "note" || row.Better != "lower" || row.Unit != "µs, p50" || !row.Oversubscribed {
		t.Errorf("row %+v", row)
	}
	if row.Ratio != 1 || len(row.Ratios) != 1 || row.Ratios[0].Against != "floor" || len(row.P99Rounds) != 3 {
		t.Errorf("row %+v; want a ratio of 1 to the floor and three p99", row)
	}
	if row.AllocsPerOp == nil || *row.AllocsPerOp < 1 || *row.AllocsPerOp > 2 {
		t.Errorf("allocations per operation %v; want a little over 1", row.AllocsPerOp)
	}
	if n := len(row.Curve); n == 0 || row.Curve[n-1].P != 1 || row.Curve[n-1].Micros != row.Latency.Max {
		t.Errorf("curve %v; want the maximum %v last", row.Curve, row.Latency.Max)
	}
	extra := report.Rows[1]
	if extra.Name != "extra" || extra.Unit != "things" || extra.Better != "lower" || extra.Value != 1 {
		t.Errorf("row %+v; want the further figure", extra)
	}
}
