package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
)

// retryMax bounds how long a job waits for its next attempt.
const retryMax = time.Second

// office has the workers of the group.
type office struct {
	bus     *leat.Bus
	options options
	jobs    *ledger
	up      atomic.Bool  // the airport that was down can be served again
	workers atomic.Int64 // who have joined so far
}

// desk has one worker at a time, until ctx ends.
func (o *office) desk(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := o.work(ctx); err != nil {
			return err
		}
	}
	return nil
}

// work is the shift of one worker. It joins the group and leaves again; nothing is moved among the others,
// and what it was handed and has not done goes to them, without counting as an attempt.
func (o *office) work(ctx context.Context) error {
	// No job is given up, however often it fails. MaxHeld bounds what waits at this desk, perhaps while another
	// one has nothing to do.
	sub, err := o.bus.Subscribe("jobs", leat.Group("clerks"),
		leat.KeyShared(leat.QueueConfig{MaxAttempts: -1}), leat.MaxHeld(16))
	if err != nil {
		return err
	}
	defer sub.Close()
	o.workers.Add(1)
	done := 0
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := o.handle(m); err != nil {
			return err
		}
		if done++; done == o.options.shift {
			break
		}
	}
	return nil
}

// handle does one job.
func (o *office) handle(m *leat.Message) error {
	airport := string(m.Key)
	if airport == o.options.down && !o.up.Load() {
		if err := o.jobs.fail(airport, m.Offset, m.Attempt); err != nil {
			return err
		}
		return unlessStale(m.Nack(backoff(o.options.retry, m.Attempt)))
	}
	time.Sleep(o.options.work)
	// Done first and acked then. A crash in between has the job done twice; what must not be needs the
	// idempotence that examples/outbox shows.
	if err := o.jobs.done(airport, m.Offset); err != nil {
		return err
	}
	return unlessStale(m.Ack())
}

// backoff is the delay behind an attempt: it doubles from the first one on.
func backoff(first time.Duration, attempt int32) time.Duration {
	return min(first<<min(attempt-1, 16), retryMax)
}

// unlessStale is nil where an answer came too late: the lease was over, and the job comes again, here or at
// another desk.
func unlessStale(err error) error {
	if errors.Is(err, leat.ErrStaleAck) {
		return nil
	}
	return err
}

// report waits for the jobs of the airports that are up, then for the rest, and tells of both.
func (o *office) report(ctx context.Context, out io.Writer) error {
	began := time.Now()
	if err := wait(ctx, o.jobs.othersDone); err != nil {
		return err
	}
	took := time.Since(began).Round(time.Millisecond)
	if down := o.options.down; down != "" {
		s := o.jobs.summary()
		fmt.Fprintf(out, "%s is down: its first job failed %d times, %d more wait behind it\n", down, s.failures,
			s.ofDown-1)
		fmt.Fprintf(out, "all %d jobs of the others are done after %v, by %d workers at %d desks\n",
			s.total-s.ofDown, took, o.workers.Load(), o.options.desks)
		o.up.Store(true)
		fmt.Fprintf(out, "%s is up again\n", down)
	}
	if err := wait(ctx, o.jobs.allDone); err != nil {
		return err
	}
	s := o.jobs.summary()
	fmt.Fprintf(out, "all %d jobs are done after %v, by %d workers, each in the order of its airport, "+
		"%d of them twice\n", s.total, time.Since(began).Round(time.Millisecond), o.workers.Load(), s.repeated)
	return nil
}

func wait(ctx context.Context, happened <-chan struct{}) error {
	select {
	case <-happened:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
