package benchkit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/node"
)

// Idle measures what a node costs that does nothing: the time to open an empty folder, and the share
// of a core and the memory of a node whose partitions got one record each. For is how long it waits,
// 60 s; Rounds is how often the empty folder is opened, 5; Idle is the number of partitions, 1,000.
func Idle(ctx context.Context, o Options) (_ *Report, err error) {
	if o.For == 0 {
		o.For = time.Minute
	}
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	if o.Idle == 0 {
		o.Idle = 1000
	}
	b, err := newBench("idle", o)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	if err := b.openEmpty(ctx); err != nil {
		return nil, err
	}
	if err := b.idleNode(ctx); err != nil {
		return nil, err
	}
	return b.report, nil
}

func (b *bench) openEmpty(ctx context.Context) error {
	var opens samples
	err := interleave(ctx, b.Rounds, func(round int) error {
		dir := filepath.Join(b.dir, fmt.Sprintf("empty-%d", round+1))
		start := b.clock.Mono()
		bus, err := node.Open(ctx, dir)
		if err != nil {
			return err
		}
		opens.add(round, float64(b.clock.Mono()-start)/1e6)
		return bus.Close()
	})
	b.report.row("open an empty folder", "-", "ms", opens)
	return err
}

func (b *bench) idleNode(ctx context.Context) (err error) {
	cfg := leat.TopicConfig{Partitions: b.Idle, Ack: leat.AckPage}
	bus, err := node.Open(ctx, filepath.Join(b.dir, "idle"), node.WithTopic("idle", cfg))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	producer, err := bus.Producer("idle", leat.WithPartitioner(leat.Manual))
	if err != nil {
		return err
	}
	for i := range int32(b.Idle) {
		if _, err := producer.Publish(ctx, leat.Message{Partition: i, Value: make([]byte, 64)}); err != nil {
			return err
		}
	}
	runtime.GC()
	usedBefore, _, err := processUse()
	if err != nil {
		b.report.Rows[0].Note = err.Error()
		return nil
	}
	start := b.clock.Mono()
	b.progress("%d partitions with one record each, idle for %v", b.Idle, b.For)
	if err := clock.Sleep(ctx, b.clock, b.For); err != nil {
		return err
	}
	used, resident, err := processUse()
	if err != nil {
		return err
	}
	share := float64(used-usedBefore) / float64(b.clock.Mono()-start) * 100
	name := fmt.Sprintf("%d partitions with one record each", b.Idle)
	b.report.row("processor, "+name, "page", "% of a core", []float64{share}).
		Note = fmt.Sprintf("of the whole process over %v", b.For)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.report.row("resident memory, "+name, "page", "MB", []float64{float64(resident) / 1e6}).Note = fmt.Sprintf(
		"from /proc/self, maps included; one collection before the wait, %d in all; heap %.1f MB in use, "+
			"%.1f MB idle, %d goroutines", memory.NumGC, float64(memory.HeapInuse)/1e6,
		float64(memory.HeapIdle-memory.HeapReleased)/1e6, runtime.NumGoroutine())
	return nil
}
