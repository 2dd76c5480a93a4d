package log

import (
	"context"
	"fmt"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// readRecords is the length of the log that is read, 64 MiB of records.
const readRecords = 256 << 10

// reads reads a log from its start, again and again.
func (s *suite) reads() benchkit.Scenario {
	scenario, p := s.scenario("read-256", fmt.Sprintf(
		"read %d records of %d B in order from the page cache; number, order and bytes are compared; "+
			"checked: by the log's own checksums", readRecords, recordBytesLarge))
	scenario.Unit = "records/s"
	for _, c := range []struct {
		kind *kind
		note string
	}{
		{&ours, "checked, headers and payloads; opened by a process that did not write it"},
		{&mapFloor, "memcpy out of the map"}, {&pwriteFloor, "pread of 64 KiB"},
		{&prometheus, "checked"}, {&pebble, "checked"}, {&natsFile, "checked"},
		{&tidwall, "not checked, from the heap"}, {&raftWAL, "not checked"},
		{&jetStream, "checked, through an ordered consumer"},
	} {
		scenario.Cases = append(scenario.Cases, s.readCase(p, c.kind, c.note))
	}
	s.chronicleCase(&scenario, p, "read", recordBytesLarge, 1)
	return scenario
}

func (s *suite) readCase(p *places, k *kind, note string) benchkit.Case {
	var b *burster
	return benchkit.Case{Name: k.name, Role: k.role, Note: note,
		Run: func(_ context.Context, _ int) (sample benchkit.Sample, err error) {
			if b == nil {
				if b, err = s.filled(p, k); err != nil {
					return sample, err
				}
			}
			n, start := int64(0), time.Now()
			for n == 0 || time.Since(start) < s.length {
				tally := newTally(recordBytesLarge, 0)
				if err := b.store.read(tally.see); err != nil {
					return sample, err
				}
				if tally.next != b.next {
					return sample, fmt.Errorf("%d records of %d", tally.next, b.next)
				}
				n += tally.next
			}
			return benchkit.Sample{Ops: n, Rate: float64(n) / time.Since(start).Seconds()}, nil
		}}
}

// filled opens a store and appends what is read later: less of it, if that would take too long.
func (s *suite) filled(p *places, k *kind) (*burster, error) {
	store, err := p.store(k, setting{kept: true})
	if err != nil {
		return nil, err
	}
	b := &burster{store: store}
	for range 128 {
		b.records = append(b.records, newRecord(recordBytesLarge))
	}
	for start := time.Now(); b.next < readRecords && time.Since(start) < 3*s.length; {
		if _, err := b.burst(); err != nil {
			return nil, err
		}
		if k.role == benchkit.Floor && b.next*recordBytesLarge >= floorBytes {
			break
		}
	}
	return b, nil
}
