package mmaplog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Space asks statfs. Blocks kept for root do not count as free.
func (osFS) Space(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize)
	}
	return int64(st.Bavail) * unit, int64(st.Blocks) * unit, nil
}

// Mappable is true where a store into a pre-written block of a map needs no new block: on ext4, on tmpfs,
// and on XFS without shared blocks. Anything else, such as btrfs, overlay, FUSE or NFS, may need one, or
// another machine, when it is too late to say so.
func (osFS) Mappable(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	case unix.XFS_SUPER_MAGIC:
		return !sharesBlocks(dir)
	}
	return false
}

// sharesBlocks tries whether two files of a file system can share blocks, on files without a name. It says
// yes unless the file system says no.
func sharesBlocks(dir string) bool {
	from, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return true
	}
	defer unix.Close(from)
	to, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return true
	}
	defer unix.Close(to)
	if _, err := unix.Pwrite(from, make([]byte, pageSize), 0); err != nil {
		return true
	}
	return !errors.Is(unix.IoctlFileClone(to, from), unix.EOPNOTSUPP)
}
