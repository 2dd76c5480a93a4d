package demo

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/clock"
)

// audience is a group, or a lone subscriber, and what it has seen.
type audience struct {
	name  string
	keys  [][]byte
	clock clock.Clock
	subs  []*leat.Subscription

	sequences *benchkit.Sequences
	latency   *benchkit.Histogram // nil unless this audience has one member
	altered   atomic.Int64
	parts     [partitions]audiencePart
}

// audiencePart is one partition. The lock is free but for the moment a partition changes hands, when
// two members might count the same key.
type audiencePart struct {
	mu   sync.Mutex
	next atomic.Int64 // offset after the last message handled
	_    [48]byte
}

func newAudience(name string, keys [][]byte, c clock.Clock) *audience {
	return &audience{name: name, keys: keys, clock: c, sequences: benchkit.NewSequences(len(keys))}
}

// join opens members subscriptions from the first record on.
func (a *audience) join(bus *leat.Bus, members int, options ...leat.SubscribeOption) error {
	options = append(options, leat.From(leat.Earliest))
	for range members {
		sub, err := bus.Subscribe(topicName, options...)
		if err != nil {
			return fmt.Errorf("demo: subscribe %s: %w", a.name, err)
		}
		a.subs = append(a.subs, sub)
	}
	return nil
}

// leave closes the subscriptions; the first error counts.
func (a *audience) leave() error {
	var first error
	for _, sub := range a.subs {
		if err := sub.Close(); err != nil && first == nil {
			first = fmt.Errorf("demo: close %s: %w", a.name, err)
		}
	}
	return first
}

// handled is the number of messages below the audience's cursors.
func (a *audience) handled() int64 {
	var sum int64
	for i := range a.parts {
		sum += a.parts[i].next.Load()
	}
	return sum
}

// reached reports whether every partition was handled up to its mark.
func (a *audience) reached(marks [partitions]int64) bool {
	for i := range a.parts {
		if a.parts[i].next.Load() < marks[i] {
			return false
		}
	}
	return true
}

// read runs one member until ctx ends. pause is called after every message; nil does not pause.
func (a *audience) read(ctx context.Context, sub *leat.Subscription, fault Fault, pause func()) error {
	s := saboteur{fault: fault, check: func(p payload) { a.sequences.Observe(p.key, p.sequence) }}
	defer s.end()
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return fmt.Errorf("demo: %s reads: %w", a.name, err)
		}
		if m.Partition < 0 || m.Partition >= partitions {
			return fmt.Errorf("demo: %s got partition %d of %d", a.name, m.Partition, partitions)
		}
		a.handle(m, &s)
		if pause != nil {
			pause()
		}
	}
	return nil
}

// handle checks one message. It does not allocate.
func (a *audience) handle(m *leat.Message, s *saboteur) {
	p, intact := parsePayload(m, a.keys)
	part := &a.parts[m.Partition]
	if !intact {
		a.altered.Add(1)
		part.next.Store(m.Offset + 1)
		return
	}
	if a.latency != nil {
		a.latency.Record(a.clock.Mono() - p.intended)
	}
	part.mu.Lock()
	s.pass(p)
	part.mu.Unlock()
	part.next.Store(m.Offset + 1)
}

// brake makes the slow audience keep to rate messages per second.
type brake struct {
	clock  clock.Clock
	pacer  *benchkit.Pacer
	passed int64
}

// brakeStep is how long the slow audience sleeps at a time.
const brakeStep = 5 * time.Millisecond

func (b *brake) hold(ctx context.Context) {
	for {
		now := b.clock.Mono()
		if _, ok := b.pacer.Take(now); ok || ctx.Err() != nil {
			return
		}
		// The end of ctx is seen at the top.
		_ = clock.Sleep(ctx, b.clock, brakeStep)
	}
}

// slowRate is the pace of the slow audience: an eighth of the load, or more where the run is so long
// that its backlog would not fit on disk.
func slowRate(cfg *Config) int64 {
	const recordBytes = 72 // 24 header, 8 key, 32 value, and a share of the frame's header
	room := partitions * int64(backlogBytes) / recordBytes * 7 / 10
	fits := cfg.Rate - int64(float64(room)/cfg.For.Seconds())
	return max(1, cfg.Rate/8, fits)
}
