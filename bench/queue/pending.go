package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
)

const (
	pendingRate = 400_000 // messages of a round that takes a second
	retryAfter  = time.Hour
)

// pending asks what a message takes in memory that is not settled.
func (s *suite) pending() *benchkit.Scenario {
	scenario, st := s.scenario("pending", "heap per message that a queue group has not settled; messages of "+
		"64 B, 4 partitions, one member")
	scenario.Measure, scenario.Unit, scenario.Threads = benchkit.ByCost, "bytes", 1
	for _, c := range []struct {
		name, note string
		answer     func(m *leat.Message) error
	}{
		{"waiting", "published, and not handed out: the log has them", nil},
		{"lent", "at a member that has not answered", func(*leat.Message) error { return nil }},
		{"failed", "to be delivered again after an hour",
			func(m *leat.Message) error { return m.Nack(retryAfter) }},
	} {
		scenario.Cases = append(scenario.Cases, benchkit.Case{Name: c.name, Role: benchkit.Ours, Level: "page",
			Note: c.note,
			Run: func(ctx context.Context, round int) (benchkit.Sample, error) {
				return st.pend(ctx, s.count(pendingRate), c.answer)
			}})
	}
	return scenario
}

// pend leaves n messages unsettled in a bus of its own, and gives what each takes. answer is called for each
// that is handed out; nil hands out none.
func (s *stage) pend(
	ctx context.Context, n int64, answer func(*leat.Message) error,
) (sample benchkit.Sample, err error) {
	bus, err := s.bus(ctx)
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	system := &leatSystem{connect: shared(bus), level: leat.AckPage,
		options: []leat.SubscribeOption{leat.Queue(leat.QueueConfig{MaxUnsettled: 1 << 24, Lease: retryAfter}),
			leat.MaxHeld(1 << 20)}}
	line, err := system.open(ctx, 1)
	if err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, line.close()) }()
	value := newMessage(64)
	for i := range n {
		setNumber(value, i)
		if err := line.publish(ctx, nil, value); err != nil {
			return sample, err
		}
	}
	if err := line.flush(ctx); err != nil {
		return sample, err
	}
	before := heap()
	if answer != nil {
		if err := takeAll(ctx, line.workers[0].(*leatWorker).sub, n, answer); err != nil {
			return sample, err
		}
	}
	sample.Cost = max(0, float64(heap()-before)/float64(n))
	return sample, nil
}

// takeAll takes n messages and answers each.
func takeAll(ctx context.Context, sub *leat.Subscription, n int64, answer func(*leat.Message) error) error {
	taken := int64(0)
	for m, err := range sub.Messages(ctx) {
		if err == nil {
			err = answer(m)
		}
		if err != nil {
			return err
		}
		if taken++; taken == n {
			return nil
		}
	}
	return errors.Join(ctx.Err(), fmt.Errorf("%d of %d messages came", taken, n))
}

// heap is what is in use, after two collections: the first one may only begin to free.
func heap() int64 {
	var memory runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapAlloc)
}
