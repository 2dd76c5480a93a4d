package log

import (
	"fmt"
	"slices"

	"github.com/leatbus/leat/internal/benchkit"
)

// allocsMax is "none": what is left are the peers in this process that do not rest, over all records.
const allocsMax = 0.005

// atLeast is a goal of a rate.
func atLeast(bound float64, against string) benchkit.Goal {
	return benchkit.Goal{Case: oursName, Against: against, Bound: bound}
}

// atMost is a goal of something that should be small.
func atMost(bound float64, against string, m benchkit.Measure) benchkit.Goal {
	return benchkit.Goal{Case: oursName, Against: against, Bound: bound, Measure: m}
}

// held is a goal of a further figure.
func held(figure string, bound float64) benchkit.Goal {
	return benchkit.Goal{Case: oursName, Figure: figure, Bound: bound}
}

// goals are what the log should reach, by scenario.
func goals() map[string][]benchkit.Goal {
	none := atMost(allocsMax, "", benchkit.ByAllocs)
	append1 := []benchkit.Goal{atLeast(0.5, mapFloorName), none}
	for _, k := range goPeers() {
		if k.level == levelPage { // what the others promise less for is no yardstick
			append1 = append(append1, atLeast(10, k.name))
		}
	}
	return map[string][]benchkit.Goal{
		"append-256": append1,
		"append-64":  append1,
		"append100-256": {
			atLeast(4, tidwall.name), atLeast(4, raftWAL.name), atLeast(4, prometheus.name),
			none,
		},
		"paced-256": {
			atMost(0.06, "", benchkit.ByP50), atMost(2, mapFloorName, benchkit.ByP999),
			atMost(1, chronicleName, benchkit.ByP50), atMost(1, chronicleName, benchkit.ByP99),
			atMost(1, chronicleName, benchkit.ByP999),
		},
		"handover-256": {
			atMost(0.2, "", benchkit.ByP50), atMost(5, "", benchkit.ByP999),
			atMost(1, chronicleName, benchkit.ByP50), atMost(1, chronicleName, benchkit.ByP999),
		},
		"read-256": {
			atLeast(1.5, prometheus.name), atLeast(1.5, pebble.name), atLeast(1.5, natsFile.name), atLeast(15e6, ""),
		},
		"durable-1": {
			atMost(1.15, syncFloorName, benchkit.ByP50), held(bytesFigure(oursName), 4.5),
		},
		"durable-64":     durableGoals(),
		"partitions-256": {atMost(1.3, rangesFloorName, benchkit.ByP50)},
		"sustained-256": {
			atLeast(0.8, sequentialName), held(lastToFirst, 0.7), held(worstStall, 250), held(unsyncedMost, 257),
		},
		"cold-readers": {atMost(2, preadName, benchkit.ByP99)},
	}
}

func durableGoals() []benchkit.Goal {
	all := []benchkit.Goal{atLeast(0.9, fmt.Sprintf("%d × %s", appenders, syncFloorName))}
	for _, k := range goPeers() {
		if k == &pebble {
			all = append(all, atLeast(1.5, k.name))
		} else if k != &jetStream {
			all = append(all, atLeast(1.5, k.name+groupCommit))
		}
	}
	return all
}

// setGoals gives a scenario its goals and the baseline of its ratios: its first floor.
func setGoals(s *benchkit.Scenario) {
	s.Goals = goals()[s.Name]
	floor := slices.IndexFunc(s.Cases, func(c benchkit.Case) bool { return c.Role == benchkit.Floor })
	if floor >= 0 {
		s.Baseline = s.Cases[floor].Name
	}
}
