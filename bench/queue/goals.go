package queue

import "github.com/leatbus/leat/internal/benchkit"

// atLeast is a goal of a rate.
func atLeast(bound float64, of, against string) benchkit.Goal {
	return benchkit.Goal{Case: of, Against: against, Bound: bound}
}

// goals are what queues should reach, by scenario.
func goals() map[string][]benchkit.Goal {
	network := []benchkit.Goal{}
	for _, k := range networkPeers() {
		network = append(network, atLeast(5, leatCase, k.name))
	}
	return map[string][]benchkit.Goal{
		"embedded-64":  {atLeast(1e6, queueCase, ""), atLeast(1e6, aloneCase, "")},
		"embedded-256": {atLeast(1e6, queueCase, "")},
		"key-shared":   {atLeast(0.95, oneFailsCase, allKeysCase)},
		"network-256":  network,
		"redrive":      {atLeast(lettersWanted/lettersSeconds, redriveCase, "")},
		"http-single":  {atLeast(0.7, postCase, echoCase)},
		"http-ndjson":  {atLeast(0.5, linesCase, quicCase)},
	}
}

// The goal of redriving: so many letters in so many seconds.
const (
	lettersWanted  = 100_000.0
	lettersSeconds = 5.0
)
