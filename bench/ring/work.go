package ring

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/benchkit/handoff"
)

const idleScenario = "idle"

// goPeer gives the case of a peer that is a Go package, nil if it has none for the scenario.
func goPeer(name, scenario string) handoff.Case {
	switch name {
	case oursCase:
		return handoff.Ours(scenario)
	case channelCase:
		return handoff.Channel{}.Case(scenario)
	case xsyncCase:
		return xsyncCases{}.Case(scenario)
	case xsyncMPMCCase:
		return xsyncCases{}.Several(scenario)
	}
	return nil
}

// Work measures what the arguments PEER SCENARIO MILLISECONDS say and prints the sample: it is all of
// the command worker.
func Work(arguments []string, out io.Writer) error {
	if len(arguments) != 3 {
		return fmt.Errorf("%d arguments: want PEER SCENARIO MILLISECONDS", len(arguments))
	}
	milliseconds, err := strconv.Atoi(arguments[2])
	if err != nil || milliseconds < 1 {
		return fmt.Errorf("%q: want a number of milliseconds", arguments[2])
	}
	sample, err := work(arguments[0], arguments[1], time.Duration(milliseconds)*time.Millisecond)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(sample)
}

func work(peer, scenario string, length time.Duration) (benchkit.Sample, error) {
	if scenario == idleScenario {
		return workIdle(peer, length)
	}
	run := goPeer(peer, scenario)
	if run == nil {
		return benchkit.Sample{}, fmt.Errorf("%s has no scenario %s", peer, scenario)
	}
	result, err := handoff.Timed(handoff.Step, run).Run(length)
	return benchkit.HandoffSample(result), err
}

func workIdle(peer string, length time.Duration) (benchkit.Sample, error) {
	idle := handoff.Ring{}.Idle
	if peer == channelCase {
		idle = handoff.Channel{}.Idle
	}
	used, err := idle(length, processorTime)
	return benchkit.Sample{Cost: float64(used) / float64(length) * 100}, err
}
