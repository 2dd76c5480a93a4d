package benchkit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
)

// idleConnections opens connections that do nothing, and measures the server's memory for them and what
// the processor does.
func (n *netBench) idleConnections(ctx context.Context) (err error) {
	before, err := residentOf(n.server.Process.Pid)
	if err != nil {
		n.report.row("idle connections", "-", "MB", nil).Note = "not measured: " + err.Error()
		return nil
	}
	buses := make([]*leat.Bus, 0, n.Idle)
	defer func() {
		for _, bus := range buses {
			err = errors.Join(err, bus.Close())
		}
	}()
	for i := range n.Idle {
		if i%100 == 0 {
			n.progress("open connection %d of %d", i+1, n.Idle)
		}
		bus, err := leat.Dial(ctx, n.at.Leat)
		if err != nil {
			return err
		}
		buses = append(buses, bus)
	}
	const wait = 5 * time.Second
	n.progress("%d idle connections for %v", n.Idle, wait)
	meter := startMeter(n.server.Process.Pid)
	start := n.clock.Mono()
	if err := clock.Sleep(ctx, n.clock, wait); err != nil {
		return err
	}
	use, elapsed := meter.stop(), n.clock.Mono()-start
	after, err := residentOf(n.server.Process.Pid)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d idle connections", n.Idle)
	n.report.row("server memory, "+name, "-", "MB", []float64{float64(after-before) / 1e6}).Note =
		fmt.Sprintf("resident memory of the server process, %.0f MB before", float64(before)/1e6)
	n.report.row("server processor, "+name, "-", "% of a core",
		[]float64{float64(use.server) / float64(elapsed) * 100}).Note = "keep-alives only"
	return nil
}
