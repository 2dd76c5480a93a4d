package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
)

const (
	passedCase    = "passed over"
	deliveredCase = "delivered and acked"
	expiredRate   = 500_000
	shortTTL      = time.Millisecond
)

// expired has a queue group pass over messages whose time to live is over, beside handling them.
func (s *suite) expired() *benchkit.Scenario {
	scenario, st := s.scenario("ttl", "a queue group goes through messages of 64 B that are there, one "+
		"partition, one member: to the last one, which has no TTL")
	scenario.Threads, scenario.Baseline = 1, deliveredCase
	var bus *leat.Bus
	rounds := 0
	for _, c := range []struct {
		name, note string
		ttl        time.Duration
	}{{passedCase, "their TTL of 1 ms is over", shortTTL}, {deliveredCase, "they have no TTL", 0}} {
		scenario.Cases = append(scenario.Cases, benchkit.Case{Name: c.name, Role: benchkit.Ours, Level: "page",
			Note: c.note,
			Run: func(ctx context.Context, round int) (sample benchkit.Sample, err error) {
				if bus == nil {
					if bus, err = st.bus(ctx); err != nil {
						return sample, err
					}
				}
				rounds++
				return goThrough(ctx, bus, fmt.Sprintf("ttl-%d", rounds), s.count(expiredRate), c.ttl)
			}})
	}
	return scenario
}

// goThrough publishes n messages with a TTL and then one without, and measures until that one was handled.
func goThrough(
	ctx context.Context, bus *leat.Bus, topic string, n int64, ttl time.Duration,
) (sample benchkit.Sample, err error) {
	cfg := leat.TopicConfig{Ack: leat.AckPage, RetentionBytes: lettersKept}
	if err := bus.CreateTopic(ctx, topic, cfg); err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, bus.DeleteTopic(context.WithoutCancel(ctx), topic)) }()
	producer, err := bus.Producer(topic)
	if err != nil {
		return sample, err
	}
	value := newMessage(64)
	for i := range n + 1 {
		setNumber(value, i)
		m := leat.Message{Value: value, TTL: ttl}
		if i == n {
			m.TTL = 0
		}
		producer.PublishAsync(m, nil)
	}
	if err := errors.Join(producer.Flush(ctx), producer.Close()); err != nil {
		return sample, err
	}
	time.Sleep(2 * ttl) // the youngest of them is over, too
	start := time.Now()
	sub, err := bus.Subscribe(topic, leat.Group(group), leat.Queue())
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, sub.Close()) }()
	t := newTally(64, n+1, 1)
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return sample, err
		}
		t.hands[0].see(m.Value)
		if err := m.Ack(); err != nil {
			return sample, err
		}
		if m.Offset == n {
			break
		}
	}
	sample.Ops, sample.Rate = n, float64(n)/time.Since(start).Seconds()
	wanted := n + 1
	if ttl != 0 {
		wanted = 1 // none of the others may come
	}
	sample.Lost, sample.Duplicated = max(0, wanted-t.done()), max(0, t.done()-wanted)+t.again()
	return sample, ctx.Err()
}
