package benchkit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/node"
)

const (
	busPartitions     = 4
	busRetentionBytes = 256 << 20 // per partition
	// busBacklogBytes is how far the consumer may fall behind before the publisher waits: retention
	// must not delete what was not read.
	busBacklogBytes = busPartitions * busRetentionBytes / 2
	drainLimit      = 30 * time.Second
)

// Bus measures the whole bus in one process: throughput at page with receipts and one group, latency
// at a fixed rate with the consumer spinning and parked beside a Go channel, and 64 publishers at
// disk. Size is the value, 64 bytes; For is the time of a throughput round, 10 s, and the latency and
// disk rounds take a fifth of it; Rounds is 5.
func Bus(ctx context.Context, o Options) (_ *Report, err error) {
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
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	b, err := newBench("bus", o)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	bus, err := node.Open(ctx, filepath.Join(b.dir, "bus"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	for _, part := range []func(context.Context, *leat.Bus) error{b.throughput, b.latency, b.diskPublishers} {
		if err := part(ctx, bus); err != nil {
			return nil, err
		}
	}
	return b.report, nil
}

// stream is one topic under load with the goroutine that reads it.
type stream struct {
	load      *load
	producer  *leat.Producer
	sub       *leat.Subscription
	sequences *Sequences
	delivered atomic.Int64
	strange   atomic.Int64 // messages that no load made
	acked     atomic.Int64
	refused   atomic.Pointer[error]
	handle    func(intended int64) // called for each message; may be nil
	backlog   int64                // messages the reader may be behind before the publisher waits

	reader  sync.WaitGroup
	failure error // of the reader; read after it ended
	stop    context.CancelFunc
}

// openStream creates the topic and subscribes from its first record on.
func (b *bench) openStream(ctx context.Context, bus *leat.Bus, topic string, cfg leat.TopicConfig,
	options ...leat.SubscribeOption) (*stream, error) {
	if err := bus.CreateTopic(ctx, topic, cfg); err != nil {
		return nil, err
	}
	s := &stream{load: newLoad(b.Size), sequences: NewSequences(loadKeys)}
	var err error
	if s.producer, err = bus.Producer(topic); err != nil {
		return nil, err
	}
	s.sub, err = bus.Subscribe(topic, append(options, leat.From(leat.Earliest))...)
	if err != nil {
		return nil, errors.Join(err, s.producer.Close())
	}
	return s, nil
}

// start runs the reader until close, or until ctx ends.
func (s *stream) start(ctx context.Context) {
	ctx, s.stop = context.WithCancel(ctx)
	s.reader.Go(func() {
		count := int64(0)
		for m, err := range s.sub.Messages(ctx) {
			if err != nil {
				s.failure = err
				return
			}
			intended, ok := observe(s.sequences, m)
			if !ok {
				s.strange.Add(1)
			} else if s.handle != nil {
				s.handle(intended)
			}
			count++
			s.delivered.Store(count)
		}
	})
}

// drain waits until everything sent was delivered.
func (b *bench) drain(ctx context.Context, s *stream) error {
	err := b.await(ctx, drainLimit, func() bool { return s.delivered.Load() >= s.load.total })
	if err != nil && ctx.Err() == nil {
		b.report.problem("%d of %d messages delivered after %v", s.delivered.Load(), s.load.total, drainLimit)
		return nil
	}
	return err
}

// finish stops the reader and judges what it saw.
func (b *bench) finish(name string, s *stream) error {
	s.stop()
	s.reader.Wait()
	if v := s.sequences.Against(s.load.sent); !v.Clean() {
		b.report.problem("%s: of %d messages %d lost, %d duplicated, %d reordered",
			name, s.load.total, v.Lost, v.Duplicated, v.Reordered)
	}
	if n := s.strange.Load(); n > 0 {
		b.report.problem("%s: %d messages that nobody published", name, n)
	}
	return errors.Join(s.failure, s.sub.Close(), s.producer.Close())
}

// throughput publishes as fast as receipts and the backlog allow.
func (b *bench) throughput(ctx context.Context, bus *leat.Bus) (err error) {
	cfg := leat.TopicConfig{Partitions: busPartitions, Ack: leat.AckPage, RetentionBytes: busRetentionBytes}
	s, err := b.openStream(ctx, bus, "throughput", cfg, leat.Group("bench"), leat.AutoAck())
	if err != nil {
		return err
	}
	s.backlog = int64(busBacklogBytes / core.Align8(core.RecordHeaderSize+8+b.Size+core.FrameHeaderSize))
	s.start(ctx)
	defer func() { err = errors.Join(err, b.finish("throughput", s)) }()
	floor, err := newCopyFloor(b.clock, b.dir, 64<<20)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.close()) }()

	record := make([]byte, core.Align8(core.RecordHeaderSize+8+b.Size))
	var acked, delivered, copies samples
	held := int64(0)
	err = interleave(ctx, b.Rounds, func(round int) error {
		b.progress("publish %d B at page, round %d", b.Size, round+1)
		r, err := b.throughputRound(ctx, s, round)
		acked.add(round, r.acked)
		delivered.add(round, r.delivered)
		held += r.heldNanos
		return err
	}, func(round int) error {
		n := 1 << 30 / len(record)
		nanos, err := floor.run(record, n)
		copies.add(round, perSecond(int64(n), nanos))
		return err
	})
	if err != nil {
		return err
	}
	against := fmt.Sprintf("records/s of %d B, %s", len(record), floor.name)
	row := b.report.row("publish with receipts", "page", "msgs/s", acked).against(against, copies)
	row.Note = fmt.Sprintf("PublishAsync, value %d B, key 8 B, %d partitions, one group, one publisher; "+
		"waited %.1f s for the consumer in all", b.Size, busPartitions, float64(held)/1e9)
	row = b.report.row("publish and deliver", "page", "msgs/s", delivered).against(against, copies)
	row.Note = "until the last one was handled"
	return b.bytesPerMessage(ctx, bus, len(record))
}

