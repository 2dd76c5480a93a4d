package benchkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leatbus/leat"
)

// The loads of the latency cases, in messages per second: at the lower one a consumer that has nothing
// to do falls asleep between two messages.
const (
	latencyRate = 100_000
	sleepRate   = 5_000
)

// rateSlack is the share of the intended rate that may be missing before a round is invalid.
const rateSlack = 0.01

// latencyCase is one way to bring paced messages to a handler.
type latencyCase struct {
	name   string
	level  string
	note   string
	rate   int64
	floor  int // index of the case it is held against
	run    func(c *latencyCase, round int) (*Histogram, error)
	rounds []Latency
}

// latency publishes at fixed rates and measures to the handler. The sender spins on its own
// processor and waits for each receipt; the same sender feeds the channel.
func (b *bench) latency(ctx context.Context, bus *leat.Bus) error {
	length := max(b.For/5, 10*time.Millisecond)
	count := func(c *latencyCase) int64 { return int64(length) * c.rate / int64(time.Second) }
	toBus := func(options ...leat.SubscribeOption) func(*latencyCase, int) (*Histogram, error) {
		return func(c *latencyCase, round int) (*Histogram, error) {
			topic := fmt.Sprintf("latency-%d-%d-%d", len(options), c.rate, round+1)
			return b.latencyRound(ctx, bus, round, topic, c.rate, count(c), options)
		}
	}
	toChannel := func(c *latencyCase, round int) (*Histogram, error) {
		return b.channelRound(ctx, round, c.rate, count(c)), nil
	}
	const note = "open loop at %d msgs/s, from the intended time; Publish, which waits for its receipt; one " +
		"partition, a subscription without group"
	const channelNote = "open loop at %d msgs/s; the same sender, a channel with room for one"
	cases := []*latencyCase{
		{name: "publish to handler, consumer spinning", level: "page", note: note, rate: latencyRate, floor: 2,
			run: toBus(leat.Spin())},
		{name: "publish to handler, consumer waiting", level: "page", note: note, rate: latencyRate, floor: 2,
			run: toBus()},
		{name: "Go channel to a blocked receiver", level: "-", note: channelNote, rate: latencyRate, floor: 2,
			run: toChannel},
		{name: "publish to handler, consumer parked", level: "page", note: note, rate: sleepRate, floor: 4,
			run: toBus()},
		{name: "Go channel to a parked receiver", level: "-", note: channelNote, rate: sleepRate, floor: 4,
			run: toChannel},
	}
	var steps []func(int) error
	for _, c := range cases {
		steps = append(steps, func(round int) error {
			b.progress("%s, %d msgs/s, round %d", c.name, c.rate, round+1)
			h, err := c.run(c, round)
			if round > warmUp {
				c.rounds = append(c.rounds, h.Summary())
			}
			return err
		})
	}
	if err := interleave(ctx, b.Rounds, steps...); err != nil {
		return err
	}
	b.reportLatency(cases)
	return nil
}

func (b *bench) reportLatency(cases []*latencyCase) {
	p50s := func(rounds []Latency) []float64 {
		var values []float64
		for _, l := range rounds {
			values = append(values, l.P50)
		}
		return values
	}
	for _, c := range cases {
		row := b.report.row(c.name, c.level, "µs, p50", p50s(c.rounds))
		row.against(fmt.Sprintf("µs, channel wake at %d/s", c.rate), p50s(cases[c.floor].rounds))
		summary := medianLatency(c.rounds)
		row.Latency, row.Note = &summary, fmt.Sprintf(c.note, c.rate)
	}
}

// latencyRound sends n messages through a topic of its own; the first fifth warms up.
func (b *bench) latencyRound(ctx context.Context, bus *leat.Bus, round int, topic string, rate, n int64,
	options []leat.SubscribeOption) (h *Histogram, err error) {
	h = NewHistogram()
	cfg := leat.TopicConfig{Partitions: 1, Ack: leat.AckPage, RetentionBytes: busRetentionBytes}
	s, err := b.openStream(ctx, bus, topic, cfg, options...)
	if err != nil {
		return h, err
	}
	seen := int64(0)
	s.handle = func(intended int64) {
		if seen++; seen > n/5 {
			h.Record(b.clock.Mono() - intended)
		}
	}
	s.start(ctx)
	sendErr := b.paced(ctx, round, topic, rate, n, func(intended int64) error {
		_, err := s.producer.Publish(ctx, s.load.message(intended))
		return err
	})
	if sendErr == nil {
		sendErr = b.drain(ctx, s)
	}
	return h, errors.Join(sendErr, b.finish(topic, s), bus.DeleteTopic(ctx, topic))
}

// paced sends n messages at a rate and makes the run invalid if a round that counts could not
// keep up.
func (b *bench) paced(ctx context.Context, round int, name string, perSec, n int64,
	send func(intended int64) error) error {
	pacer := NewPacer(b.clock, perSec)
	start := b.clock.Mono()
	for i := range n {
		if err := send(pacer.Wait()); err != nil {
			return err
		}
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	rate := perSecond(n, b.clock.Mono()-start)
	if round > warmUp && rate < float64(perSec)*(1-rateSlack) {
		b.report.problem("%s: sent %.0f msgs/s of %d intended", name, rate, perSec)
	}
	return nil
}

// channelRound is the floor of waking somebody: the same sender, a channel, a blocked receiver.
func (b *bench) channelRound(ctx context.Context, round int, rate, n int64) *Histogram {
	h := NewHistogram()
	channel := make(chan int64, 1)
	var receiver sync.WaitGroup
	receiver.Go(func() {
		seen := int64(0)
		for intended := range channel {
			if seen++; seen > n/5 {
				h.Record(b.clock.Mono() - intended)
			}
		}
	})
	// An interrupted run ends here too, and its caller sees that.
	_ = b.paced(ctx, round, "channel", rate, n, func(intended int64) error {
		channel <- intended
		return nil
	})
	close(channel)
	receiver.Wait()
	return h
}
