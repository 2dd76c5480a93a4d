package clock

import (
	"syscall"
	"time"
)

// nap ends early when a signal comes, which the runtime sends itself.
func nap(d time.Duration) bool {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // EINTR is the only error of a valid time
	return true
}
