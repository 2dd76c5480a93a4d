package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	appenders = 64
	pageBytes = 4 << 10
	// batchBytes is what the records of all appenders and the header of their frame take, in whole pages.
	batchBytes = 20 << 10
	// recycling names a log whose files go round.
	recycling  = " + recycling"
	roundBytes = 8 << 20 // appended before, until they do
)

// durableOne appends one record after the other, each when the one before is durable.
func (s *suite) durableOne() benchkit.Scenario {
	scenario, p := s.scenario("durable-1", fmt.Sprintf(
		"append %d B and wait until it survives a power cut, one after the other", recordBytesLarge))
	scenario.Measure = benchkit.ByP50
	alone := setting{durable: true, alone: true}
	round := setting{durable: true, alone: true, round: true}
	scenario.Cases = []benchkit.Case{
		s.appendersCase(p, &ours, ours.name, alone, 1), s.appendersCase(p, &ours, ours.name+recycling, round, 1),
		s.syncFloor(p, syncFloorName, pageBytes, 1),
	}
	for _, k := range goPeers() {
		scenario.Cases = append(scenario.Cases, s.appendersCase(p, k, k.name, alone, 1))
	}
	return scenario
}

// durableMany has several appenders that wait each.
func (s *suite) durableMany() benchkit.Scenario {
	scenario, p := s.scenario("durable-64", fmt.Sprintf(
		"%d appenders append %d B each and wait until it survives a power cut", appenders, recordBytesLarge))
	scenario.Unit = "records/s"
	behind := setting{durable: true, batched: true}
	scenario.Cases = []benchkit.Case{
		s.appendersCase(p, &ours, ours.name, setting{durable: true}, appenders),
		s.appendersCase(p, &ours, ours.name+groupCommit, behind, appenders),
		s.syncFloor(p, fmt.Sprintf("%d × %s", appenders, syncFloorName), pageBytes, appenders),
		s.syncFloor(p, fmt.Sprintf("%d × %s", appenders, batchFloorName), batchBytes, appenders),
	}
	for _, k := range goPeers() {
		scenario.Cases = append(scenario.Cases, s.appendersCase(p, k, k.name, setting{durable: true}, appenders))
		if k == &jetStream || k == &pebble { // no way to sync from outside; does it by itself
			continue
		}
		scenario.Cases = append(scenario.Cases, s.appendersCase(p, k, k.name+groupCommit, behind, appenders))
	}
	return scenario
}

func (s *suite) appendersCase(p *places, k *kind, name string, o setting, n int) benchkit.Case {
	var st store
	return benchkit.Case{Name: name, Role: k.role, Level: levelDisk, Note: durableNote(k, o),
		Run: func(ctx context.Context, _ int) (sample benchkit.Sample, err error) {
			if st == nil {
				if st, err = p.store(k, o); err != nil {
					return sample, err
				}
				if o.round {
					if err := fillUp(st); err != nil {
						return sample, err
					}
				}
				if o.batched {
					st = p.committer(st)
				}
			}
			if err := drain(p.dir); err != nil {
				return sample, err
			}
			sample, err = appendDurably(ctx, st, n, s.length)
			if sample.Cost > 0 {
				sample.More = []benchkit.Figure{{Name: bytesFigure(name), Value: sample.Cost / 1000, Unit: "KB",
					Better: "lower", Note: "by the kernel's account, /proc/self/io"}}
			}
			return sample, err
		}}
}

// fillUp appends until the files of a log with little retention go round.
func fillUp(st store) error {
	records := make([][]byte, appenders)
	for i := range records {
		records[i] = newRecord(recordBytesLarge)
	}
	for done := 0; done < roundBytes; done += appenders * recordBytesLarge {
		if err := st.appendAll(records); err != nil {
			return err
		}
	}
	return st.sync()
}

// bytesFigure names the figure of what reached the disk for a record.
func bytesFigure(name string) string { return "written per record, " + name }

func durableNote(k *kind, o setting) string {
	switch {
	case o.batched:
		return "one goroutine appends what is waiting with one call, syncs once and answers all"
	case o.round:
		return "its files are those of segments it dropped; one that keeps everything writes each byte once " +
			"more before, as zeros"
	}
	return k.note
}

// appendDurably lets n appenders append for a time; each does so at least once.
func appendDurably(ctx context.Context, st store, n int, length time.Duration) (benchkit.Sample, error) {
	histograms, counts, failures := make([]*benchkit.Histogram, n), make([]int64, n), make([]error, n)
	written, known := writtenBytes()
	start := time.Now()
	var group sync.WaitGroup
	for i := range n {
		histograms[i] = benchkit.NewHistogram()
		group.Go(func() {
			record := newRecord(recordBytesLarge)
			for now := start; failures[i] == nil && ctx.Err() == nil &&
				(counts[i] == 0 || now.Sub(start) < length); {
				setNumber(record, counts[i])
				failures[i] = st.append(record)
				done := time.Now()
				histograms[i].Record(int64(done.Sub(now)))
				counts[i]++
				now = done
			}
		})
	}
	group.Wait()
	took := time.Since(start)
	sample := benchkit.Sample{}
	for i := range n {
		sample.Ops += counts[i]
		if i > 0 {
			histograms[0].Merge(histograms[i])
		}
	}
	sample.Rate = float64(sample.Ops) / took.Seconds()
	sample.Measured(histograms[0])
	if after, ok := writtenBytes(); ok && known && sample.Ops > 0 {
		sample.Cost = float64(after-written) / float64(sample.Ops)
	}
	return sample, errors.Join(errors.Join(failures...), ctx.Err())
}

// syncFloor overwrites size bytes of a file and syncs its data. Its rate counts n records per sync.
func (s *suite) syncFloor(p *places, name string, size, n int) benchkit.Case {
	var file *os.File
	return benchkit.Case{Name: name, Role: benchkit.Floor, Level: levelDisk,
		Note: "into blocks that were written before, by the one who waits",
		Run: func(ctx context.Context, _ int) (sample benchkit.Sample, err error) {
			if file == nil {
				dir, err := p.folder()
				if err != nil {
					return sample, err
				}
				if file, err = writtenFile(filepath.Join(dir, "floor"), floorTurns*int64(size)); err != nil {
					return sample, err
				}
				p.later(file.Close)
			}
			if err := drain(p.dir); err != nil {
				return sample, err
			}
			sample, err = appendDurably(ctx, &syncStore{file: file, page: make([]byte, size)}, 1, s.length)
			sample.Rate *= float64(n)
			return sample, err
		}}
}

// floorTurns is how many writes there are before the file of syncFloor is written over.
const floorTurns = 256

// syncStore is the floor of durability; it reads nothing.
type syncStore struct {
	file *os.File
	page []byte
	n    int64
}

func (s *syncStore) append(record []byte) error {
	copy(s.page[s.n%8*int64(len(record)):], record)
	s.n++
	if _, err := s.file.WriteAt(s.page, s.n%floorTurns*int64(len(s.page))); err != nil {
		return err
	}
	return syncData(s.file)
}

func (s *syncStore) appendAll([][]byte) error      { return errNoSync }
func (s *syncStore) sync() error                   { return syncData(s.file) }
func (s *syncStore) read(func([]byte) error) error { return errNoSync }
func (s *syncStore) close() error                  { return s.file.Close() }
