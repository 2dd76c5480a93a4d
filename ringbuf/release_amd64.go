//go:build amd64 && !race && !leat_noasm

package ringbuf

import (
	"sync/atomic"
	"unsafe"
)

// storesRelease says that release is one plain store: later loads of the same goroutine may pass it. What
// needs more than release then uses a barrier on the other side (see barrier) or a store of sync/atomic.
const storesRelease = true

// release stores v in word so that whoever loads it with sync/atomic sees everything written before. It
// is one MOVQ: on x86 every store is a release (Sewell et al., x86-TSO, CACM 2010), while sync/atomic
// compiles to XCHG, which waits until the line is owned and keeps later misses from overlapping. The
// compiler keeps the order of stores, and drops none in front of the atomic load that follows each
// publish here; TestReleaseOrder would find a machine or a compiler that does not. Why it is not in
// assembly is in docs/decisions/0006. The race detector, and the tag leat_noasm, get a store of
// sync/atomic.
func release(word *atomic.Int64, v int64) { *(*int64)(unsafe.Pointer(word)) = v }

func releaseWord(word *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(word)) = v }
