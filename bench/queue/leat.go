package queue

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
)

const (
	partitions = 4
	// keptBytes is what a partition keeps: more than the backlog, so that nothing goes that is not handled,
	// and little enough that after the first rounds files are used again, as in a queue that has run for a
	// while.
	keptBytes    = 32 << 20
	segmentBytes = 8 << 20
	queueName    = "queue"
	group        = "workers"
)

// topicConfig is that of the topics of this suite.
func topicConfig(level leat.Ack) leat.TopicConfig {
	return leat.TopicConfig{Partitions: partitions, Ack: level, RetentionBytes: keptBytes,
		SegmentBytes: segmentBytes}
}

// leatSystem is Leat, in this process or behind a server.
type leatSystem struct {
	// connect gives a bus for the publisher or a worker, and what closes it.
	connect func(ctx context.Context) (*leat.Bus, func() error, error)
	level   leat.Ack
	options []leat.SubscribeOption // but for the group
	made    bool                   // the topic is there
}

// shared is a bus that all use.
func shared(bus *leat.Bus) func(context.Context) (*leat.Bus, func() error, error) {
	return func(context.Context) (*leat.Bus, func() error, error) {
		return bus, func() error { return nil }, nil
	}
}

func (s *leatSystem) open(ctx context.Context, workers int) (_ *line, err error) {
	bus, closeBus, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	l := &line{}
	l.later(closeBus)
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if !s.made {
		if err := bus.CreateTopic(ctx, queueName, topicConfig(s.level)); err != nil {
			return nil, err
		}
		s.made = true
	}
	for range workers {
		own, closeOwn, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		l.later(closeOwn)
		sub, err := own.Subscribe(queueName, append([]leat.SubscribeOption{leat.Group(group)}, s.options...)...)
		if err != nil {
			return nil, err
		}
		l.later(sub.Close)
		l.workers = append(l.workers, &leatWorker{sub})
	}
	producer, err := bus.Producer(queueName)
	if err != nil {
		return nil, err
	}
	l.later(producer.Close)
	p := &leatPublisher{producer: producer}
	p.done = p.answered
	l.publisher = p
	return l, nil
}

// leatPublisher publishes with receipts.
type leatPublisher struct {
	producer *leat.Producer
	done     func(leat.Receipt, error)
	failed   atomic.Pointer[error] // of the first publish that failed
}

func (p *leatPublisher) answered(_ leat.Receipt, err error) {
	if err != nil {
		first := err // so that err itself stays off the heap, where each call would put it
		p.failed.CompareAndSwap(nil, &first)
	}
}

func (p *leatPublisher) publish(_ context.Context, key, value []byte) error {
	p.producer.PublishAsync(leat.Message{Key: key, Value: value}, p.done)
	return nil
}

func (p *leatPublisher) flush(ctx context.Context) error {
	err := p.producer.Flush(ctx)
	if failed := p.failed.Load(); failed != nil {
		err = *failed
	}
	return err
}

// leatWorker is a member of the group.
type leatWorker struct{ sub *leat.Subscription }

// refusedFor is how long a message of the key that fails stays away: shorter than any delay that groups have
// by default, so that it is a burden.
const refusedFor = time.Millisecond

func (w *leatWorker) work(ctx context.Context, h *hand) error {
	for m, err := range w.sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if h.keys != nil {
			if h.keys.refuses(m.Key) {
				if err := m.Nack(refusedFor); err != nil {
					return err
				}
				continue
			}
			if !h.keys.ordered(m.Key, m.Value) {
				h.reordered.Add(1)
			}
		}
		h.see(m.Value)
		if err := m.Ack(); err != nil {
			return err
		}
	}
	return nil
}

func (w *leatWorker) settle(ctx context.Context) error { return w.sub.Commit(ctx) }
