package ring

import (
	"slices"

	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/benchkit/handoff"
)

// atLeast is a goal of a rate.
func atLeast(bound float64, of, against string) benchkit.Goal {
	return benchkit.Goal{Case: of, Against: against, Bound: bound}
}

// atMost is a goal of something that should be small.
func atMost(bound float64, of, against string, m benchkit.Measure) benchkit.Goal {
	return benchkit.Goal{Case: of, Against: against, Bound: bound, Measure: m}
}

// goals are what the ring should reach, by scenario.
func goals() map[string][]benchkit.Goal {
	none := atMost(allocsMax, oursCase, "", benchkit.ByAllocs)
	table := map[string][]benchkit.Goal{
		handoff.HopOfWords: {
			atMost(1.15, oursCase, floorCase, benchkit.ByP50), atMost(2, oursCase, floorCase, benchkit.ByP99),
		},
		handoff.OneToOneWords: {
			atLeast(0.9, oursCase, floorCase), atLeast(1.3, oursCase, lmaxCase),
			atLeast(2, oursCase, disruptorCase), atLeast(10, oursCase, channelCase),
			atLeast(1, atomicOnly, disruptorCase), atLeast(0.7, atomicOnly, lmaxCase), none,
		},
		handoff.OneToOneEvents: {
			atLeast(0.8, oursCase, floorCase), atLeast(1, oursCase, lmaxCase),
			atLeast(1, atomicOnly, disruptorCase), atLeast(0.7, atomicOnly, lmaxCase), none,
		},
		handoff.ThreeToOne: {
			atLeast(2.5, oursCase, lmaxCase), atLeast(1, oursCase, channelCase), none,
		},
		handoff.ThreeToOne + handoff.BatchSuffix: {
			atLeast(1.5, oursCase, lmaxCase), atLeast(1, oursCase, channelCase), none,
		},
		handoff.WakeUp: {atMost(1.1, oursCase, channelCase, benchkit.ByP50)},
	}
	for _, kind := range []string{handoff.OneToOneWords, handoff.OneToOneEvents} {
		table[kind+handoff.BatchSuffix] = []benchkit.Goal{
			atLeast(1, oursCase, lmaxCase), atLeast(0.6, oursCase, floorCase), none,
		}
	}
	for _, kind := range []string{handoff.OneToThree, handoff.InPipeline, handoff.InDiamond} {
		for _, name := range []string{kind, kind + handoff.BatchSuffix} {
			table[name] = []benchkit.Goal{atLeast(1.2, oursCase, lmaxCase), none}
		}
	}
	return table
}

// setGoals gives a scenario its goals, those whose cases it has, and the baseline of its ratios: the floor,
// or else the Disruptor, or else the channel.
func setGoals(s *benchkit.Scenario) {
	has := func(name string) bool {
		return slices.ContainsFunc(s.Cases, func(c benchkit.Case) bool { return c.Name == name })
	}
	for _, goal := range goals()[s.Name] {
		if has(goal.Case) && (goal.Against == "" || has(goal.Against)) {
			s.Goals = append(s.Goals, goal)
		}
	}
	for _, name := range []string{channelCase, lmaxCase, floorCase} {
		if has(name) {
			s.Baseline = name
		}
	}
}
