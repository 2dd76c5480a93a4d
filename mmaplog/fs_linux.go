package mmaplog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func lockFile(f *os.File) error {
	err := retryInterrupted(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}

func (osFS) SyncDir(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	err = retryInterrupted(func() error { return unix.Fsync(fd) })
	return errors.Join(err, unix.Close(fd))
}

// adviseRandom turns readahead off for a file that is written: it would fill the page cache with large
// folios, and a synced store through a map writes a whole one.
func adviseRandom(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) }

func (f *osFile) Sync() error {
	return retryInterrupted(func() error { return unix.Fdatasync(int(f.f.Fd())) })
}

// Device is 0 but for ext4 (and its elders, which share its number). There a written block stays where it is,
// and fdatasync sends the device a flush even if the file has nothing to write. XFS is left out as it is for
// maps: blocks that a copy of the folder shares move when they are written.
func (f *osFile) Device() uint64 {
	var fs unix.Statfs_t
	var st unix.Stat_t
	fd := int(f.f.Fd())
	if unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.EXT4_SUPER_MAGIC || unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Dev
}

// Data asks those file systems that are known to count pages in memory that are not on the disk yet.
func (f *osFile) Data(from int64) (lo, hi int64, err error) {
	size, err := f.Size()
	var st unix.Statfs_t
	fd := int(f.f.Fd())
	if err != nil || from >= size {
		return size, size, err
	}
	if unix.Fstatfs(fd, &st) != nil {
		return from, size, nil
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
	default:
		return from, size, nil
	}
	lo, err = unix.Seek(fd, from, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case err != nil:
		return from, size, nil
	}
	if hi, err = unix.Seek(fd, lo, unix.SEEK_HOLE); err != nil {
		hi = size
	}
	return lo, hi, nil
}

func (osFS) Size(name string) (int64, error) {
	var st unix.Stat_t
	if err := retryInterrupted(func() error { return unix.Lstat(name, &st) }); err != nil {
		return 0, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, notRegular(name)
	}
	return st.Size, nil
}

func (f *osFile) BeginWriteOut(lo, hi int64) {
	_ = unix.SyncFileRange(int(f.f.Fd()), lo, hi-lo, unix.SYNC_FILE_RANGE_WRITE)
}

func (f *osFile) WriteOut(lo, hi int64) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	return retryInterrupted(func() error { return unix.SyncFileRange(int(f.f.Fd()), lo, hi-lo, all) })
}

// Cached needs Linux 6.5.
func (f *osFile) Cached(size int64) bool {
	var have unix.Cachestat_t
	err := unix.Cachestat(uint(f.f.Fd()), &unix.CachestatRange{Off: 0, Len: uint64(size)}, &have, 0)
	page := int64(os.Getpagesize())
	return err == nil && int64(have.Cache) >= (size+page-1)/page
}

func (f *osFile) Forget() { _ = unix.Fadvise(int(f.f.Fd()), 0, 0, unix.FADV_DONTNEED) }

func (f *osFile) Allocate(size int64) error {
	err := retryInterrupted(func() error { return unix.Fallocate(int(f.f.Fd()), 0, 0, size) })
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	// The zeros that are written next reserve the blocks instead.
	have, err := f.Size()
	if err != nil || have >= size {
		return err
	}
	return f.f.Truncate(size)
}

func (f *osFile) Map(size int64) (Region, error) {
	b, err := unix.Mmap(int(f.f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: f.f.Name(), Err: err}
	}
	// Readahead would fill the page cache with large folios, and a store would then dirty whole ones.
	_ = unix.Madvise(b, unix.MADV_RANDOM)
	return &mapRegion{b}, nil
}

type mapRegion struct{ b []byte }

func (r *mapRegion) Bytes() []byte { return r.b }

// Close first takes the pages out of the page tables, step by step: unmapping all of them at once would
// stop every page fault and map of the process for milliseconds.
func (r *mapRegion) Close() error {
	for lo := 0; lo < len(r.b); lo += unmapStep {
		if err := unix.Madvise(r.b[lo:min(lo+unmapStep, len(r.b))], unix.MADV_DONTNEED); err != nil {
			break
		}
	}
	return unix.Munmap(r.b)
}

const unmapStep = 2 << 20

func (r *mapRegion) Populate(lo, hi int64) error {
	lo, hi = pageBounds(lo, hi, int64(len(r.b)))
	err := unix.Madvise(r.b[lo:hi], unix.MADV_POPULATE_WRITE)
	if errors.Is(err, unix.EINVAL) {
		return nil // kernels before 5.14: the writer takes the faults
	}
	return err
}

// Sync first takes the written pages out of the page tables, but for the last one, which the writer
// goes on with. Otherwise the kernel protects each page again on its own before it writes it, and
// interrupts the other processors each time; the pages stay in the page cache, and a reader that
// comes late takes one cheap fault for 16 of them.
func (r *mapRegion) Sync(lo, hi int64) error {
	lo, hi = pageBounds(lo, hi, int64(len(r.b)))
	if whole := hi - int64(os.Getpagesize()); whole > lo {
		if err := r.Release(lo, whole); err != nil {
			return err
		}
	}
	return retryInterrupted(func() error { return unix.Msync(r.b[lo:hi], unix.MS_SYNC) })
}

func (r *mapRegion) Release(lo, hi int64) error {
	lo, hi = pageBounds(lo, hi, int64(len(r.b)))
	return unix.Madvise(r.b[lo:hi], unix.MADV_DONTNEED)
}

// pageBounds widens [lo, hi) to whole pages within size.
func pageBounds(lo, hi, size int64) (int64, int64) {
	page := int64(os.Getpagesize())
	return lo &^ (page - 1), min((hi+page-1)&^(page-1), size)
}

func retryInterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
