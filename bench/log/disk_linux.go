package log

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// syncData makes the content of a file durable, without the times of its inode.
func syncData(file *os.File) error { return unix.Fdatasync(int(file.Fd())) }

// writeOut sends what is dirty in [at, at+size) to the device and waits for it, without a flush of the
// device.
func writeOut(file *os.File, at, size int64) error {
	return unix.SyncFileRange(int(file.Fd()), at, size, unix.SYNC_FILE_RANGE_WAIT_BEFORE|
		unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
}

// startWriteOut sends what is dirty in [at, at+size) to the device and does not wait.
func startWriteOut(file *os.File, at, size int64) error {
	return unix.SyncFileRange(int(file.Fd()), at, size, unix.SYNC_FILE_RANGE_WRITE)
}

// syncDisk makes the whole file system durable that a file is on.
func syncDisk(file *os.File) error { return unix.Syncfs(int(file.Fd())) }

// dropCache drops the clean pages of all files below dir, so that the next read goes to the disk.
func dropCache(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(unix.Fdatasync(int(file.Fd())),
			unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED), file.Close())
	})
}

// mapForReading maps a whole file.
func mapForReading(file *os.File, size int64) ([]byte, error) {
	return unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

func unmap(p []byte) error { return unix.Munmap(p) }

// writtenBytes is what this process caused to be written to disks, by the kernel's account.
func writtenBytes() (int64, bool) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
