//go:build unix

package ring

import "syscall"

// processorTime is the nanoseconds of processor time that this process used so far.
func processorTime() (int64, error) {
	var use syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return use.Utime.Nano() + use.Stime.Nano(), err
}
