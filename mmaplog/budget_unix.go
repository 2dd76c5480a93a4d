//go:build unix

package mmaplog

import "golang.org/x/sys/unix"

// fileLimit is how many files a store may have open: what the process may, but for a quarter, 64 at least,
// which is left to connections and to files that are open for a moment.
func fileLimit() int64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return usualFiles
	}
	soft := int64(min(uint64(r.Cur), 1<<20))
	return max(soft-max(soft/4, 64), leastFiles)
}
