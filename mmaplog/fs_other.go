//go:build !linux

package mmaplog

import (
	"errors"
	"os"
)

// Mappable is false outside Linux: this build writes and reads by system calls there.
func (osFS) Mappable(string) bool { return false }

// Space is not known here: a full disk shows when a segment is written, as an error.
func (osFS) Space(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported }

func (f *osFile) Map(int64) (Region, error) { return nil, errors.ErrUnsupported }

// Data is not known here.
func (f *osFile) Data(from int64) (lo, hi int64, err error) {
	size, err := f.Size()
	return min(from, size), size, err
}

func (osFS) Size(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, notRegular(name)
	}
	return info.Size(), nil
}

func adviseRandom(*os.File) {}

func (f *osFile) Sync() error { return f.f.Sync() }

func (f *osFile) Device() uint64 { return 0 }

func (f *osFile) BeginWriteOut(int64, int64) {}

func (f *osFile) WriteOut(int64, int64) error { return errors.ErrUnsupported }

func (f *osFile) Cached(int64) bool { return false }

func (f *osFile) Forget() {}

// Allocate only extends: the zeros that are written next reserve the blocks, and a full disk shows
// there, as an error.
func (f *osFile) Allocate(size int64) error {
	have, err := f.Size()
	if err != nil || have >= size {
		return err
	}
	return f.f.Truncate(size)
}
