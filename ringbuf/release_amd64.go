//go:build amd64 && !race && !leat_noasm

package ringbuf

import (
	"sync/atomic"
	"unsafe"
)

// storesRelease says that release is one plain store: later loads of the same goroutine may pass it. What
// needs more than release then uses a barrier on the other side (see barrier) or a store of sync/atomic.
const storesRelease = true

// release stores v in word so that whoever loads it with sync/atomic sees everything written before.
// sync/atomic compiles a store to XCHG, which waits until the line is owned and keeps later misses
// from overlapping; on x86 every MOV is a release already (Sewell et al., x86-TSO, CACM 2010). It is in
// assembly because the compiler must neither move nor drop it.
func release(word *atomic.Int64, v int64) { storeRelease(unsafe.Pointer(word), v) }

func releaseWord(word *atomic.Uint64, v uint64) { storeRelease(unsafe.Pointer(word), int64(v)) }

// storeRelease is one MOVQ.
//
//go:noescape
func storeRelease(word unsafe.Pointer, v int64)
