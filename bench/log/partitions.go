package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/mmaplog"
)

const (
	partitions = 256
	filePages  = 16 // of each file of a floor
)

// The floors of a round over many files.
const (
	rangesFloorName = "sync_file_range each, one fdatasync"
	syncfsFloorName = "syncfs"
	eachFloorName   = "fdatasync each"
)

// partitions appends a record to each of many logs and waits until all are durable.
func (s *suite) partitions() benchkit.Scenario {
	scenario, p := s.scenario("partitions-256", fmt.Sprintf(
		"append %d B to each of %d logs of a store, then wait until all survive a power cut", recordBytesLarge,
		partitions))
	scenario.Measure = benchkit.ByP50
	scenario.Cases = append(scenario.Cases, s.roundsCase(p, ours.name, benchkit.Ours, "", openManyOurs))
	for _, floor := range []struct {
		name string
		sync func(files []*os.File) error
	}{{rangesFloorName, syncRanges}, {syncfsFloorName, syncAllFiles}, {eachFloorName, syncEach}} {
		scenario.Cases = append(scenario.Cases, s.roundsCase(p, floor.name, benchkit.Floor,
			"behind one 4 KiB pwrite to each file, into blocks that were written before",
			func(p *places) (round, error) { return openManyFiles(p, floor.sync) }))
	}
	for _, k := range []*kind{&tidwall, &prometheus, &pebble} {
		scenario.Cases = append(scenario.Cases, s.roundsCase(p, k.name, benchkit.Peer,
			"a log and a goroutine for each", func(p *places) (round, error) { return openMany(p, k) }))
	}
	return scenario
}

// round appends to every log and returns when all is durable.
type round func() error

func (s *suite) roundsCase(
	p *places, name string, role benchkit.Role, note string, open func(*places) (round, error),
) benchkit.Case {
	var next round
	return benchkit.Case{Name: name, Role: role, Level: levelDisk, Note: note,
		Run: func(ctx context.Context, _ int) (sample benchkit.Sample, err error) {
			if next == nil {
				if next, err = open(p); err != nil {
					return sample, err
				}
			}
			if err := errors.Join(next(), drain(p.dir)); err != nil {
				return sample, err
			}
			h := benchkit.NewHistogram()
			for start, now := time.Now(), time.Now(); sample.Ops == 0 || now.Sub(start) < s.length; {
				if err := errors.Join(next(), ctx.Err()); err != nil {
					return sample, err
				}
				done := time.Now()
				h.Record(int64(done.Sub(now)))
				sample.Ops += partitions
				now = done
			}
			sample.Measured(h)
			return sample, nil
		}}
}

// openManyOurs opens the partitions of a topic.
func openManyOurs(p *places) (round, error) {
	dir, err := p.folder()
	if err != nil {
		return nil, err
	}
	store, err := mmaplog.Open(mmaplog.OS(), dir, mmaplog.Options{})
	if err != nil {
		return nil, err
	}
	p.later(store.Close)
	logs := make([]*mmaplog.Log, partitions)
	for i := range logs {
		logs[i], err = store.OpenLog(1, int32(i), mmaplog.LogOptions{
			Level: core.AckDisk, SegmentBytes: core.MinSegmentBytes, RetentionBytes: 1 << 20,
		})
		if err != nil {
			return nil, err
		}
	}
	record := newRecord(recordBytesLarge)
	return func() error {
		now := time.Now().UnixNano()
		for _, log := range logs {
			setNumber(record, log.End())
			if _, err := log.Append(now, record, 1); err != nil {
				return err
			}
		}
		return store.Sync(context.Background(), logs...)
	}, nil
}

// openMany opens as many stores of a kind.
func openMany(p *places, k *kind) (round, error) {
	stores := make([]store, partitions)
	for i := range stores {
		var err error
		if stores[i], err = p.store(k, setting{durable: true, small: true}); err != nil {
			return nil, err
		}
	}
	record := newRecord(recordBytesLarge)
	var number int64
	failures := make([]error, partitions)
	return func() error {
		setNumber(record, number)
		number++
		var group sync.WaitGroup
		for i, s := range stores {
			group.Go(func() { failures[i] = s.append(record) })
		}
		group.Wait()
		return errors.Join(failures...)
	}, nil
}

func openManyFiles(p *places, sync func([]*os.File) error) (round, error) {
	dir, err := p.folder()
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, partitions)
	for i := range files {
		if files[i], err = writtenFile(filepath.Join(dir, fmt.Sprint(i)), filePages*4096); err != nil {
			return nil, err
		}
		p.later(files[i].Close)
	}
	page := make([]byte, 4096)
	copy(page, newRecord(recordBytesLarge))
	var n int64
	return func() error {
		n++
		page[0]++
		for _, file := range files {
			if _, err := file.WriteAt(page, n%filePages*4096); err != nil {
				return err
			}
		}
		return sync(files)
	}, nil
}

// syncRanges starts the write-out of all files before it waits for any.
func syncRanges(files []*os.File) error {
	for _, file := range files {
		if err := startWriteOut(file, 0, filePages*4096); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := writeOut(file, 0, filePages*4096); err != nil {
			return err
		}
	}
	return syncData(files[0])
}

func syncAllFiles(files []*os.File) error { return syncDisk(files[0]) }

func syncEach(files []*os.File) error {
	for _, file := range files {
		if err := syncData(file); err != nil {
			return err
		}
	}
	return nil
}
