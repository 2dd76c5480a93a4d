package log

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// A burst stays within the window that is prefaulted ahead of a busy log, and the rests between bursts let
// the next window and segment be prepared, as they are at any rate that a disk can follow.
const (
	burstBytes = 1 << 20
	burstsMost = 32
	burstsLeft = 5        // of them at least, whatever time they take
	warmBytes  = 64 << 20 // appended before: segments of ours start small and double
)

// bursts appends records of size bytes, batch of them in a call, without waiting for a disk.
func (s *suite) bursts(name string, size, batch int) benchkit.Scenario {
	about := fmt.Sprintf("append %d B one by one, bursts of %d MiB with a rest between", size, burstBytes>>20)
	if batch > 1 {
		about = fmt.Sprintf("append %d B, %d in a call, bursts of %d MiB with a rest between", size, batch,
			burstBytes>>20)
	}
	scenario, p := s.scenario(name, about)
	scenario.Unit = "records/s"
	for _, k := range append([]*kind{&ours, &mapFloor, &pwriteFloor}, goPeers()...) {
		scenario.Cases = append(scenario.Cases, s.burstCase(p, k, size, batch))
	}
	if batch == 1 {
		s.chronicleCase(&scenario, p, "append", size, 1)
	}
	return scenario
}

// burstCase opens its store in the warm-up and appends to it in all rounds.
func (s *suite) burstCase(p *places, k *kind, size, batch int) benchkit.Case {
	var b *burster
	return benchkit.Case{Name: k.name, Role: k.role, Level: k.level, Note: k.note,
		Run: func(_ context.Context, round int) (sample benchkit.Sample, err error) {
			if b == nil {
				if b, err = newBurster(p, k, size, batch, s.length); err != nil {
					return sample, err
				}
			}
			return b.run(s.length)
		}}
}

// burster appends numbered records to a store.
type burster struct {
	store   store
	records [][]byte
	next    int64
}

func newBurster(p *places, k *kind, size, batch int, length time.Duration) (*burster, error) {
	store, err := p.store(k, setting{})
	if err != nil {
		return nil, err
	}
	b := &burster{store: store}
	for range batch {
		b.records = append(b.records, newRecord(size))
	}
	for start, done := time.Now(), 0; done < warmBytes && time.Since(start) < 3*length; done += burstBytes {
		if _, err := b.burst(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// burst appends a MiB and gives the rate.
func (b *burster) burst() (float64, error) {
	if p, ok := b.store.(interface{ prepare() error }); ok {
		if err := p.prepare(); err != nil {
			return 0, err
		}
	}
	batch := len(b.records)
	calls := max(1, burstBytes/len(b.records[0])/batch)
	start := time.Now()
	var err error
	if batch == 1 {
		record := b.records[0]
		for i := 0; i < calls && err == nil; i++ {
			setNumber(record, b.next)
			b.next++
			err = b.store.append(record)
		}
	} else {
		for i := 0; i < calls && err == nil; i++ {
			for _, record := range b.records {
				setNumber(record, b.next)
				b.next++
			}
			err = b.store.appendAll(b.records)
		}
	}
	if s, ok := b.store.(settler); ok && err == nil {
		err = s.settle()
	}
	return float64(calls*batch) / time.Since(start).Seconds(), err
}

// run gives the median of the rates of some bursts: one that lost its processor says nothing.
func (b *burster) run(length time.Duration) (benchkit.Sample, error) {
	var rates []float64
	from := b.next
	for start := time.Now(); len(rates) < burstsMost; {
		rate, err := b.burst()
		if err != nil {
			return benchkit.Sample{}, err
		}
		rates = append(rates, rate)
		if len(rates) >= burstsLeft && time.Since(start) > length {
			break
		}
		time.Sleep(length / 200)
	}
	slices.Sort(rates)
	return benchkit.Sample{Ops: b.next - from, Rate: rates[len(rates)/2]}, nil
}
