package scale

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/clock"
)

// The cases of publishing and tailing.
const (
	emptyCase     = "empty topic"
	backlogCase   = "behind the backlog"
	quietCase     = "nobody catches up"
	boundedCase   = "4 catch up, 100,000 msgs/s each"
	unboundedCase = "4 catch up, as fast as they can"
)

const (
	publishRate  = 10_000 // messages per second
	readers      = 4
	boundedSpeed = 100_000 // messages per second and reader
	warmShare    = 5       // of a round: the first fifth warms up
)

// publishing asks what a publish takes behind a backlog.
func (s *suite) publishing() *benchkit.Scenario {
	scenario := s.backlogScenario("backlog-publish", "from the intended time to the receipt at page",
		func(f *following) *benchkit.Histogram { return f.publish })
	scenario.Baseline = emptyCase
	s.add(scenario, emptyCase, "", func(ctx context.Context, both *stores) (*following, error) {
		return both.empty.follow(ctx, s.length, 0, 0)
	})
	s.add(scenario, backlogCase, "", func(ctx context.Context, both *stores) (*following, error) {
		return both.full.follow(ctx, s.length, 0, 0)
	})
	return scenario
}

// tailing asks what a message takes to a reader at the end, while others read what is old.
func (s *suite) tailing() *benchkit.Scenario {
	scenario := s.backlogScenario("backlog-tail", "from the intended time to the handler of a reader at the end",
		func(f *following) *benchkit.Histogram { return f.tail })
	scenario.Baseline = quietCase
	for _, c := range []struct {
		name, note     string
		readers, speed int
	}{
		{quietCase, "", 0, 0},
		{boundedCase, "each begins in another quarter of the backlog", readers, boundedSpeed},
		{unboundedCase, "they take every processor that is there", readers, 0},
	} {
		s.add(scenario, c.name, c.note, func(ctx context.Context, both *stores) (*following, error) {
			return both.full.follow(ctx, s.length, c.readers, c.speed)
		})
	}
	return scenario
}

func (s *suite) backlogScenario(
	name, what string, of func(*following) *benchkit.Histogram,
) *benchkit.Scenario {
	return &benchkit.Scenario{Name: name, Measure: benchkit.ByP99, Threads: 2,
		About: fmt.Sprintf("%s; %d msgs/s of %d B, %d partitions, a backlog of %d messages, all in this process",
			what, publishRate, valueSize, backlogPartitions, s.backlog)}
}

func (s *suite) add(scenario *benchkit.Scenario, name, note string,
	run func(context.Context, *stores) (*following, error)) {
	tail := scenario.Baseline == quietCase
	scenario.Cases = append(scenario.Cases, benchkit.Case{Name: name, Role: benchkit.Ours, Level: "page",
		Note: note,
		Run: func(ctx context.Context, _ int) (sample benchkit.Sample, err error) {
			both, err := s.open(ctx)
			if err != nil {
				return sample, err
			}
			f, err := run(ctx, both)
			if err != nil {
				return sample, err
			}
			return f.sample(name, tail), nil
		}})
}

// following is what one round has found.
type following struct {
	publish, tail *benchkit.Histogram
	sent          int64
	seen          atomic.Int64 // by the reader at the end
	reordered     int64
	nanos         int64 // that publishing took
	caughtUp      int64 // messages that the others have read meanwhile
	bounded       bool  // nobody takes all processors, so that the rate must be reached
}

func (f *following) sample(name string, tail bool) (s benchkit.Sample) {
	s.Ops, s.Lost, s.Reordered = f.sent, f.sent-f.seen.Load(), f.reordered
	measured, other, what := f.publish, f.tail, "handler at the end, p99, "
	if tail {
		measured, other, what = f.tail, f.publish, "receipt, p99, "
	}
	s.Measured(measured)
	s.More = []benchkit.Figure{{Name: what + name, Value: other.Summary().P99, Unit: "µs", Better: "lower"}}
	if f.bounded {
		s.Paced(f.sent, f.nanos, publishRate)
	} else {
		s.More = append(s.More, benchkit.Figure{Name: "rate reached, " + name, Unit: "msgs/s", Better: "higher",
			Value: float64(f.sent) * 1e9 / float64(f.nanos), Note: fmt.Sprintf("%d were intended", publishRate)})
	}
	if f.caughtUp > 0 {
		s.More = append(s.More, benchkit.Figure{Name: "read from the backlog, " + name, Unit: "msgs/s",
			Better: "higher", Value: float64(f.caughtUp) * 1e9 / float64(f.nanos), Note: "by all of them"})
	}
	return s
}

// follow publishes at a fixed rate, with a reader at the end, while others catch up with messages per second
// each, or as many as they can for 0.
func (s *store) follow(ctx context.Context, length time.Duration, others, speed int) (*following, error) {
	f := &following{publish: benchkit.NewHistogram(), tail: benchkit.NewHistogram(),
		sent: max(int64(length)*publishRate/1e9, 100), bounded: others == 0 || speed > 0}
	sub, err := s.bus.Subscribe(backlogTopic, leat.From(leat.Latest))
	if err != nil {
		return nil, err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	errs := make(chan error, 1+others)
	var tasks sync.WaitGroup
	tasks.Go(func() { errs <- f.read(working, sub) })
	crowd := make([]*catcher, others)
	for i := range crowd {
		c := &catcher{store: s, speed: int64(speed)}
		crowd[i] = c
		tasks.Go(func() { errs <- c.run(working, int64(i), int64(others)) })
	}
	before := caught(crowd)
	err = f.send(ctx, s.bus)
	f.caughtUp = caught(crowd) - before
	if err == nil {
		err = f.await(ctx)
	}
	stop()
	tasks.Wait()
	for range 1 + others {
		err = errors.Join(err, <-errs)
	}
	return f, errors.Join(err, sub.Close())
}

// send publishes at the rate and waits for each receipt.
func (f *following) send(ctx context.Context, bus *leat.Bus) error {
	producer, err := bus.Producer(backlogTopic)
	if err != nil {
		return err
	}
	value := newValue()
	pacer := benchkit.NewPacer(clock.System, publishRate)
	start := clock.System.Mono()
	for i := range f.sent {
		due := pacer.Wait()
		setNumber(value, i)
		binary.LittleEndian.PutUint64(value[8:], uint64(due))
		if _, err = producer.Publish(ctx, leat.Message{Value: value}); err != nil {
			break
		}
		if i >= f.sent/warmShare {
			f.publish.Record(clock.System.Mono() - due)
		}
	}
	f.nanos = clock.System.Mono() - start
	return errors.Join(err, producer.Close())
}

// read is the loop of the reader at the end.
func (f *following) read(ctx context.Context, sub *leat.Subscription) error {
	var last [backlogPartitions]int64
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		number := int64(binary.LittleEndian.Uint64(m.Value))
		if number >= f.sent/warmShare {
			f.tail.Record(clock.System.Mono() - int64(binary.LittleEndian.Uint64(m.Value[8:])))
		}
		if number+1 <= last[m.Partition] {
			f.reordered++
		}
		last[m.Partition] = number + 1
		f.seen.Add(1)
	}
	return nil
}

// await waits until the reader at the end has all; what does not come counts as lost.
func (f *following) await(ctx context.Context) error {
	for end := time.Now().Add(patience); f.seen.Load() < f.sent && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
