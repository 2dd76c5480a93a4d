//go:build race

package ringbuf

import (
	"sync/atomic"
	"unsafe"
)

// copyWords copies words of 8 bytes. The race it wins or loses is looked at afterwards, by the claim; the
// detector does not know that, so it is not told of these loads.
//
//go:norace
//go:noinline
func copyWords(to, from unsafe.Pointer, words uintptr) {
	for i := range words {
		*(*uint64)(unsafe.Add(to, i*8)) = *(*uint64)(unsafe.Add(from, i*8))
	}
}

// peekWord loads a word that may be written at the same time without an atomic store.
//
//go:norace
//go:noinline
func peekWord(word *atomic.Uint64) uint64 { return *(*uint64)(unsafe.Pointer(word)) }
