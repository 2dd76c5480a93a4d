package benchkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/node"
)

const (
	busPartitions     = 4
	busRetentionBytes = 256 << 20 // per partition
	// busBacklogBytes is how far the consumer may fall behind before the publisher waits: retention
	// must not delete what was not read.
	busBacklogBytes = busPartitions * busRetentionBytes / 2
)

// Bus runs BusSuite.
func Bus(ctx context.Context, o Options) (*Report, error) {
	suite, err := BusSuite(ctx, o)
	if err != nil {
		return nil, err
	}
	return suite.Run(ctx, o)
}

// BusSuite measures the whole bus in one process: throughput at page with receipts and one group, latency
// at a fixed rate with the consumer spinning and parked beside a Go channel, and 64 publishers at
// disk. Size is the value, 64 bytes; For is the time of a throughput round, 10 s, and the latency and
// disk rounds take a fifth of it; Rounds is 5.
func BusSuite(_ context.Context, o Options) (*Suite, error) {
	if o.Size == 0 {
		o.Size = 64
	}
	if o.Size < minValueBytes || o.Size > core.DefaultRecordBytes-1024 {
		return nil, core.Errorf(core.CodeInvalidConfig, "bench bus", "--size %d: want %d to %d",
			o.Size, minValueBytes, core.DefaultRecordBytes-1024)
	}
	if o.For == 0 {
		o.For = 10 * time.Second
	}
	return &Suite{
		Name:  "bus",
		About: "the embedded bus in one process: throughput, latency, durable publishers",
		Scenarios: []Scenario{
			(&busThroughput{busBench: newBusBench(o)}).scenario(),
			busLatencyScenario(newBusBench(o), "latency", latencyRate),
			busLatencyScenario(newBusBench(o), "wake", sleepRate),
			(&busDisk{busBench: newBusBench(o)}).scenario(),
		},
	}, nil
}

// busBench is one scenario with a node of its own.
type busBench struct {
	Options
	clock clock.Clock
	dir   string
	bus   *leat.Bus
}

func newBusBench(o Options) *busBench { return &busBench{Options: o, clock: clock.System} }

// open starts the node in a folder that close removes.
func (b *busBench) open(ctx context.Context) (closeBus func() error, err error) {
	if b.dir, err = os.MkdirTemp(b.Dir, "leat-bench-"); err != nil {
		return nil, fmt.Errorf("benchkit: make a folder for the data: %w", err)
	}
	if b.bus, err = node.Open(ctx, filepath.Join(b.dir, "bus")); err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.dir))
	}
	return func() error { return errors.Join(b.bus.Close(), os.RemoveAll(b.dir)) }, nil
}

// short is the time of a round that is not about throughput.
func (b *busBench) short() time.Duration { return max(b.For/5, 10*time.Millisecond) }

// busThroughput publishes as fast as receipts and the backlog allow.
type busThroughput struct {
	*busBench
	stream *stream
	floor  *copyFloor
}

func (b *busThroughput) recordBytes() int { return core.Align8(core.RecordHeaderSize + 8 + b.Size) }

func (b *busThroughput) scenario() Scenario {
	floor := fmt.Sprintf("memcpy of %d B", b.recordBytes())
	return Scenario{
		Name: "throughput",
		About: fmt.Sprintf("PublishAsync, value %d B, key 8 B, %d partitions, one group, one publisher",
			b.Size, busPartitions),
		Unit:     "msgs/s",
		Baseline: floor,
		Threads:  2,
		Open:     b.open,
		Cases: []Case{
			{Name: "publish with receipts", Role: Ours, Level: "page", Run: b.publish},
			{Name: floor, Role: Floor, Note: "as many bytes as a record, into a map", Run: b.copy},
		},
	}
}

func (b *busThroughput) open(ctx context.Context) (func() error, error) {
	closeBus, err := b.busBench.open(ctx)
	if err != nil {
		return nil, err
	}
	if b.floor, err = newCopyFloor(b.clock, b.dir, 64<<20); err != nil {
		return nil, errors.Join(err, closeBus())
	}
	cfg := leat.TopicConfig{Partitions: busPartitions, Ack: leat.AckPage, RetentionBytes: busRetentionBytes}
	b.stream, err = openStream(ctx, b.clock, b.bus, "throughput", b.Size, cfg,
		leat.Group("bench"), leat.AutoAck())
	if err != nil {
		return nil, errors.Join(err, b.floor.close(), closeBus())
	}
	b.stream.backlog = int64(busBacklogBytes / (b.recordBytes() + core.FrameHeaderSize))
	b.stream.start(ctx)
	return func() error {
		_, err := b.stream.close()
		return errors.Join(err, b.floor.close(), closeBus())
	}, nil
}

func (b *busThroughput) publish(ctx context.Context, round int) (s Sample, err error) {
	length := b.For
	if round == WarmUp {
		length /= 5
	}
	r, err := b.stream.throughput(ctx, length)
	if err != nil {
		return s, err
	}
	onDisk, err := b.bytesPerMessage(ctx)
	if err != nil {
		return s, err
	}
	s.Ops, s.Rate = r.messages, r.acked
	s.Judged(b.stream.sequences.Against(b.stream.load.sent))
	s.More = []Figure{
		{Name: "publish and deliver", Value: r.delivered, Unit: "msgs/s", Better: "higher",
			Note: "until the last one was handled"},
		{Name: "publisher held", Value: float64(r.heldNanos) / 1e9, Unit: "s",
			Note: "that it waited for the consumer, per round"},
		{Name: "on disk per message", Value: onDisk, Unit: "bytes", Better: "lower",
			Note: "segments with the room reserved in them; the record has " + fmt.Sprint(b.recordBytes())},
	}
	return s, nil
}

func (b *busThroughput) copy(context.Context, int) (s Sample, err error) {
	record := make([]byte, b.recordBytes())
	n := 1 << 30 / len(record)
	nanos, err := b.floor.run(record, n)
	return Sample{Ops: int64(n), Rate: perSecond(int64(n), nanos)}, err
}

// bytesPerMessage is what a message takes on disk, with the room that is reserved.
func (b *busThroughput) bytesPerMessage(ctx context.Context) (float64, error) {
	topic, err := topicInfo(ctx, b.bus, "throughput")
	if err != nil {
		return 0, err
	}
	var bytes, records int64
	for _, p := range topic.Partitions {
		bytes += p.Bytes
		records += p.End - p.Start
	}
	return float64(bytes) / float64(max(records, 1)), nil
}
