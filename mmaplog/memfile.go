package mmaplog

import (
	"io"
	"io/fs"
	"syscall"
)

// memFile is an open file of a MemFS.
type memFile struct {
	fs       *MemFS
	node     *memNode
	name     string
	readOnly bool
}

func (f *memFile) Close() error { return nil }

func (f *memFile) Size() (int64, error) { return f.node.size(), nil }

// Data tells of sectors that hold something else than zeros.
func (f *memFile) Data(from int64) (lo, hi int64, err error) {
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	size := f.node.sizeLocked()
	lo, hi = size, size
	if from >= size {
		return lo, hi, nil
	}
	for at := from &^ (memSector - 1); at < size; at += memSector {
		switch zero := allZero(f.node.sectorLocked(at)); {
		case zero && lo < size:
			return lo, at, nil
		case !zero && lo == size:
			lo = max(at, from)
		}
	}
	return lo, hi, nil
}

func (f *memFile) ReadAt(p []byte, at int64) (int, error) {
	if err := f.fs.faults.read(f.name); err != nil {
		return 0, err
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	left := f.node.sizeLocked() - at
	if left <= 0 {
		return 0, io.EOF
	}
	n := int(min(left, int64(len(p))))
	if f.node.data == nil {
		f.node.disk.read(p[:n], at)
	} else {
		copy(p[:n], f.node.data[at:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, at int64) (int, error) {
	if f.readOnly {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EBADF}
	}
	n, fault := f.fs.faults.write(f.name, len(p))
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.warmLocked()
	end := at + int64(n)
	if end > int64(len(f.node.data)) {
		if err := f.extendLocked(end); err != nil {
			return 0, err
		}
	}
	copy(f.node.data[at:end], p[:n])
	f.node.touchLocked(at, end)
	return n, fault
}

func (n *memNode) touchLocked(lo, hi int64) {
	if n.dirtyLo == n.dirtyHi {
		n.dirtyLo, n.dirtyHi = lo, hi
		return
	}
	n.dirtyLo, n.dirtyHi = min(n.dirtyLo, lo), max(n.dirtyHi, hi)
}

func (f *memFile) extendLocked(size int64) error {
	if f.node.mapped > 0 {
		return &fs.PathError{Op: "extend", Path: f.name, Err: syscall.EBUSY}
	}
	if err := f.fs.faults.take(size - int64(len(f.node.data))); err != nil {
		return &fs.PathError{Op: "extend", Path: f.name, Err: err}
	}
	grown := make([]byte, size)
	copy(grown, f.node.data)
	f.node.data = grown
	return nil
}

func (f *memFile) Allocate(size int64) error {
	if err := f.fs.faults.step("allocate", f.name); err != nil {
		return err
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	if size <= f.node.sizeLocked() {
		return nil
	}
	f.node.warmLocked()
	return f.extendLocked(size)
}

// Sync makes durable what WriteAt wrote. What was stored through a map is left to Region.Sync: less
// than a real sync does, so a test that passes here does not lean on more.
func (f *memFile) Sync() error {
	taken := f.fs.cache.take()
	if err := f.fs.faults.sync("sync", f.name); err != nil {
		return err
	}
	f.fs.power.RLock()
	defer f.fs.power.RUnlock()
	if f.fs.faults.ignoreSync.Load() {
		return nil
	}
	f.node.mu.Lock()
	f.node.persistLocked(f.node.dirtyLo, f.node.dirtyHi)
	f.node.persisted = f.fs.cache.newest()
	f.node.dirtyLo, f.node.dirtyHi = 0, 0
	f.node.mu.Unlock()
	f.fs.flush(taken)
	return nil
}

// persistLocked copies [lo, hi) from the page cache to the disk and makes the length durable.
func (n *memNode) persistLocked(lo, hi int64) {
	if n.data == nil {
		return
	}
	n.disk.grow(int64(len(n.data)))
	n.disk.write(n.data[lo:hi], lo)
}

// Cached does not know.
func (f *memFile) Cached(int64) bool { return false }

// Forget does nothing: what is read here is what was written.
func (f *memFile) Forget() {}

func (f *memFile) Map(size int64) (Region, error) {
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.warmLocked()
	if size > int64(len(f.node.data)) {
		return nil, &fs.PathError{Op: "map", Path: f.name, Err: syscall.ENXIO}
	}
	f.node.mapped++
	return &memRegion{file: f, b: f.node.data[:size:size]}, nil
}

// memRegion is a map of a memFile: the file's memory itself.
type memRegion struct {
	file *memFile
	b    []byte
}

func (r *memRegion) Bytes() []byte { return r.b }
func (r *memRegion) Populate(lo, hi int64) error {
	return r.file.fs.faults.step("populate", r.file.name)
}

// Release does nothing: there are no page tables.
func (r *memRegion) Release(int64, int64) error { return nil }

func (r *memRegion) Sync(lo, hi int64) error {
	f := &r.file.fs.faults
	taken := r.file.fs.cache.take()
	if err := f.sync("msync", r.file.name); err != nil {
		return err
	}
	r.file.fs.power.RLock()
	defer r.file.fs.power.RUnlock()
	if f.ignoreSync.Load() || f.ignoreMapSync.Load() {
		return nil
	}
	r.file.node.mu.Lock()
	r.file.node.persistLocked(lo, hi)
	r.file.node.mu.Unlock()
	r.file.fs.flush(taken)
	return nil
}

func (r *memRegion) Close() error {
	r.file.node.mu.Lock()
	defer r.file.node.mu.Unlock()
	r.file.node.mapped--
	r.b = nil
	return nil
}
