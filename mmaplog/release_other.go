//go:build !amd64 || race || leat_noasm

package mmaplog

import "sync/atomic"

// storeRelease stores v after everything the caller stored before, as seen by every other processor
// that loads it atomically.
func storeRelease(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
