package handoff

import (
	"strings"

	"github.com/leatbus/leat/ringbuf"
)

// BatchSuffix ends the name of a scenario whose producers claim and publish BatchSize messages at once.
const (
	BatchSuffix = "-b16"
	BatchSize   = 16
)

// Step divides the number of messages of every run: all batches and producers get whole numbers.
const Step = Producers * BatchSize

// The scenarios: who hands on to whom, and the bytes of a message. All but hops and wake exist with
// BatchSuffix too.
const (
	HopOfWords     = "hop-8"
	HopOfEvents    = "hop-64"
	OneToOneWords  = "1p1c-8"
	OneToOneEvents = "1p1c-64"
	ThreeToOne     = "3p1c-64"
	OneToThree     = "1p3c-64"
	InPipeline     = "pipeline-64"
	InDiamond      = "diamond-64"
	WakeUp         = "wake-8"
)

// Case gives the case of a scenario, nil if there is none.
func (r Ring) Case(scenario string) Case {
	kind, inBatches := strings.CutSuffix(scenario, BatchSuffix)
	r.Batch = 1
	if inBatches {
		r.Batch = BatchSize
	}
	return map[string]Case{
		HopOfWords: r.HopWords, HopOfEvents: r.HopEvents,
		OneToOneWords: r.Words, OneToOneEvents: r.Events,
		ThreeToOne: r.Shared, OneToThree: r.Each,
		WakeUp: r.Wake,
	}[kind]
}

// Case gives the case of a scenario, nil if there is none.
func (c Channel) Case(scenario string) Case {
	return map[string]Case{
		HopOfWords: c.HopWords, HopOfEvents: c.HopEvents,
		OneToOneWords: c.Words, OneToOneEvents: c.Events,
		ThreeToOne: c.Shared, OneToThree: c.Each,
		InPipeline: c.Pipeline, InDiamond: c.Diamond,
		WakeUp: c.Wake,
	}[scenario]
}

// Ours is the ring as its documentation recommends it for the scenario.
func Ours(scenario string) Case {
	options := ringbuf.Options{Wait: ringbuf.Spin}
	if scenario == WakeUp {
		options.Wait = ringbuf.Park
	}
	return Ring{Options: options}.Case(scenario)
}
