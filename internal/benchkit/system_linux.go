package benchkit

import (
	"fmt"
	"os"

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
