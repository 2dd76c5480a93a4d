package benchkit

import (
	"context"
	"fmt"
	"slices"
)

// How to write a suite:
//
//	func Ring(ctx context.Context, o benchkit.Options) (*benchkit.Suite, error) // a NewSuite
//
//	Suite ─┬─ Scenario "uni-64" ─┬─ Case "ring"       Role Ours   Run(ctx, round) (Sample, error)
//	       │  Unit, Baseline,    ├─ Case "go channel" Role Peer   Run: with Go peers
//	       │  Threads, Goals     ├─ Case "LMAX 4.0"   Role Peer   Command: one JVM per round
//	       │                     └─ Case "C SPSC"     Role Floor  Command: one process per round
//	       └─ Scenario …
//
// Suite.Run opens one scenario after the other. A round runs every case of the scenario once, in turning
// order (A B C, C B A, …), with a canary before and after it. Round WarmUp comes first and its samples are
// forgotten; a disturbed round is discarded and repeated under its own number (see Guard).
//
// A case returns one Sample per round. It measures only what counts: set-up, such as making the ring and
// filling caches, stays outside its own clock. It sets Rate or the latency (Sample.Measured takes a
// Histogram), Ops if allocations are to be counted, and the verdict: lost, duplicated, reordered, sum
// wrong, missed rate. An error takes the case out of the run, which is then invalid; Skipf makes an error
// that takes it out and leaves the run valid: what is not installed.
//
// A Command prints one line of JSON, its last line on standard output, with the keys of Sample:
//
//	{"ops":20000000,"rate":1.2e8}
//	{"ops":500000,"latency_us":{"count":500000,"p50":0.055,"p99":0.08,"p999":0.12,"max":41},"sum_wrong":false}

// WarmUp is the number of the round that runs first and is discarded. Measured rounds count from 0.
const WarmUp = -1

// Role says what a case is to the others of its scenario.
type Role string

// The roles of a case.
const (
	Ours  Role = "ours"
	Peer  Role = "peer"
	Floor Role = "floor" // what the hardware or the simplest program can do
)

// Measure is what the figure of a row is.
type Measure int

// The measures. Latencies are microseconds in reports.
const (
	ByRate Measure = iota // Sample.Rate: more is better
	ByP50                 // the median latency: less is better
	ByP99
	ByCost   // Sample.Cost: less is better, and nothing is fine
	ByAllocs // allocations per operation
	ByP999   // for goals; a scenario is measured by p50 or p99
)

// Suite is a list of scenarios that are run together. It may be run once.
type Suite struct {
	Name      string
	About     string // one line
	Scenarios []Scenario
	Close     func() error // frees what the scenarios share; may be nil
}

// NewSuite makes a suite; o has the sizes and times of this run. It must be quick: what takes time or may
// fail belongs to Scenario.Open or to the warm-up of a case. The suite is used once.
type NewSuite func(ctx context.Context, o Options) (*Suite, error)

// Scenario is one question, answered by several cases.
type Scenario struct {
	Name    string // short, stable: reports are compared by it
	About   string // a line for the reader: what is sent, how, with which sizes
	Measure Measure
	Unit    string // of a rate, such as "msgs/s"; empty means ops/s. Latencies have their own
	// Baseline names the case that ratios are taken to, round by round; empty means none.
	Baseline string
	// Threads is the number of busy threads; a scenario with more of them than GOMAXPROCS is marked as
	// oversubscribed.
	Threads int
	Cases   []Case
	Goals   []Goal
	// Open prepares what the cases share, before the warm-up; the function it returns, which may be nil,
	// frees it after the last round. Open may be nil.
	Open func(ctx context.Context) (close func() error, err error)
}

// Case is one way to do what the scenario asks for. Exactly one of Run and Command is set.
type Case struct {
	Name  string // stable, unique in the scenario
	Role  Role
	Level string // what an acknowledgement means; empty where nothing is acknowledged
	Note  string // one line for the reader; may be empty
	// Run measures once in this process. It returns when all of its goroutines have ended.
	Run func(ctx context.Context, round int) (Sample, error)
	// Command measures once in a process of its own per round.
	Command *Command
}

// Goal is what a case should reach.
type Goal struct {
	Case    string
	Against string  // the case that it is held against; empty: the value itself, latency in µs
	Measure Measure // what is held; a rate must reach Bound, a latency must not exceed it
	Bound   float64 // ratio to Against, or the value
	// Figure names a further figure of the case, which is held instead of Measure, by its value and in the
	// direction that its Better says; empty means none.
	Figure string
}

// SkipError says why a case cannot run here, such as a peer that is not installed.
type SkipError struct{ Why string }

// Error implements error.
func (e *SkipError) Error() string { return "skipped: " + e.Why }

// Skipf makes a SkipError.
func Skipf(format string, args ...any) error { return &SkipError{Why: fmt.Sprintf(format, args...)} }

// check finds what is wrong with a suite, which is a mistake of its author.
func (s *Suite) check() error {
	var names []string
	for i := range s.Scenarios {
		scenario := &s.Scenarios[i]
		if slices.Contains(names, scenario.Name) || scenario.Name == "" {
			return fmt.Errorf("benchkit: suite %s has scenario %q twice, or without a name", s.Name, scenario.Name)
		}
		names = append(names, scenario.Name)
		if err := scenario.check(); err != nil {
			return fmt.Errorf("benchkit: suite %s, scenario %s: %w", s.Name, scenario.Name, err)
		}
	}
	return nil
}

func (s *Scenario) check() error {
	var names []string
	for i := range s.Cases {
		c := &s.Cases[i]
		if slices.Contains(names, c.Name) || c.Name == "" {
			return fmt.Errorf("case %q is there twice, or has no name", c.Name)
		}
		if (c.Run == nil) == (c.Command == nil) {
			return fmt.Errorf("case %q: want either Run or Command", c.Name)
		}
		if c.Role != Ours && c.Role != Peer && c.Role != Floor {
			return fmt.Errorf("case %q: role %q: want ours, peer or floor", c.Name, c.Role)
		}
		names = append(names, c.Name)
	}
	if s.Baseline != "" && !slices.Contains(names, s.Baseline) {
		return fmt.Errorf("no case %q, which is the baseline", s.Baseline)
	}
	for _, goal := range s.Goals {
		for _, name := range []string{goal.Case, goal.Against} {
			if name != "" && !slices.Contains(names, name) {
				return fmt.Errorf("no case %q, which a goal names", name)
			}
		}
	}
	return nil
}
