package mmaplog

import (
	"sync/atomic"
	"unsafe"
)

// publishMark moves a mark that readers of other goroutines load: what it covers was stored before.
func publishMark(mark *atomic.Int64, v int64) {
	storeRelease((*uint64)(unsafe.Pointer(mark)), uint64(v))
}

// publishIndex is publishMark of an index.
func publishIndex(mark *atomic.Uint64, v uint64) {
	storeRelease((*uint64)(unsafe.Pointer(mark)), v)
}
