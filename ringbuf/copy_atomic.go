//go:build !race

package ringbuf

import (
	"sync/atomic"
	"unsafe"
)

// copyWords copies words of 8 bytes that may be written at the same time; each load is an acquire, so what is
// loaded after it is newer than what was copied. to must have room, and both must be aligned to 8.
func copyWords(to, from unsafe.Pointer, words uintptr) {
	for i := range words {
		*(*uint64)(unsafe.Add(to, i*8)) = atomic.LoadUint64((*uint64)(unsafe.Add(from, i*8)))
	}
}
