package benchkit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
)

// drainLimit is how long the last messages of a round may take before they count as lost.
const drainLimit = 30 * time.Second

// stream is one topic under load with the goroutine that reads it.
type stream struct {
	clock     clock.Clock
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
func openStream(ctx context.Context, c clock.Clock, bus *leat.Bus, topic string, size int,
	cfg leat.TopicConfig, options ...leat.SubscribeOption) (*stream, error) {
	if err := bus.CreateTopic(ctx, topic, cfg); err != nil {
		return nil, err
	}
	s := &stream{clock: c, load: newLoad(size), sequences: NewSequences(loadKeys)}
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

// drain waits until everything sent was delivered. What was not within drainLimit is for verdict to tell.
func (s *stream) drain(ctx context.Context) error {
	err := await(ctx, s.clock, drainLimit, func() bool { return s.delivered.Load() >= s.load.total })
	if errors.Is(err, errNoEnd) {
		return nil
	}
	return err
}

// close stops the reader and judges what it saw.
func (s *stream) close() (v Verdict, err error) {
	s.stop()
	s.reader.Wait()
	err = s.failure
	if n := s.strange.Load(); n > 0 {
		err = errors.Join(err, fmt.Errorf("benchkit: %d messages that nobody published", n))
	}
	return s.sequences.Against(s.load.sent), errors.Join(err, s.sub.Close(), s.producer.Close())
}

// throughputResult is one round.
type throughputResult struct {
	messages         int64
	acked, delivered float64 // per second
	heldNanos        int64   // that the publisher waited for the reader
}

// throughput publishes for length as fast as receipts and the backlog allow, and drains. Afterwards
// nothing is under way, so that the sequences may be read.
func (s *stream) throughput(ctx context.Context, length time.Duration) (r throughputResult, err error) {
	done := func(_ leat.Receipt, err error) {
		if err != nil {
			s.refused.CompareAndSwap(nil, &err)
			return
		}
		s.acked.Store(s.acked.Load() + 1)
	}
	before, start := s.load.total, s.clock.Mono()
	for now := start; now < start+int64(length) && ctx.Err() == nil; now = s.clock.Mono() {
		if s.load.total-s.delivered.Load() > s.backlog {
			runtime.Gosched()
			r.heldNanos += s.clock.Mono() - now
			continue
		}
		for range 64 {
			s.producer.PublishAsync(s.load.message(0), done)
		}
	}
	if err := s.producer.Flush(ctx); err != nil {
		return r, err
	}
	r.messages = s.load.total - before
	r.acked = perSecond(r.messages, s.clock.Mono()-start)
	if err := s.drain(ctx); err != nil {
		return r, err
	}
	r.delivered = perSecond(r.messages, s.clock.Mono()-start)
	if err := s.refused.Load(); err != nil {
		return r, fmt.Errorf("benchkit: publish: %w", *err)
	}
	if acked := s.acked.Load(); acked != s.load.total {
		return r, fmt.Errorf("benchkit: %d acknowledgements for %d messages", acked, s.load.total)
	}
	return r, nil
}
