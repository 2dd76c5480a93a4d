package ring

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/benchkit/handoff"
)

// PeersVariable names further peers: NAME=PROGRAM ARGUMENTS…, several with a semicolon in between. The
// program prints the names of its scenarios, one per line, when its last argument is "scenarios".
const PeersVariable = "LEAT_RING_PEERS"

// floorCommand is a scenario of c/ring.c.
func (w *workshop) floorCommand(scenario string, length time.Duration) *benchkit.Command {
	return &benchkit.Command{
		Args: []string{scenario, milliseconds(length)},
		Prepare: func(ctx context.Context, c *benchkit.Command) (err error) {
			c.Path, err = w.floor(ctx)
			return err
		},
	}
}

// lmaxCommand is a scenario of java/RingPeer.java. The heap has one size and is touched at the start, so
// that neither growing it nor page faults are measured.
func (w *workshop) lmaxCommand(scenario string, length time.Duration) *benchkit.Command {
	return &benchkit.Command{
		Path: "java",
		Prepare: func(ctx context.Context, c *benchkit.Command) error {
			classes, err := w.lmax(ctx)
			c.Args = []string{"-Xms256m", "-Xmx256m", "-XX:+AlwaysPreTouch", "-cp", classes,
				"RingPeer", scenario, milliseconds(length)}
			return err
		},
	}
}

// workerCommand is a case of a Go peer in a process of its own.
func (w *workshop) workerCommand(
	peer, scenario string, length time.Duration, tags string, env ...string,
) *benchkit.Command {
	return &benchkit.Command{
		Args: []string{peer, scenario, milliseconds(length)},
		Env:  env,
		Prepare: func(ctx context.Context, c *benchkit.Command) (err error) {
			c.Path, err = w.worker(ctx, tags)
			return err
		},
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// program is a peer of PeersVariable.
type program struct {
	name      string
	command   []string
	scenarios []string
}

// parsePeers reads PeersVariable and asks each program what it can do.
func parsePeers(ctx context.Context, text string) (peers []program, err error) {
	for entry := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		name, command, ok := strings.Cut(entry, "=")
		p := program{name: strings.TrimSpace(name), command: strings.Fields(command)}
		if !ok || p.name == "" || len(p.command) == 0 {
			return nil, fmt.Errorf("%s: %q: want NAME=PROGRAM", PeersVariable, entry)
		}
		arguments := append(slices.Clone(p.command[1:]), "scenarios")
		output, err := exec.CommandContext(ctx, p.command[0], arguments...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: ask %s for its scenarios: %w", PeersVariable, p.name, err)
		}
		p.scenarios = strings.Fields(string(output))
		peers = append(peers, p)
	}
	return peers, nil
}

// has is false for a scenario that the program does not know.
func (p program) has(scenario string) bool { return slices.Contains(p.scenarios, scenario) }

func (p program) run(scenario string, length time.Duration, env ...string) *benchkit.Command {
	arguments := append(slices.Clone(p.command[1:]), scenario, milliseconds(length))
	return &benchkit.Command{Path: p.command[0], Args: arguments, Env: env}
}

// hasBatches tells whether a scenario publishes in batches.
func hasBatches(scenario string) bool { return strings.HasSuffix(scenario, handoff.BatchSuffix) }
