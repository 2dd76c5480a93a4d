//go:build !linux

package benchkit

import (
	"errors"
	"os"
	"runtime"
)

func fileSystemOf(string) string { return "" }

func kernelRelease() string { return "" }

func syncData(file *os.File) error { return file.Sync() }

func readIOUse() (ioUse, bool) { return ioUse{}, false }

func beginWriteOut(*os.File, int64, int64) error { return errors.ErrUnsupported }

func writeOut(*os.File, int64, int64) error { return errors.ErrUnsupported }

func syncFileSystem(*os.File) error { return errors.ErrUnsupported }

// processUse is read from /proc, which only Linux has.
func processUse() (cpuNanos, residentBytes int64, err error) {
	return 0, 0, errors.New("benchkit: processor time and memory of a process are read on Linux only, not on " +
		runtime.GOOS)
}
