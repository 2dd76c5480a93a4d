package main

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
)

// Below what a producer takes, so that a publisher waits here, where an interrupt reaches it.
const (
	windowRecords = 32 << 10
	windowBytes   = 4 << 20
)

// window counts what was published and answered. Publishing belongs to one goroutine, answers to that of
// the producer's callbacks.
type window struct {
	tickets sync.Pool
	records atomic.Int64 // in flight
	bytes   atomic.Int64
	waiting atomic.Bool
	room    chan struct{}

	acked      atomic.Int64
	ackedBytes atomic.Int64

	failed chan struct{} // closed at the first failure
	mu     sync.Mutex    // guards the following
	err    error         // the first failure
	line   int64         // where, 0 if not read from lines
}

// ticket is one message in flight.
type ticket struct {
	w     *window
	bytes int64
	line  int64
	done  func(leat.Receipt, error)
}

func newWindow() *window {
	w := &window{room: make(chan struct{}, 1), failed: make(chan struct{})}
	w.tickets.New = func() any {
		t := &ticket{w: w}
		t.done = t.answered
		return t
	}
	return w
}

// publish hands a message to the producer. It waits for room, until ctx ends or a message has failed.
func (w *window) publish(ctx context.Context, p *leat.Producer, m leat.Message, line int64) error {
	bytes := int64(len(m.Key) + len(m.Value))
	for w.full(bytes) {
		w.waiting.Store(true)
		if !w.full(bytes) {
			w.waiting.Store(false)
			break
		}
		select {
		case <-w.room:
		case <-w.failed:
			return w.failure()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-w.failed:
		return w.failure()
	default:
	}
	t := w.tickets.Get().(*ticket)
	t.bytes, t.line = bytes, line
	w.records.Add(1)
	w.bytes.Add(bytes)
	p.PublishAsync(m, t.done)
	return nil
}

// full reports whether a message must wait. A large one passes when nothing else is in flight.
func (w *window) full(bytes int64) bool {
	records := w.records.Load()
	return records >= windowRecords || records > 0 && w.bytes.Load()+bytes > windowBytes
}

func (t *ticket) answered(_ leat.Receipt, err error) {
	w := t.w
	if err == nil {
		w.acked.Add(1)
		w.ackedBytes.Add(t.bytes)
	} else {
		w.fail(err, t.line)
	}
	w.records.Add(-1)
	w.bytes.Add(-t.bytes)
	w.tickets.Put(t)
	if w.waiting.Load() && w.waiting.Swap(false) {
		select {
		case w.room <- struct{}{}:
		default:
		}
	}
}

func (w *window) fail(err error, line int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err, w.line = err, line
		close(w.failed)
	}
}

// failure gives the first failure, or nil.
func (w *window) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil || w.line == 0 {
		return w.err
	}
	return inLine(w.line, w.err)
}
