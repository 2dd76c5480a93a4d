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

// brake makes the slow audience slow: it reads an eighth of what is published, until it is so far
// behind that its backlog would soon fill the disk, and keeps that distance from then on.
type brake struct {
	clock     clock.Clock
	published func() int64
	pressed   *atomic.Bool // the guard waits for us: no braking then
	passed    int64
}

const (
	brakeStep = 5 * time.Millisecond // how long the slow audience sleeps at a time
	// brakeRecords is how many records it may be behind: most of what the guard allows, at 24 bytes of
	// header, 8 of key, 32 of value and a share of the frame's header each.
	brakeRecords = partitions * backlogBytes / 72 / 10 * 8
)

// hold returns when the next message may be handled, or ctx ends.
func (b *brake) hold(ctx context.Context) {
	for !b.open() && ctx.Err() == nil {
		// The end of ctx is seen above.
		_ = clock.Sleep(ctx, b.clock, brakeStep)
	}
	b.passed++
}

func (b *brake) open() bool {
	published := b.published()
	return b.pressed.Load() || published-b.passed >= min(published/8*7, brakeRecords)
}
