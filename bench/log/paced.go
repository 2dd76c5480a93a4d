package log

import (
	"context"
	"fmt"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/internal/clock"
)

const (
	pacedRate = 1_000_000 // records per second
	// pacedTimes makes 5 rounds of the usual length append 8 GiB, and roll some 130 segments.
	pacedTimes = 27
)

// paced appends at a fixed rate and measures from the time at which each append was due.
func (s *suite) paced() benchkit.Scenario {
	scenario, p := s.scenario("paced-256", fmt.Sprintf(
		"append %d B at %d M/s, from the intended time, less what the clock and the pacing take (p50 of the same "+
			"loop without an append); rolls included", recordBytesLarge, pacedRate/1_000_000))
	scenario.Measure = benchkit.ByP50
	for _, k := range []*kind{&ours, &mapFloor} {
		scenario.Cases = append(scenario.Cases, s.pacedCase(p, k))
	}
	s.chronicleCase(&scenario, p, "paced", recordBytesLarge, pacedTimes)
	return scenario
}

func (s *suite) pacedCase(p *places, k *kind) benchkit.Case {
	var b *burster
	return benchkit.Case{Name: k.name, Role: k.role, Level: k.level, Note: k.note,
		Run: func(ctx context.Context, round int) (sample benchkit.Sample, err error) {
			length := pacedTimes * s.length
			if round == benchkit.WarmUp {
				length = s.length
			}
			if b == nil {
				if b, err = newBurster(p, k, recordBytesLarge, 1, s.length); err != nil {
					return sample, err
				}
			}
			if err := drain(p.dir); err != nil {
				return sample, err
			}
			if p, ok := b.store.(interface{ prepare() error }); ok {
				if err := p.prepare(); err != nil {
					return sample, err
				}
			}
			return b.pace(ctx, k, length)
		}}
}

// pace appends for a time and records how much later than due each append had returned.
func (b *burster) pace(ctx context.Context, k *kind, length time.Duration) (benchkit.Sample, error) {
	idle := idlePace()
	h := benchkit.NewHistogram()
	record := b.records[0]
	n := int64(length) * pacedRate / 1e9
	var unsynced int64
	pacer := benchkit.NewPacer(clock.System, pacedRate)
	start := clock.System.Mono()
	for i := range n {
		due := pacer.Wait()
		setNumber(record, b.next)
		b.next++
		if err := b.store.append(record); err != nil {
			return benchkit.Sample{}, err
		}
		h.Record(clock.System.Mono() - due - idle)
		if i&0xffff == 0 {
			if ctx.Err() != nil {
				return benchkit.Sample{}, ctx.Err()
			}
			if s, ok := b.store.(*oursStore); ok {
				unsynced = max(unsynced, s.log.UnsyncedBytes())
			}
		}
	}
	took := clock.System.Mono() - start
	sample := benchkit.Sample{Ops: n, More: []benchkit.Figure{reached(k.name, n, took)}}
	sample.Measured(h)
	if unsynced > 0 {
		sample.More = append(sample.More, benchkit.Figure{Name: unsyncedMost,
			Value: float64(unsynced) / (1 << 20), Unit: "MiB", Better: "lower"})
	}
	return sample, nil
}

// reached is the rate at which records were really sent. A peer that cannot keep the pace shows it here, and
// in its latencies; the round counts.
func reached(name string, n, nanos int64) benchkit.Figure {
	return benchkit.Figure{Name: "rate reached, " + name, Value: float64(n) * 1e9 / float64(nanos),
		Unit: "records/s", Better: "higher"}
}

// idlePace is the p50 of what pace records when there is nothing between the two looks at the clock.
func idlePace() int64 {
	h := benchkit.NewHistogram()
	pacer := benchkit.NewPacer(clock.System, pacedRate)
	for range 20_000 {
		due := pacer.Wait()
		h.Record(clock.System.Mono() - due)
	}
	return int64(h.Summary().P50 * 1e3)
}
