package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	// backlog is how many messages may be published and not handled: the publisher waits then.
	backlog = 65_536
	// lookEvery is the number of messages between two looks at the backlog.
	lookEvery = 256
	nap       = 100 * time.Microsecond
	// patience is how long nothing may come until what is missing counts as lost.
	patience = 20 * time.Second
)

// system is a queue that can be measured.
type system interface {
	// open connects a publisher and workers to a queue, which is empty. The first call makes it.
	open(ctx context.Context, workers int) (*line, error)
}

// line is a queue under way.
type line struct {
	publisher
	workers []worker
	closers []func() error
}

// later has close call f, before what it was told earlier.
func (l *line) later(f func() error) { l.closers = append(l.closers, f) }

func (l *line) close() (err error) {
	for i := len(l.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, l.closers[i]())
	}
	return err
}

// publisher publishes to a queue. It belongs to one goroutine.
type publisher interface {
	// publish takes a message, whose memory is the caller's again when it returns; key is nil if messages have
	// none. It waits while too many are not confirmed.
	publish(ctx context.Context, key, value []byte) error
	// flush waits until all messages are confirmed.
	flush(ctx context.Context) error
}

// worker takes messages out of a queue.
type worker interface {
	// work shows h each message and then acks it, until ctx ends, which is no error.
	work(ctx context.Context, h *hand) error
	// settle waits until the server knows of all acks, while work goes on.
	settle(ctx context.Context) error
}

// load is what a case does in one round.
type load struct {
	messages int64
	size     int
	workers  int
	keys     func() *keys // nil where messages have no keys
}

// run sends messages through a queue of a system. Those that came twice are counted in the sample, which
// makes a run invalid; a caller whose system may do so moves them.
func (l load) run(ctx context.Context, s system) (sample benchkit.Sample, err error) {
	line, err := s.open(ctx, l.workers)
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, line.close()) }()
	t := newTally(l.size, l.messages, l.workers)
	if l.keys != nil {
		t.keys = l.keys()
	}
	wanted := t.wanted()
	working, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, len(line.workers))
	var tasks sync.WaitGroup
	for i, w := range line.workers {
		tasks.Go(func() {
			if err := w.work(working, t.hands[i]); err != nil && working.Err() == nil {
				failed <- err
			}
		})
	}
	start := time.Now()
	if err = l.publish(ctx, line, t, failed); err == nil {
		err = t.await(ctx, wanted, failed)
	}
	for _, w := range line.workers {
		if err == nil {
			err = w.settle(ctx)
		}
	}
	took := time.Since(start)
	stop()
	tasks.Wait()
	if err != nil {
		return sample, err
	}
	sample.Ops, sample.Rate = l.messages, float64(wanted)/took.Seconds()
	sample.Duplicated = t.again()
	t.judge(&sample)
	return sample, nil
}

// publish publishes all messages and waits until they are confirmed.
func (l load) publish(ctx context.Context, p *line, t *tally, failed <-chan error) error {
	value := newMessage(l.size)
	var key []byte
	if t.keys != nil {
		key = make([]byte, keyBytes)
	}
	for i := range l.messages {
		if i%lookEvery == 0 {
			if err := t.await(ctx, i-backlog, failed); err != nil {
				return err
			}
		}
		setNumber(value, i)
		if key != nil {
			setNumber(key, t.keys.of(i))
		}
		if err := p.publish(ctx, key, value); err != nil {
			return fmt.Errorf("publish message %d: %w", i, err)
		}
	}
	return p.flush(ctx)
}

// await waits until so many messages were seen, somebody has failed, or nothing has come for long, which is
// no error here.
func (t *tally) await(ctx context.Context, wanted int64, failed <-chan error) error {
	if t.done() >= wanted {
		return nil
	}
	last, at := int64(-1), time.Now()
	for {
		done := t.done()
		if done >= wanted {
			return nil
		}
		if done != last {
			last, at = done, time.Now()
		} else if time.Since(at) > patience {
			return nil
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(nap):
		}
	}
}
