package benchkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

const (
	manyCount = 256       // logs, and files of the floor
	manyFile  = 256 << 10 // size of each of those files, the first segment of a log
)

// ioUse is what this process did so far.
type ioUse struct{ written, writeCalls, faults int64 }

// manyFloor is the floor of a durable append to each of many logs: as many files whose blocks are all
// written, a write to each, and then what makes all of them durable.
type manyFloor struct {
	files []*os.File
	bytes []byte
	at    int64
}

func newManyFloor(dir string, size int) (f *manyFloor, err error) {
	f = &manyFloor{bytes: make([]byte, size)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("benchkit: make files for the floor: %w", err), f.close())
		}
	}()
	dir = filepath.Join(dir, "many-floor")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return f, err
	}
	page := make([]byte, 4<<10)
	for i := range manyCount {
		file, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return f, err
		}
		f.files = append(f.files, file)
		for at := int64(0); at < manyFile; at += int64(len(page)) {
			if _, err := file.WriteAt(page, at); err != nil {
				return f, err
			}
		}
		if err := file.Sync(); err != nil {
			return f, err
		}
	}
	return f, nil
}

// write writes to each file, as the logs do: behind what was written last.
func (f *manyFloor) write() error {
	f.bytes[0]++
	if f.at += int64(len(f.bytes)); f.at+int64(len(f.bytes)) > manyFile {
		f.at = 0
	}
	for _, file := range f.files {
		if _, err := file.WriteAt(f.bytes, f.at); err != nil {
			return err
		}
	}
	return nil
}

// flushOnce writes, has each file written out and syncs one of them.
func (f *manyFloor) flushOnce() error {
	if err := f.write(); err != nil {
		return err
	}
	for _, file := range f.files {
		if err := beginWriteOut(file, f.at, int64(len(f.bytes))); err != nil {
			return err
		}
	}
	for _, file := range f.files {
		if err := writeOut(file, f.at, int64(len(f.bytes))); err != nil {
			return err
		}
	}
	return syncData(f.files[0])
}

// syncAll writes and syncs the file system.
func (f *manyFloor) syncAll() error {
	if err := f.write(); err != nil {
		return err
	}
	return syncFileSystem(f.files[0])
}

func (f *manyFloor) close() error {
	var err error
	for _, file := range f.files {
		err = errors.Join(err, file.Close())
	}
	return err
}

// manyLogs appends one record to each of many logs and makes them durable together, in turn with both floors.
func (b *bench) manyLogs(ctx context.Context) (err error) {
	floor, err := newManyFloor(b.dir, core.FrameHeaderSize+b.Size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.close()) }()
	if err := floor.flushOnce(); errors.Is(err, errors.ErrUnsupported) {
		return nil // no floor, no figure
	} else if err != nil {
		return err
	}
	store, err := mmaplog.Open(mmaplog.OS(), filepath.Join(b.dir, "many"), mmaplog.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	logs := make([]*mmaplog.Log, manyCount)
	for i := range logs {
		logs[i], err = store.OpenLog(logTopic, int32(i), mmaplog.LogOptions{
			Level: core.AckDisk, SegmentBytes: core.MinSegmentBytes, RetentionBytes: 4 * core.MinSegmentBytes,
		})
		if err != nil {
			return err
		}
	}
	record := numberedRecord(b.Size)
	var ours, ranges, whole samples
	err = interleave(ctx, b.Rounds, func(round int) error {
		b.progress("durable appends to %d logs, round %d", manyCount, round+1)
		h := [3]*Histogram{NewHistogram(), NewHistogram(), NewHistogram()}
		steps := [3]func() error{
			func() error { return b.appendToAll(ctx, store, logs, record) }, floor.flushOnce, floor.syncAll,
		}
		for n, start := 0, b.clock.Mono(); n == 0 || b.clock.Mono()-start < int64(b.For); n++ {
			for i := range steps {
				i = (i + n) % len(steps) // another one is first each time
				begun := b.clock.Mono()
				if err := steps[i](); err != nil {
					return err
				}
				h[i].Record(b.clock.Mono() - begun)
			}
		}
		ours.add(round, h[0].Summary().P50)
		ranges.add(round, h[1].Summary().P50)
		whole.add(round, h[2].Summary().P50)
		return nil
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("durable append to each of %d logs, p50", manyCount)
	row := b.report.row(name, "disk", "µs", ours)
	row.against("µs p50, pwrite and sync_file_range of each, one fdatasync", ranges)
	row.Note = "all of them together, on one goroutine; the floors in turn with it"
	row = b.report.row(name+", against syncfs", "disk", "µs", ours)
	row.against("µs p50, pwrite to each, one syncfs", whole)
	row.Note = "the row above beside another floor"
	return nil
}

func (b *bench) appendToAll(ctx context.Context, store *mmaplog.Store, logs []*mmaplog.Log,
	record []byte) error {
	now := b.clock.Now()
	for _, log := range logs {
		if _, err := log.Append(now, record, 1); err != nil {
			return err
		}
	}
	return store.Sync(ctx, logs...)
}
