//go:build linux

package ringbuf

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Commands of membarrier(2).
const (
	membarrierExpedited         = 1 << 3 // MEMBARRIER_CMD_PRIVATE_EXPEDITED
	membarrierRegisterExpedited = 1 << 4
)

// canBarrier registers the process for barrier, once, and tells whether the kernel allows it.
var canBarrier = sync.OnceValue(func() bool {
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierRegisterExpedited, 0, 0)
	return errno == 0 && membarrier() == 0
})

// barrier makes every running thread of the process execute a full memory fence. It takes some
// microseconds, which a goroutine that is about to sleep can spare; so its counterpart, which stores and
// then looks for sleepers millions of times a second, needs no fence at all. Call it only if canBarrier.
func barrier() {
	if errno := membarrier(); errno != 0 {
		panic("ringbuf: membarrier worked once and fails now: " + errno.Error()) // the kernel rules it out
	}
}

func membarrier() unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierExpedited, 0, 0)
	return errno
}
