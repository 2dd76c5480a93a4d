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
	redriveCase  = "redrive"
	publishCase  = "publish as many"
	redriveRate  = 100_000 // letters of a round, where For is a second
	letterSize   = 1024
	letterLook   = 5 * time.Millisecond
	lettersKept  = 1 << 30 // bytes of a partition
	letterReason = "bench"
)

// redrive publishes dead letters again, beside publishing as many messages once.
func (s *suite) redrive() *benchkit.Scenario {
	scenario, st := s.scenario("redrive", fmt.Sprintf("publish %d dead letters of %d B again in one process, "+
		"4 partitions", s.count(redriveRate), letterSize))
	scenario.Unit, scenario.Threads, scenario.Baseline = "letters/s", 1, publishCase
	var bus *leat.Bus
	rounds := 0
	add := func(name string, role benchkit.Role, note string,
		run func(ctx context.Context, topic string, n int64) (time.Duration, error)) {
		scenario.Cases = append(scenario.Cases, benchkit.Case{Name: name, Role: role, Level: "disk", Note: note,
			Run: func(ctx context.Context, round int) (sample benchkit.Sample, err error) {
				if bus == nil {
					if bus, err = st.bus(ctx); err != nil {
						return sample, err
					}
				}
				rounds++
				topic := fmt.Sprintf("letters-%d", rounds)
				cfg := leat.TopicConfig{Partitions: partitions, Ack: leat.AckDisk, RetentionBytes: lettersKept}
				if err := bus.CreateTopic(ctx, topic, cfg); err != nil {
					return sample, err
				}
				n := s.count(redriveRate)
				took, err := run(ctx, topic, n)
				sample.Rate = float64(n) / took.Seconds()
				return sample, errors.Join(err, bus.DeleteTopic(context.WithoutCancel(ctx), topic))
			}})
	}
	add(redriveCase, benchkit.Ours, "letters of messages that a member rejected",
		func(ctx context.Context, topic string, n int64) (time.Duration, error) {
			return redriveAll(ctx, bus, topic, n)
		})
	add(publishCase, benchkit.Floor, "the same messages by PublishAsync",
		func(ctx context.Context, topic string, n int64) (time.Duration, error) {
			start := time.Now()
			err := publishAll(ctx, bus, topic, n)
			return time.Since(start), err
		})
	return scenario
}

// publishAll publishes n messages with keys, and waits for them.
func publishAll(ctx context.Context, bus *leat.Bus, topic string, n int64) error {
	producer, err := bus.Producer(topic)
	if err != nil {
		return err
	}
	p := &leatPublisher{producer: producer}
	p.done = p.answered
	key, value := make([]byte, keyBytes), newMessage(letterSize)
	for i := range n {
		setNumber(key, i)
		setNumber(value, i)
		if err := p.publish(ctx, key, value); err != nil {
			return err
		}
	}
	return errors.Join(p.flush(ctx), producer.Close())
}

// redriveAll makes n dead letters and gives the time in which they are published again.
func redriveAll(ctx context.Context, bus *leat.Bus, topic string, n int64) (took time.Duration, err error) {
	if err := publishAll(ctx, bus, topic, n); err != nil {
		return 0, err
	}
	sub, err := bus.Subscribe(topic, leat.Group(group), leat.Queue())
	if err != nil {
		return 0, err
	}
	err = takeAll(ctx, sub, n, func(m *leat.Message) error { return m.Reject(letterReason) })
	if err == nil {
		err = awaitLetters(ctx, bus, topic, n)
	}
	if err := errors.Join(err, sub.Close()); err != nil {
		return 0, err
	}
	letters := topic + ".dlq." + group
	start := time.Now()
	done, err := bus.Redrive(ctx, letters, leat.RedriveConfig{})
	took = time.Since(start)
	if err == nil && (done.Done != n || done.Failed != 0) {
		err = fmt.Errorf("%d of %d letters redriven, %d failed", done.Done, n, done.Failed)
	}
	return took, errors.Join(err, bus.DeleteTopic(context.WithoutCancel(ctx), letters))
}

// awaitLetters waits until a topic has n dead letters.
func awaitLetters(ctx context.Context, bus *leat.Bus, topic string, n int64) error {
	for deadline := time.Now().Add(time.Minute); ; {
		list, err := bus.DeadLetters(ctx)
		if err != nil {
			return err
		}
		pending := int64(0)
		for i := range list {
			if list[i].Topic == topic {
				pending = list[i].Pending()
			}
		}
		if pending == n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d dead letters within a minute", pending, n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(letterLook):
		}
	}
}
