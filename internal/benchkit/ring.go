package benchkit

import (
	"context"
	"time"

	"github.com/leatbus/leat/internal/benchkit/handoff"
)

// Names of cases that are held against each other.
const (
	ringCase    = "ring"
	channelCase = "Go channel"
	atomicsCase = "two atomic words"
)

// Ring runs RingSuite.
func Ring(ctx context.Context, o Options) (*Report, error) {
	suite, err := RingSuite(ctx, o)
	if err != nil {
		return nil, err
	}
	return suite.Run(ctx, o)
}

// RingSuite holds the ring against Go channels, and its hop against a ping-pong over two atomic words. It
// needs nothing but this program; the module bench has more peers. For is the time of each case and
// round, 500 ms; Rounds is 5.
func RingSuite(_ context.Context, o Options) (*Suite, error) {
	if o.For == 0 {
		o.For = 500 * time.Millisecond
	}
	suite := &Suite{Name: "ring", About: "the ring beside Go channels, in one process"}
	for _, s := range handoff.Scenarios() {
		scenario := HandoffScenario(s)
		scenario.Add(ringCase, Ours, handoff.Ours(s.Name), o.For)
		// A channel has no batches, so it is the same with and without.
		if run := (handoff.Channel{}).Case(s.Unbatched()); run != nil {
			scenario.Add(channelCase, Peer, run, o.For)
			scenario.Baseline = channelCase
		}
		if s.Name == handoff.HopOfWords {
			scenario.Add(atomicsCase, Floor, handoff.Atomics, o.For)
			scenario.Baseline = atomicsCase
		}
		suite.Scenarios = append(suite.Scenarios, scenario)
	}
	return suite, nil
}

// HandoffScenario makes a scenario of package handoff one of a suite; it has no cases yet.
func HandoffScenario(s handoff.Scenario) Scenario {
	scenario := Scenario{Name: s.Name, About: s.About, Unit: "msgs/s", Threads: s.Threads}
	if s.Latency {
		scenario.Measure, scenario.Unit = ByP50, ""
	}
	return scenario
}

// Add adds a case of package handoff, each round of which takes about length. A nil run, of a peer that has
// no such case, adds nothing.
func (s *Scenario) Add(name string, role Role, run handoff.Case, length time.Duration) {
	if run == nil {
		return
	}
	scale := handoff.Timed(handoff.Step, run)
	s.Cases = append(s.Cases, Case{Name: name, Role: role, Run: func(context.Context, int) (Sample, error) {
		result, err := scale.Run(length)
		return HandoffSample(result), err
	}})
}

// HandoffSample is the result of a run as a sample.
func HandoffSample(r handoff.Result) Sample {
	perMessage := r.AllocsPerMessage()
	s := Sample{Ops: r.Messages, Rate: r.PerSecond(), AllocsPerOp: &perMessage}
	if l := r.Latency; l != nil {
		s.Latency = &Latency{Count: l.Count(), P50: l.At(0.5), P99: l.At(0.99), P999: l.At(0.999), Max: l.At(1)}
		for _, p := range curveGrid {
			if p == 1 || (1-p)*float64(l.Count()) >= 1 {
				s.Curve = append(s.Curve, Quantile{p, l.At(p)})
			}
		}
	}
	return s
}
