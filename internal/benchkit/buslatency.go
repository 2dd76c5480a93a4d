package benchkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leatbus/leat"
)

// latencyRate is the load of the latency cases, in messages per second.
const latencyRate = 100_000

// rateSlack is the share of the intended rate that may be missing before a round is invalid.
const rateSlack = 0.01

// latency publishes at a fixed rate and measures to the handler. The sender spins on its own
// processor and waits for each receipt; the same sender feeds the channel.
func (b *bench) latency(ctx context.Context, bus *leat.Bus) error {
	length := max(b.For/5, 10*time.Millisecond)
	n := int64(length) * latencyRate / int64(time.Second)
	var spinning, parked, channel []Latency
	keep := func(round int, to *[]Latency, h *Histogram) {
		if round > warmUp {
			*to = append(*to, h.Summary())
		}
	}
	busCase := func(name string, to *[]Latency, options ...leat.SubscribeOption) func(int) error {
		return func(round int) error {
			b.progress("latency, consumer %s, round %d", name, round+1)
			h, err := b.latencyRound(ctx, bus, round, fmt.Sprintf("latency-%s-%d", name, round+1), n, options)
			keep(round, to, h)
			return err
		}
	}
	err := interleave(ctx, b.Rounds, busCase("spinning", &spinning, leat.Spin()), busCase("parked", &parked),
		func(round int) error {
			keep(round, &channel, b.channelRound(ctx, round, n))
			return nil
		})
	if err != nil {
		return err
	}
	b.reportLatency(spinning, parked, channel)
	return nil
}

func (b *bench) reportLatency(spinning, parked, channel []Latency) {
	p50s := func(rounds []Latency) []float64 {
		var values []float64
		for _, l := range rounds {
			values = append(values, l.P50)
		}
		return values
	}
	note := fmt.Sprintf("open loop at %d msgs/s, from the intended time; Publish, which waits for its receipt; "+
		"a subscription without group", latencyRate)
	for _, c := range []struct {
		name, level, note string
		rounds            []Latency
	}{
		{"publish to handler, consumer spinning", "page", note, spinning},
		{"publish to handler, consumer parked", "page", note, parked},
		{"Go channel to a blocked receiver", "-", "the same sender, a channel with room for one", channel},
	} {
		row := b.report.row(c.name, c.level, "µs, p50", p50s(c.rounds))
		row.against("µs, bare channel wake", p50s(channel))
		summary := medianLatency(c.rounds)
		row.Latency, row.Note = &summary, c.note
	}
}

// latencyRound sends n messages through a topic of its own; the first fifth warms up.
func (b *bench) latencyRound(ctx context.Context, bus *leat.Bus, round int, topic string, n int64,
	options []leat.SubscribeOption) (h *Histogram, err error) {
	h = NewHistogram()
	cfg := leat.TopicConfig{Partitions: busPartitions, Ack: leat.AckPage, RetentionBytes: busRetentionBytes}
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
	sendErr := b.paced(ctx, round, topic, n, func(intended int64) error {
		_, err := s.producer.Publish(ctx, s.load.message(intended))
		return err
	})
	if sendErr == nil {
		sendErr = b.drain(ctx, s)
	}
	return h, errors.Join(sendErr, b.finish(topic, s), bus.DeleteTopic(ctx, topic))
}

// paced sends n messages at latencyRate and makes the run invalid if a round that counts could not
// keep up.
func (b *bench) paced(ctx context.Context, round int, name string, n int64,
	send func(intended int64) error) error {
	pacer := NewPacer(b.clock, latencyRate)
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
	if round > warmUp && rate < latencyRate*(1-rateSlack) {
		b.report.problem("%s: sent %.0f msgs/s of %d intended", name, rate, latencyRate)
	}
	return nil
}

// channelRound is the floor of waking somebody: the same sender, a channel, a blocked receiver.
func (b *bench) channelRound(ctx context.Context, round int, n int64) *Histogram {
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
	_ = b.paced(ctx, round, "channel", n, func(intended int64) error {
		channel <- intended
		return nil
	})
	close(channel)
	receiver.Wait()
	return h
}
