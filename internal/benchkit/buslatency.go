package benchkit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
)

// The loads of the latency scenarios, in messages per second: at the lower one a consumer that has nothing
// to do falls asleep between two messages.
const (
	latencyRate = 100_000
	sleepRate   = 5_000
)

// latencyGoalMicros is the goal for a consumer that spins, at page.
const latencyGoalMicros = 0.25

const wordFloorName = "a word between two processors"

// busLatencyScenario publishes at a fixed rate and measures to the handler. The sender spins on its own
// processor and waits for each receipt; the same sender feeds the channel.
func busLatencyScenario(b *busBench, name string, rate int64) Scenario {
	n := int64(b.short()) * rate / 1e9
	toBus := func(options ...leat.SubscribeOption) func(context.Context, int) (Sample, error) {
		return func(ctx context.Context, round int) (Sample, error) {
			return b.latencyRound(ctx, fmt.Sprintf("latency-%d-%d", len(options), round+1), rate, n, options)
		}
	}
	const publish = "Publish, which waits for its receipt; one partition, a subscription without group"
	channel := Case{Name: "Go channel to a blocked receiver", Role: Peer, Note: "a channel with room for one",
		Run: func(ctx context.Context, _ int) (Sample, error) { return channelRound(ctx, b.clock, rate, n) }}
	cases := []Case{
		{Name: "publish to handler, consumer spinning", Role: Ours, Level: "page", Note: publish,
			Run: toBus(leat.Spin())},
		{Name: "publish to handler, consumer waiting", Role: Ours, Level: "page", Note: publish, Run: toBus()},
	}
	cases = append(cases, channel)
	var goals []Goal
	if rate == sleepRate {
		cases = cases[1:]
		cases[0].Name, cases[1].Name = "publish to handler, consumer parked", "Go channel to a parked receiver"
	} else {
		cases = append(cases, Case{Name: wordFloorName, Role: Floor,
			Note: "the same sender stores the time, a receiver polls: what the hardware and the clock take",
			Run:  func(ctx context.Context, _ int) (Sample, error) { return wordRound(ctx, b.clock, rate, n) }})
		goals = []Goal{{Case: cases[0].Name, Measure: ByP50, Bound: latencyGoalMicros}}
	}
	return Scenario{
		Name:     name,
		About:    fmt.Sprintf("open loop at %d msgs/s, from the intended time", rate),
		Measure:  ByP50,
		Baseline: cases[len(cases)-1].Name,
		Threads:  2,
		Open:     b.open,
		Cases:    cases,
		Goals:    goals,
	}
}

// latencyRound sends n messages through a topic of its own; the first fifth warms up.
func (b *busBench) latencyRound(ctx context.Context, topic string, rate, n int64,
	options []leat.SubscribeOption) (s Sample, err error) {
	h := NewHistogram()
	cfg := leat.TopicConfig{Partitions: 1, Ack: leat.AckPage, RetentionBytes: busRetentionBytes}
	stream, err := openStream(ctx, b.clock, b.bus, topic, b.Size, cfg, options...)
	if err != nil {
		return s, err
	}
	seen := int64(0)
	stream.handle = func(intended int64) {
		if seen++; seen > n/5 {
			h.Record(b.clock.Mono() - intended)
		}
	}
	stream.start(ctx)
	sendErr := paced(ctx, b.clock, &s, rate, n, func(intended int64) error {
		_, err := stream.producer.Publish(ctx, stream.load.message(intended))
		return err
	})
	if sendErr == nil {
		sendErr = stream.drain(ctx)
	}
	v, err := stream.close()
	s.Judged(v)
	s.Measured(h)
	// The same name is used again if the round has to be repeated.
	return s, errors.Join(sendErr, err, b.bus.DeleteTopic(ctx, topic))
}

// paced sends n messages at a rate and notes what was missing of the rate.
func paced(ctx context.Context, c clock.Clock, s *Sample, rate, n int64,
	send func(intended int64) error) error {
	pacer := NewPacer(c, rate)
	start := c.Mono()
	for i := range n {
		if err := send(pacer.Wait()); err != nil {
			return err
		}
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	nanos := c.Mono() - start
	s.Ops, s.Rate = n, perSecond(n, nanos)
	s.Paced(n, nanos, float64(rate))
	return nil
}

// channelRound is the same sender, a channel, a blocked receiver.
func channelRound(ctx context.Context, c clock.Clock, rate, n int64) (s Sample, err error) {
	h := NewHistogram()
	channel := make(chan int64, 1)
	var receiver sync.WaitGroup
	seen := int64(0)
	receiver.Go(func() {
		for intended := range channel {
			if seen++; seen > n/5 {
				h.Record(c.Mono() - intended)
			}
		}
	})
	err = paced(ctx, c, &s, rate, n, func(intended int64) error {
		channel <- intended
		return nil
	})
	close(channel)
	receiver.Wait()
	s.Lost = n - seen
	s.Measured(h)
	return s, err
}

// wordRound is the same sender, and a receiver that polls the one word it stores to.
func wordRound(ctx context.Context, c clock.Clock, rate, n int64) (s Sample, err error) {
	h := NewHistogram()
	var word struct {
		_    [128]byte
		sent atomic.Int64 // intended time of the last message, and -1 at the end
		_    [120]byte
	}
	var receiver sync.WaitGroup
	var seen atomic.Int64 // the last message received; nobody looks before the end
	warm := c.Mono() + n/5*1e9/rate
	receiver.Go(func() {
		for last := int64(0); ; {
			intended := word.sent.Load()
			if intended == last {
				continue
			}
			if last = intended; last < 0 {
				return
			}
			if intended > warm {
				h.Record(c.Mono() - intended)
			}
			seen.Store(intended)
		}
	})
	err = paced(ctx, c, &s, rate, n, func(intended int64) error {
		word.sent.Store(intended)
		return nil
	})
	for seen.Load() != word.sent.Load() {
		runtime.Gosched()
	}
	word.sent.Store(-1)
	receiver.Wait()
	s.Measured(h) // what was overwritten before it was seen is missing: the sender does not wait
	return s, err
}
