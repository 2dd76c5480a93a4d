//go:build amd64 && !race && !leat_noasm

package mmaplog

// storeRelease stores v after everything the caller stored before, as seen by every other processor that
// loads it atomically. It is one MOVQ, in line, as in ringbuf (docs/decisions/0006): on x86 every store is a
// release, while sync/atomic uses a locked exchange, which also waits until all of them have reached the
// cache, and with a record's lines on their way from memory that is most of the cost of an append.
//
// It is not a full barrier: a load after it may be done before it. Who needs that adds to an atomic.
func storeRelease(p *uint64, v uint64) { *p = v }
