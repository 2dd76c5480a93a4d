package benchkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
)

// copyFloor is the floor of everything that stores bytes: copying them into a mapped file whose
// pages are all there. Where files cannot be mapped it copies into memory, and says so.
type copyFloor struct {
	name   string
	clock  clock.Clock
	bytes  []byte
	at     int
	file   mmaplog.File
	region mmaplog.Region
}

func newCopyFloor(c clock.Clock, dir string, size int64) (*copyFloor, error) {
	f := &copyFloor{name: "memcpy into a map", clock: c}
	if err := f.open(filepath.Join(dir, "floor"), size); err != nil {
		return nil, errors.Join(fmt.Errorf("benchkit: map a file for the floor: %w", err), f.close())
	}
	return f, nil
}

func (f *copyFloor) open(path string, size int64) (err error) {
	if f.file, err = mmaplog.OS().Open(path, mmaplog.Create); err != nil {
		return err
	}
	if err := f.file.Allocate(size); err != nil {
		return err
	}
	f.region, err = f.file.Map(size)
	if errors.Is(err, errors.ErrUnsupported) {
		f.name, f.bytes = "memcpy into memory", make([]byte, size)
		return nil
	}
	if err != nil {
		return err
	}
	f.bytes = f.region.Bytes()
	// Written once, so that no copy meets a block that is not there yet.
	clear(f.bytes)
	return nil
}

// run copies record n times, one behind the other, and returns the nanoseconds it took.
func (f *copyFloor) run(record []byte, n int) (int64, error) {
	if f.region != nil {
		// Written back pages fault again on the next store.
		if err := f.region.Populate(0, int64(len(f.bytes))); err != nil {
			return 0, fmt.Errorf("benchkit: prefault the floor: %w", err)
		}
	}
	start := f.clock.Mono()
	for range n {
		if f.at+len(record) > len(f.bytes) {
			f.at = 0
		}
		copy(f.bytes[f.at:], record)
		f.at += len(record)
	}
	return f.clock.Mono() - start, nil
}

// readAll copies total bytes out, chunk by chunk, and returns the nanoseconds it took.
func (f *copyFloor) readAll(chunk []byte, total int64) int64 {
	start := f.clock.Mono()
	at := 0
	for total > 0 {
		n := copy(chunk, f.bytes[at:])
		if at += n; at >= len(f.bytes) {
			at = 0
		}
		total -= int64(n)
	}
	return f.clock.Mono() - start
}

func (f *copyFloor) close() error {
	var err error
	if f.region != nil {
		err = f.region.Close()
	}
	if f.file != nil {
		err = errors.Join(err, f.file.Close())
	}
	return err
}

// syncFloor is the floor of durability: overwriting 4 KiB of a file and syncing its data.
type syncFloor struct {
	clock clock.Clock
	file  *os.File
	page  []byte
	next  int64 // page of the file
}

const syncFloorName = "4 KiB pwrite + fdatasync"

func newSyncFloor(c clock.Clock, dir string) (*syncFloor, error) {
	file, err := os.Create(filepath.Join(dir, "sync-floor"))
	if err != nil {
		return nil, fmt.Errorf("benchkit: make a file for the floor: %w", err)
	}
	f := &syncFloor{clock: c, file: file, page: make([]byte, 4<<10)}
	for at := int64(0); at < 1<<20; at += int64(len(f.page)) {
		if _, err := file.WriteAt(f.page, at); err != nil {
			return nil, errors.Join(fmt.Errorf("benchkit: fill the floor: %w", err), file.Close())
		}
	}
	if err := file.Sync(); err != nil {
		return nil, errors.Join(fmt.Errorf("benchkit: sync the floor: %w", err), file.Close())
	}
	return f, nil
}

// run writes and syncs for at least nanos and returns the syncs per second; each is recorded in h.
func (f *syncFloor) run(nanos int64, h *Histogram) (float64, error) {
	start := f.clock.Mono()
	n, now := int64(0), start
	for now-start < nanos {
		if err := f.once(); err != nil {
			return 0, err
		}
		next := f.clock.Mono()
		h.Record(next - now)
		now = next
		n++
	}
	return perSecond(n, now-start), nil
}

// once writes a page and syncs it.
func (f *syncFloor) once() error {
	f.page[0]++
	f.next = (f.next + 1) % 256
	if _, err := f.file.WriteAt(f.page, f.next*int64(len(f.page))); err != nil {
		return fmt.Errorf("benchkit: write the floor: %w", err)
	}
	if err := syncData(f.file); err != nil {
		return fmt.Errorf("benchkit: sync the floor: %w", err)
	}
	return nil
}

func (f *syncFloor) close() error { return f.file.Close() }
