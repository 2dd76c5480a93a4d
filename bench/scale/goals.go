package scale

import "github.com/leatbus/leat/internal/benchkit"

// goals are what is to be reached, by scenario.
func goals() map[string][]benchkit.Goal {
	// A goal of benchkit bounds a latency in microseconds.
	settled := []benchkit.Goal{
		{Case: joinCase, Measure: benchkit.ByP99, Bound: 100_000},
		{Case: leaveCase, Measure: benchkit.ByP99, Bound: 100_000},
		{Case: joinCase, Figure: movedBy(joinCase), Bound: movedMost},
		{Case: leaveCase, Figure: movedBy(leaveCase), Bound: movedMost},
	}
	return map[string][]benchkit.Goal{
		"members":      settled,
		"members-quic": settled,
		"backlog-publish": {
			{Case: backlogCase, Against: emptyCase, Measure: benchkit.ByP99, Bound: 1.2},
		},
		"backlog-tail": {
			{Case: boundedCase, Against: quietCase, Measure: benchkit.ByP99, Bound: 1.2},
			{Case: unboundedCase, Against: quietCase, Measure: benchkit.ByP99, Bound: 1.2},
		},
	}
}

// movedMost is how many partitions may move, where 1 is the share of one member: "about".
const movedMost = 1.1
