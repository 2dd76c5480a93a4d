//go:build !amd64 || race || leat_noasm

package ringbuf

import "sync/atomic"

const storesRelease = false

// release stores v in word. The store is sequentially consistent: STLR on arm64, which is fast.
func release(word *atomic.Int64, v int64) { word.Store(v) }

func releaseWord(word *atomic.Uint64, v uint64) { word.Store(v) }
