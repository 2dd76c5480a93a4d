package log

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/mmaplog"
)

// The names of the floors.
const (
	mapFloorName    = "memcpy into a map"
	pwriteFloorName = "pwrite"
	syncFloorName   = "4 KiB pwrite + fdatasync"
	batchFloorName  = "20 KiB pwrite + fdatasync"
)

// floorBytes is the size of the file of a floor, which is written in a circle.
const floorBytes = 64 << 20

var (
	mapFloor = kind{name: mapFloorName, role: benchkit.Floor, level: levelPage,
		note: "the bytes of the record, one behind the other, into 64 MiB that were written and " +
			"prefaulted before", open: openMapFloor}
	pwriteFloor = kind{name: pwriteFloorName, role: benchkit.Floor, level: levelPage,
		note: "one system call per append, into 64 MiB that were written before",
		open: openPwriteFloor}
)

// mapStore copies records into a map.
type mapStore struct {
	file   mmaplog.File
	region mmaplog.Region
	bytes  []byte
	at     int
}

func openMapFloor(dir string, _ setting) (_ store, err error) {
	s := &mapStore{}
	if s.file, err = mmaplog.OS().Open(filepath.Join(dir, "floor"), mmaplog.Create); err != nil {
		return nil, err
	}
	if err := s.file.Allocate(floorBytes); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.region, err = s.file.Map(floorBytes)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, errors.Join(benchkit.Skipf("files cannot be mapped here"), s.file.Close())
	}
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	s.bytes = s.region.Bytes()
	clear(s.bytes)
	return s, nil
}

// prepare prefaults the map again: pages that the kernel wrote back fault at the next store.
func (s *mapStore) prepare() error { return s.region.Populate(0, floorBytes) }

func (s *mapStore) append(record []byte) error {
	if s.at+len(record) > len(s.bytes) {
		s.at = 0
	}
	s.at += copy(s.bytes[s.at:], record)
	return nil
}

func (s *mapStore) appendAll(records [][]byte) error {
	for _, record := range records {
		if err := s.append(record); err != nil {
			return err
		}
	}
	return nil
}

func (s *mapStore) sync() error { return s.region.Sync(0, floorBytes) }

// read copies what was written out of the map, 64 KiB at a time.
func (s *mapStore) read(visit func([]byte) error) error {
	record, err := recordBytes(s.bytes)
	if err != nil {
		return err
	}
	chunk := make([]byte, 64<<10/record*record)
	for at := 0; at < s.at; {
		n := copy(chunk, s.bytes[at:s.at])
		at += n
		for p := chunk[:n]; len(p) > 0; p = p[record:] {
			if err := visit(p[:record]); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordBytes is the length of the record at the start of p.
func recordBytes(p []byte) (int, error) {
	size := int(p[0]) | int(p[1])<<8
	if size < numberAt || size > len(p) {
		return 0, fmt.Errorf("record of %d bytes in the floor", size)
	}
	return size, nil
}

func (s *mapStore) close() error { return errors.Join(s.region.Close(), s.file.Close()) }

// pwriteStore writes records with a system call each.
type pwriteStore struct {
	file *os.File
	at   int64
	all  []byte
}

func openPwriteFloor(dir string, _ setting) (store, error) {
	file, err := writtenFile(filepath.Join(dir, "floor"), floorBytes)
	return &pwriteStore{file: file}, err
}

// writtenFile makes a file of zeros that are on the disk.
func writtenFile(path string, size int64) (*os.File, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	page := make([]byte, 4<<10) // small, so that the kernel's folios stay small
	for at := int64(0); at < size; at += int64(len(page)) {
		if _, err := file.WriteAt(page, at); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	if err := file.Sync(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (s *pwriteStore) append(record []byte) error {
	if s.at+int64(len(record)) > floorBytes {
		s.at = 0
	}
	_, err := s.file.WriteAt(record, s.at)
	s.at += int64(len(record))
	return err
}

func (s *pwriteStore) appendAll(records [][]byte) error {
	s.all = s.all[:0]
	for _, record := range records {
		s.all = append(s.all, record...)
	}
	return s.append(s.all)
}

func (s *pwriteStore) sync() error { return syncData(s.file) }

// read reads what was written back, 64 KiB at a time.
func (s *pwriteStore) read(visit func([]byte) error) error {
	chunk := make([]byte, 64<<10)
	if _, err := s.file.ReadAt(chunk, 0); err != nil {
		return err
	}
	record, err := recordBytes(chunk)
	if err != nil {
		return err
	}
	chunk = chunk[:len(chunk)/record*record]
	for at := int64(0); at < s.at; {
		n, err := s.file.ReadAt(chunk[:min(int64(len(chunk)), s.at-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
		for p := chunk[:n]; len(p) > 0; p = p[record:] {
			if err := visit(p[:record]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *pwriteStore) close() error { return s.file.Close() }
