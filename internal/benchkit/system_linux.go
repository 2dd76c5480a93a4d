package benchkit

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// fileSystems are the magic numbers of statfs(2) that matter here.
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
}

func fileSystemOf(dir string) string {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return ""
	}
	if name, ok := fileSystems[int64(stat.Type)]; ok {
		return name
	}
	return fmt.Sprintf("file system 0x%x", stat.Type)
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// syncData makes the data of a file durable, without the times of its inode.
func syncData(file *os.File) error { return unix.Fdatasync(int(file.Fd())) }

// beginWriteOut has the device begin to write a range of a file.
func beginWriteOut(file *os.File, at, n int64) error {
	return unix.SyncFileRange(int(file.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}

// writeOut has the device take a range of a file.
func writeOut(file *os.File, at, n int64) error {
	return unix.SyncFileRange(int(file.Fd()), at, n,
		unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
}

// syncFileSystem makes durable all that is on the file system of a file.
func syncFileSystem(file *os.File) error { return unix.Syncfs(int(file.Fd())) }

// readIOUse reads what this process did so far; false where the kernel does not tell.
func readIOUse() (use ioUse, ok bool) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return use, false
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		n, _ := fmt.Sscanf(line, "write_bytes: %d", &use.written)
		m, _ := fmt.Sscanf(line, "syscw: %d", &use.writeCalls)
		found += n + m
	}
	var rusage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &rusage); err != nil {
		return use, false
	}
	use.faults = rusage.Minflt
	return use, found == 2
}

// processUse reads what this process used so far: processor time in nanoseconds and resident bytes.
func processUse() (cpuNanos, residentBytes int64, err error) {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		return 0, 0, err
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, err
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(statm), &total, &resident); err != nil {
		return 0, 0, fmt.Errorf("benchkit: /proc/self/statm %q: %w", statm, err)
	}
	return use.Utime.Nano() + use.Stime.Nano(), resident * int64(os.Getpagesize()), nil
}
