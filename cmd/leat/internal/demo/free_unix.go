//go:build linux || darwin

package demo

import (
	"math"

	"golang.org/x/sys/unix"
)

// freeBytes is what this user may still write in dir; unknown counts as enough.
func freeBytes(dir string) uint64 {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return math.MaxUint64
	}
	return stat.Bavail * uint64(stat.Bsize)
}
