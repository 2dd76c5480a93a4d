package benchkit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// netIdlePartitions is how many partitions a server has that is watched while it does nothing.
const netIdlePartitions = 1000

// idlePartitions measures what a server does whose partitions have one record each and whose only client
// says nothing.
func (n *netBench) idlePartitions(ctx context.Context, bus *leat.Bus) (err error) {
	n.progress("%d partitions with one record each", netIdlePartitions)
	cfg := leat.TopicConfig{Partitions: netIdlePartitions, Ack: leat.AckPage, SegmentBytes: core.MinSegmentBytes}
	if err := bus.CreateTopic(ctx, "idle", cfg); err != nil {
		return err
	}
	producer, err := bus.Producer("idle", leat.WithPartitioner(leat.Manual))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	for i := range int32(netIdlePartitions) {
		producer.PublishAsync(leat.Message{Partition: i, Value: make([]byte, 64)}, nil)
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	if err := clock.Sleep(ctx, n.clock, time.Second); err != nil { // the syncs of what was just written
		return err
	}
	n.progress("%d partitions idle for %v", netIdlePartitions, n.IdleFor)
	meter, start := startMeter(n.server.Process.Pid), n.clock.Mono()
	if err := clock.Sleep(ctx, n.clock, n.IdleFor); err != nil {
		return err
	}
	share := float64(meter.stop().server) / float64(n.clock.Mono()-start) * 100
	n.report.row(fmt.Sprintf("server processor, %d partitions idle", netIdlePartitions), "page", "% of a core",
		[]float64{share}).Note = fmt.Sprintf("one record each, one connection, over %v", n.IdleFor)
	return nil
}

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
	n.progress("%d idle connections for %v", n.Idle, n.IdleFor)
	meter := startMeter(n.server.Process.Pid)
	start := n.clock.Mono()
	if err := clock.Sleep(ctx, n.clock, n.IdleFor); err != nil {
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
