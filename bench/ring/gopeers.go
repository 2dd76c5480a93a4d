package ring

import "github.com/leatbus/leat/internal/benchkit/handoff"

// The names of the peers, as reports show them.
const (
	oursName    = "ring"
	channelName = "Go channel"
	xsyncName   = "xsync"
	lmaxName    = "LMAX Disruptor 4.0.0"
	floorName   = "C"
)

// goPeer gives the case of a peer that is a Go package, nil if it has none for the scenario.
func goPeer(name, scenario string) handoff.Case {
	switch name {
	case oursName:
		return handoff.Ours(scenario)
	case channelName:
		return handoff.Channel{}.Case(scenario)
	case xsyncName:
		return xsyncCases{}.Case(scenario)
	}
	return nil
}

// Case gives the case of a scenario, nil if there is none.
func (c xsyncCases) Case(scenario string) handoff.Case {
	return map[string]handoff.Case{
		handoff.HopOfWords: c.HopWords, handoff.OneToOneWords: c.Words, handoff.OneToOneEvents: c.Events,
		handoff.ThreeToOne: c.Shared, handoff.OneToThree: c.Each,
		handoff.InPipeline: c.Pipeline, handoff.InDiamond: c.Diamond,
	}[scenario]
}
