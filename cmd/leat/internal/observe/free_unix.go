//go:build linux || darwin

package observe

import "golang.org/x/sys/unix"

// freeBytes is what this user may still write where a folder is.
func freeBytes(folder string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return 0, err
	}
	return uint64(fs.Bavail) * uint64(fs.Bsize), nil
}
