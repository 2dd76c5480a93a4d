package ring

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/benchkit/handoff"
)

// The names of the cases, as reports show them.
const (
	oursCase      = "ring"
	atomicOnly    = "ring, sync/atomic only"
	channelCase   = "Go channel"
	xsyncCase     = "xsync SPSC"
	xsyncMPMCCase = "xsync MPMC"
	lmaxCase      = "LMAX Disruptor 4.0.0"
	floorCase     = "C"
	disruptorCase = "go-disruptor" // a program of PeersVariable, if it is named so
)

// noAssembly is the build tag that leaves the ring sync/atomic only.
const noAssembly = "leat_noasm"

// allocsMax is "none": what is left are the goroutines of a run, over all of its messages.
const allocsMax = 0.001

// suite puts cases into scenarios.
type suite struct {
	*workshop
	length time.Duration // of each case and round
	peers  []program
}

// Suite holds the ring against its peers. For is the time of each case and round, 600 ms; Rounds is 5.
func Suite(ctx context.Context, o benchkit.Options) (*benchkit.Suite, error) {
	if o.For == 0 {
		o.For = 600 * time.Millisecond
	}
	shop, err := newWorkshop()
	if err != nil {
		return nil, err
	}
	peers, err := parsePeers(ctx, os.Getenv(PeersVariable))
	if err != nil {
		return nil, err
	}
	s := &suite{workshop: shop, length: o.For, peers: peers}
	result := &benchkit.Suite{Name: "ring", About: "the ring beside its peers and the floors of the machine"}
	for _, scenario := range handoff.Scenarios() {
		result.Scenarios = append(result.Scenarios, s.scenario(scenario))
	}
	for _, kind := range []string{handoff.OneToOneEvents, handoff.ThreeToOne} {
		result.Scenarios = append(result.Scenarios, s.oneProcessor(kind))
	}
	result.Scenarios = append(result.Scenarios, s.idle())
	return result, nil
}

// scenario is one of package handoff with all peers that have it.
func (s *suite) scenario(h handoff.Scenario) benchkit.Scenario {
	scenario := benchkit.HandoffScenario(h)
	scenario.Add(oursCase, benchkit.Ours, handoff.Ours(h.Name), s.length)
	if strings.HasPrefix(h.Name, "1p1c-") {
		s.command(&scenario, atomicOnly, benchkit.Ours, s.workerCommand(oursCase, h.Name, s.length, noAssembly))
	}
	scenario.Add(channelCase, benchkit.Peer, handoff.Channel{}.Case(h.Unbatched()), s.length)
	if !hasBatches(h.Name) {
		scenario.Add(xsyncCase, benchkit.Peer, xsyncCases{}.Case(h.Name), s.length)
		scenario.Add(xsyncMPMCCase, benchkit.Peer, xsyncCases{}.Several(h.Name), s.length)
	}
	for _, peer := range s.peers {
		if peer.has(h.Name) {
			s.command(&scenario, peer.name, benchkit.Peer, peer.run(h.Name, s.length))
		}
	}
	if !h.Latency || strings.HasPrefix(h.Name, "hop-") { // it has no way to end a wait, and wakes by a lock
		s.command(&scenario, lmaxCase, benchkit.Peer, s.lmaxCommand(h.Name, s.length))
	}
	if h.Name == handoff.HopOfWords || strings.HasPrefix(h.Name, "1p1c-") {
		s.command(&scenario, floorCase, benchkit.Floor, s.floorCommand(h.Name, s.length))
	}
	setGoals(&scenario)
	return scenario
}

func (s *suite) command(to *benchkit.Scenario, name string, role benchkit.Role, command *benchkit.Command) {
	to.Cases = append(to.Cases, benchkit.Case{Name: name, Role: role, Command: command})
}

// oneProcessor runs a kind of scenario in processes with GOMAXPROCS=1.
func (s *suite) oneProcessor(kind string) benchkit.Scenario {
	const env = "GOMAXPROCS=1"
	scenario := benchkit.Scenario{
		Name: "one-processor-" + kind, About: kind + " with " + env, Unit: "msgs/s", Threads: 1,
		Baseline: channelCase,
		Goals:    []benchkit.Goal{{Case: oursCase, Against: channelCase, Bound: 4}},
	}
	peers := []string{oursCase, channelCase, xsyncCase}
	if kind == handoff.ThreeToOne {
		peers[2] = xsyncMPMCCase
	}
	for _, peer := range peers {
		role := benchkit.Peer
		if peer == oursCase {
			role = benchkit.Ours
		}
		s.command(&scenario, peer, role, s.workerCommand(peer, kind, s.length, "", env))
	}
	for _, peer := range s.peers {
		if peer.has(kind) {
			s.command(&scenario, peer.name, benchkit.Peer, peer.run(kind, s.length, env))
		}
	}
	return scenario
}

// idle watches processes whose consumers all sleep.
func (s *suite) idle() benchkit.Scenario {
	scenario := benchkit.Scenario{
		Name: idleScenario, About: "a process whose eight consumers sleep, watched for a while",
		Measure: benchkit.ByCost, Unit: "% of a core", Threads: 1,
		Goals: []benchkit.Goal{{Case: oursCase, Measure: benchkit.ByCost, Bound: 0.1}},
	}
	for _, c := range []struct {
		name string
		role benchkit.Role
	}{{oursCase, benchkit.Ours}, {channelCase, benchkit.Peer}} {
		s.command(&scenario, c.name, c.role, s.workerCommand(c.name, idleScenario, 4*s.length, ""))
	}
	return scenario
}