// throughputResult is one round.
type throughputResult struct {
	acked, delivered float64 // per second
	heldNanos        int64
}

func (b *bench) throughputRound(ctx context.Context, s *stream, round int) (r throughputResult, err error) {
	length := int64(b.For)
	if round == warmUp {
		length /= 5
	}
	done := func(_ leat.Receipt, err error) {
		if err != nil {
			s.refused.CompareAndSwap(nil, &err)
			return
		}
		s.acked.Store(s.acked.Load() + 1)
	}
	before, start := s.load.total, b.clock.Mono()
	for now := start; now < start+length && ctx.Err() == nil; now = b.clock.Mono() {
		if s.load.total-s.delivered.Load() > s.backlog {
			runtime.Gosched()
			r.heldNanos += b.clock.Mono() - now
			continue
		}
		for range 64 {
			s.producer.PublishAsync(s.load.message(0), done)
		}
	}
	if err := s.producer.Flush(ctx); err != nil {
		return r, err
	}
	r.acked = perSecond(s.load.total-before, b.clock.Mono()-start)
	if err := b.drain(ctx, s); err != nil {
		return r, err
	}
	r.delivered = perSecond(s.load.total-before, b.clock.Mono()-start)
	if err := s.refused.Load(); err != nil {
		return r, fmt.Errorf("benchkit: publish: %w", *err)
	}
	if acked := s.acked.Load(); acked != s.load.total {
		b.report.problem("%d acknowledgements for %d messages", acked, s.load.total)
	}
	return r, nil
}

// bytesPerMessage adds the row of what a message takes on disk, with the room that is reserved.
func (b *bench) bytesPerMessage(ctx context.Context, bus *leat.Bus, recordBytes int) error {
	topic, err := topicInfo(ctx, bus, "throughput")
	if err != nil {
		return err
	}
	var bytes, records int64
	for _, p := range topic.Partitions {
		bytes += p.Bytes
		records += p.End - p.Start
	}
	each := float64(bytes) / float64(max(records, 1))
	row := b.report.row("on disk per message", "page", "bytes", []float64{each})
	row.Note = fmt.Sprintf("segments with the room reserved in them; the record has %d", recordBytes)
	return nil
}
