package handoff

import (
	"fmt"
	"strings"
	"time"

	"github.com/leatbus/leat/ringbuf"
)

// In a scenario whose name ends in BatchSuffix, producers claim and publish BatchSize messages at once.
const (
	BatchSuffix = "-b16"
	BatchSize   = 16
)

// Step divides the number of messages of every run: all batches and producers get whole numbers.
const Step = Producers * BatchSize

// The kinds of scenario: who hands on to whom, and the bytes of a message.
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

	NextAfterClose   = "next-after-close"
	NextAfterCancel  = "next-after-cancel"
	ClaimAfterClose  = "claim-after-close"
	ClaimAfterCancel = "claim-after-cancel"
)

// Scenario is what a case can be asked for.
type Scenario struct {
	Name    string // a kind, with BatchSuffix if producers publish in batches
	About   string
	Threads int  // busy goroutines
	Latency bool // the figure is a latency, not a rate
}

// Unbatched is the scenario's name without batches.
func (s Scenario) Unbatched() string { return strings.TrimSuffix(s.Name, BatchSuffix) }

// Scenarios lists all of them.
func Scenarios() []Scenario {
	scenarios := []Scenario{
		{HopOfWords, "one hop, both sides spinning, 8 B: half of a ping-pong", 2, true},
		{HopOfEvents, "one hop, both sides spinning, 64 B: half of a ping-pong", 2, true},
	}
	for _, s := range []Scenario{
		{OneToOneWords, "one producer, one consumer, 8 B", 2, false},
		{OneToOneEvents, "one producer, one consumer, 64 B", 2, false},
		{ThreeToOne, "three producers, one consumer, 64 B", 4, false},
		{OneToThree, "one producer, three consumers that each see everything, 64 B", 4, false},
		{InPipeline, "one producer, three stages in a row, 64 B", 4, false},
		{InDiamond, "one producer, two stages side by side, a third that needs both, 64 B", 4, false},
	} {
		batched := s
		batched.Name += BatchSuffix
		batched.About += fmt.Sprintf(", in batches of %d", BatchSize)
		scenarios = append(scenarios, s, batched)
	}
	return append(scenarios,
		Scenario{WakeUp, "waking a parked consumer, once a millisecond", 1, true},
		Scenario{NextAfterClose, "a consumer waits for data; from closing the ring until it returns", 1, true},
		Scenario{NextAfterCancel, "a consumer waits for data; from cancelling it until it returns", 1, true},
		Scenario{ClaimAfterClose, "a producer waits for room; from closing the ring until it returns", 1, true},
		Scenario{ClaimAfterCancel, "a producer waits for room; from cancelling it until it returns", 1, true})
}

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
		InPipeline: r.Pipeline, InDiamond: r.Diamond, WakeUp: r.Wake,
		NextAfterClose: r.NextAfterClose, NextAfterCancel: r.NextAfterCancel,
		ClaimAfterClose: r.ClaimAfterClose, ClaimAfterCancel: r.ClaimAfterCancel,
	}[kind]
}

// Case gives the case of a scenario, nil if there is none.
func (c Channel) Case(scenario string) Case {
	return map[string]Case{
		HopOfWords: c.HopWords, HopOfEvents: c.HopEvents,
		OneToOneWords: c.Words, OneToOneEvents: c.Events,
		ThreeToOne: c.Shared, OneToThree: c.Each,
		InPipeline: c.Pipeline, InDiamond: c.Diamond,
		WakeUp: c.Wake, NextAfterClose: c.NextAfterClose, NextAfterCancel: c.NextAfterCancel,
	}[scenario]
}

// throughputFloor is what consumers want that care for throughput alone: runs grow, and the producer keeps
// its lines for longer. It is several round trips between cores far apart.
const throughputFloor = 2 * time.Microsecond

// Ours is the ring as its documentation recommends it for the scenario.
func Ours(scenario string) Case {
	options := ringbuf.Options{Wait: ringbuf.Spin, Floor: throughputFloor}
	switch scenario {
	case HopOfWords, HopOfEvents:
		options.Floor = -1 // whoever cares for one hop alone looks as often as it can
	case WakeUp, NextAfterClose, NextAfterCancel, ClaimAfterClose, ClaimAfterCancel:
		options.Wait, options.Floor = ringbuf.Park, 0
	}
	return Ring{Options: options}.Case(scenario)
}
