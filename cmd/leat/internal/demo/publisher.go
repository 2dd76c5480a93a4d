package demo

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/clock"
)

// publisher sends the keys with number ≡ index modulo publishers, one after the other, at its share
// of the rate.
type publisher struct {
	index    int
	keys     [][]byte
	clock    clock.Clock
	producer *leat.Producer
	hold     *atomic.Bool // set by the guard

	sent  []uint64 // per key, by its number; only the keys of this publisher
	total int64
	held  int64 // nanoseconds waited for the slow audience

	acked  atomic.Int64
	failed atomic.Pointer[error] // the first
	done   func(leat.Receipt, error)
}

func newPublisher(
	index int, keys [][]byte, c clock.Clock, producer *leat.Producer, hold *atomic.Bool,
) *publisher {
	p := &publisher{index: index, keys: keys, clock: c, producer: producer, hold: hold,
		sent: make([]uint64, len(keys))}
	// One callback for all messages: it runs on one goroutine.
	p.done = func(_ leat.Receipt, err error) {
		if err != nil {
			p.failed.CompareAndSwap(nil, &err)
			return
		}
		p.acked.Store(p.acked.Load() + 1)
	}
	return p
}

// share is this publisher's part of the rate.
func (p *publisher) share(rate int64) int64 {
	share := rate / publishers
	if int64(p.index) < rate%publishers {
		share++
	}
	return share
}

// run publishes until end on Mono, a failure, or the end of ctx, and then waits for the
// acknowledgements.
func (p *publisher) run(ctx context.Context, rate, end int64) error {
	if share := p.share(rate); share > 0 {
		p.send(ctx, benchkit.NewPacer(p.clock, share), end)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := p.producer.Flush(ctx); err != nil {
		return fmt.Errorf("demo: flush: %w", err)
	}
	if err := p.failed.Load(); err != nil {
		return fmt.Errorf("demo: publish: %w", *err)
	}
	if acked := p.acked.Load(); acked != p.total {
		return fmt.Errorf("demo: %d acknowledgements for %d messages", acked, p.total)
	}
	return nil
}

func (p *publisher) send(ctx context.Context, pacer *benchkit.Pacer, end int64) {
	value := make([]byte, valueBytes)
	key := p.index
	for {
		now := p.clock.Mono()
		if now >= end || ctx.Err() != nil || p.failed.Load() != nil {
			return
		}
		if p.hold.Load() {
			p.pause(ctx, pacer, end)
			continue
		}
		// One look at the clock serves a run of messages that are late already.
		for range 32 {
			intended, ok := pacer.Take(now)
			if !ok {
				p.idle(ctx, pacer.Due()-now)
				break
			}
			p.publish(key, intended, value)
			if key += publishers; key >= len(p.keys) {
				key = p.index
			}
		}
	}
}

func (p *publisher) publish(key int, intended int64, value []byte) {
	message := payload{sequence: p.sent[key], intended: intended, key: uint32(key)}
	message.put(value)
	p.sent[key]++
	p.total++
	p.producer.PublishAsync(leat.Message{Key: p.keys[key], Value: value}, p.done)
}

// idle lets others run until the next message is due. A timer may be a millisecond late, so it only
// bridges long gaps.
func (p *publisher) idle(ctx context.Context, nanos int64) {
	const late = int64(2 * time.Millisecond)
	if nanos < 2*late {
		runtime.Gosched()
		return
	}
	// The caller sees the end of ctx.
	_ = clock.Sleep(ctx, p.clock, time.Duration(nanos-late))
}

// pause waits while the guard holds. The plan moves by as much: it is not the bus that is late.
func (p *publisher) pause(ctx context.Context, pacer *benchkit.Pacer, end int64) {
	start := p.clock.Mono()
	for now := start; p.hold.Load() && now < end && ctx.Err() == nil; now = p.clock.Mono() {
		_ = clock.Sleep(ctx, p.clock, 2*time.Millisecond)
	}
	waited := p.clock.Mono() - start
	pacer.Postpone(waited)
	p.held += waited
}
