package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	coldReaders = 2
	coldTimes   = 2         // times the usual length
	coldBytes   = 128 << 20 // per reader
	mappedName  = "read through a map"
	preadName   = "pread of 64 KiB"
)

// errEnough ends a read whose time is over.
var errEnough = errors.New("enough")

// coldReaders reads what is on the disk only, as a consumer does that catches up, and measures how late
// others get to run meanwhile.
func (s *suite) coldReaders() benchkit.Scenario {
	scenario, p := s.scenario("cold-readers", fmt.Sprintf(
		"%d goroutines read %d MiB each that are not in memory; how late another goroutine wakes that sleeps 1 ms",
		coldReaders, coldBytes>>20))
	scenario.Measure, scenario.Threads = benchkit.ByP99, coldReaders
	for _, k := range []*kind{&ours, &prometheus, &natsFile} {
		open := func(p *places) (coldFile, error) { return s.coldStore(p, k) }
		scenario.Cases = append(scenario.Cases, s.coldCase(p, k.name, k.role, "", open))
	}
	scenario.Cases = append(scenario.Cases,
		s.coldCase(p, preadName, benchkit.Floor, "",
			func(p *places) (coldFile, error) { return openCold(p, coldPread) }),
		s.coldCase(p, mappedName, benchkit.Floor,
			"a page fault that reads the disk keeps the processor of its goroutine",
			func(p *places) (coldFile, error) { return openCold(p, coldMapped) }))
	return scenario
}

// coldFile is read by one goroutine.
type coldFile struct {
	dir  string // whose files are dropped from memory before each read
	read func(visit func([]byte) error) error
}

func (s *suite) coldCase(
	p *places, name string, role benchkit.Role, note string, open func(*places) (coldFile, error),
) benchkit.Case {
	var files []coldFile
	return benchkit.Case{Name: name, Role: role, Note: note,
		Run: func(_ context.Context, _ int) (sample benchkit.Sample, err error) {
			for len(files) < coldReaders {
				file, err := open(p)
				if err != nil {
					return sample, err
				}
				files = append(files, file)
			}
			return readCold(name, files, coldTimes*s.length)
		}}
}

// readCold lets all read for a time and measures how late a sleeper wakes.
func readCold(name string, files []coldFile, length time.Duration) (benchkit.Sample, error) {
	var stop atomic.Bool
	var bytes atomic.Int64
	ended := make(chan error, len(files))
	for _, file := range files {
		if err := dropCache(file.dir); err != nil {
			return benchkit.Sample{}, err
		}
	}
	start := time.Now()
	for _, file := range files {
		go func() {
			var err error
			for err == nil && !stop.Load() {
				err = file.read(func(p []byte) error {
					bytes.Add(int64(len(p)))
					if stop.Load() {
						return errEnough
					}
					return nil
				})
				if err == nil {
					err = dropCache(file.dir)
				}
			}
			ended <- err
		}()
	}
	h := benchkit.NewHistogram()
	n := int64(0)
	for now := start; now.Sub(start) < length; n++ {
		time.Sleep(time.Millisecond)
		done := time.Now()
		h.Record(int64(done.Sub(now) - time.Millisecond))
		now = done
	}
	stop.Store(true)
	var err error
	for range files {
		if one := <-ended; !errors.Is(one, errEnough) {
			err = errors.Join(err, one)
		}
	}
	took := time.Since(start)
	sample := benchkit.Sample{Ops: n, More: []benchkit.Figure{{Name: "read meanwhile, " + name,
		Value: float64(bytes.Load()) / bytesPerMega / took.Seconds(), Unit: "MB/s", Better: "higher"}}}
	sample.Measured(h)
	return sample, err
}

// coldStore fills a store.
func (s *suite) coldStore(p *places, k *kind) (coldFile, error) {
	store, err := p.store(k, setting{kept: true})
	if err != nil {
		return coldFile{}, err
	}
	dir := filepath.Join(p.dir, fmt.Sprint(p.n))
	b := &burster{store: store}
	for range 128 {
		b.records = append(b.records, newRecord(recordBytesLarge))
	}
	for b.next*recordBytesLarge < coldBytes {
		if _, err := b.burst(); err != nil {
			return coldFile{}, err
		}
	}
	check := func(visit func([]byte) error) error {
		tally := newTally(recordBytesLarge, 0)
		return store.read(func(record []byte) error {
			if err := tally.see(record); err != nil {
				return err
			}
			return visit(record)
		})
	}
	// The first read opens ours anew, after which nothing of it is mapped.
	return coldFile{dir, check}, errors.Join(check(func([]byte) error { return nil }), syncFolder(dir))
}

// openCold fills a file.
func openCold(p *places, read func(*os.File, func([]byte) error) error) (coldFile, error) {
	dir, err := p.folder()
	if err != nil {
		return coldFile{}, err
	}
	file, err := os.Create(filepath.Join(dir, "cold"))
	if err != nil {
		return coldFile{}, err
	}
	p.later(file.Close)
	piece := make([]byte, 64<<10)
	copy(piece, newRecord(recordBytesLarge))
	for at := int64(0); at < coldBytes; at += int64(len(piece)) {
		if _, err := file.WriteAt(piece, at); err != nil {
			return coldFile{}, err
		}
	}
	return coldFile{dir, func(visit func([]byte) error) error { return read(file, visit) }}, syncFolder(dir)
}

func coldPread(file *os.File, visit func([]byte) error) error {
	piece := make([]byte, 64<<10)
	for at := int64(0); at < coldBytes; at += int64(len(piece)) {
		if _, err := file.ReadAt(piece, at); err != nil {
			return err
		}
		if err := visitSummed(piece, visit); err != nil {
			return err
		}
	}
	return nil
}

func coldMapped(file *os.File, visit func([]byte) error) (err error) {
	all, err := mapForReading(file, coldBytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmap(all)) }()
	for p := all; len(p) > 0; p = p[64<<10:] {
		if err := visitSummed(p[:64<<10], visit); err != nil {
			return err
		}
	}
	return nil
}

// visitSummed touches all of a piece; nobody needs its sum.
func visitSummed(piece []byte, visit func([]byte) error) error {
	if sum(piece) == 0 {
		return errors.New("a piece of zeros where there was data")
	}
	return visit(piece)
}

// syncFolder makes the files below a folder durable, so that their pages can be dropped.
func syncFolder(dir string) error { return drain(dir) }
