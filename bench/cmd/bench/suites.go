package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/leatbus/leat/bench/log"
	"github.com/leatbus/leat/bench/queue"
	"github.com/leatbus/leat/bench/ring"
	"github.com/leatbus/leat/bench/scale"
	"github.com/leatbus/leat/internal/benchkit"
)

// entry is a suite that can be asked for by name.
type entry struct {
	name string
	make benchkit.NewSuite
}

// suites are all of them, in the order in which they run. The name is that of the suite.
var suites = []entry{
	{"ring", ring.Suite},
	{"log", log.Suite},
	{"bus", benchkit.BusSuite},
	{"queue", queue.Suite},
	{"scale", scale.Suite},
}

// request is a suite with the scenarios that were asked for, none for all.
type request struct {
	entry
	scenarios []string
}

// requests turns arguments such as "ring" and "bus/disk" into suites to run; no argument means all.
func (p *program) requests(args []string) ([]request, error) {
	var all []request
	for _, s := range p.suites {
		r := request{entry: s}
		whole := len(args) == 0
		for _, arg := range args {
			suite, scenario, found := strings.Cut(arg, "/")
			switch {
			case suite != s.name:
			case found:
				r.scenarios = append(r.scenarios, scenario)
			default:
				whole = true
			}
		}
		if whole {
			r.scenarios = nil
		}
		if whole || len(r.scenarios) > 0 {
			all = append(all, r)
		}
	}
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "/")
		if !slices.ContainsFunc(p.suites, func(s entry) bool { return s.name == name }) {
			return nil, usagef("no suite %q; there are: %s", name, strings.Join(p.names(), ", "))
		}
	}
	return all, nil
}

func (p *program) names() (all []string) {
	for _, s := range p.suites {
		all = append(all, s.name)
	}
	return all
}

// list prints the suites with their scenarios and cases.
func (p *program) list(ctx context.Context) error {
	for _, s := range p.suites {
		suite, err := s.make(ctx, benchkit.Options{})
		if err != nil {
			return fmt.Errorf("suite %s: %w", s.name, err)
		}
		fmt.Fprintf(p.out, "%s: %s\n", s.name, suite.About)
		for i := range suite.Scenarios {
			scenario := &suite.Scenarios[i]
			fmt.Fprintf(p.out, "  %s/%s: %s\n", s.name, scenario.Name, scenario.About)
			for j := range scenario.Cases {
				c := &scenario.Cases[j]
				fmt.Fprintf(p.out, "    %-5s  %s\n", c.Role, c.Name)
			}
		}
		if suite.Close != nil {
			if err := suite.Close(); err != nil {
				return fmt.Errorf("suite %s: %w", s.name, err)
			}
		}
	}
	return nil
}
