// Package ringbuf has bounded lock-free queues in memory: [Slab] for bytes of any length.
//
// # Slab
//
// One block of memory is used round and round. Three positions, all of them byte counts that only
// grow, say whose a byte is; a byte's place in memory is its position modulo the capacity.
//
//	         released        read              claim        released + capacity
//	             │             │                 │                  │
//	…  free zero │ returned by │ committed, or   │ free: all bytes  │ …
//	   bytes     │ Next        │ being written   │ are zero         │
//	             └─────────────┴─────────────────┴──────────────────┘
//	                                ▲
//	        entry:  length word (8 bytes) │ payload │ up to 7 bytes to a multiple of 8
//	                0 = not committed yet
//
// A producer claims by moving claim forward with a compare-and-swap, fills its bytes, and commits with
// one atomic store of the length word. The consumer reads length words in order of claims and stops at
// the first that is still 0; Release zeroes what was read and moves released forward. An entry never
// wraps around: where it does not fit before the end of memory, the claim covers a padding entry too.
//
// # Ownership
//
// A claimed stretch belongs to its producer until Commit or Abort, then to the consumer until Release.
//
// # Failure
//
// A full slab is false from TryClaim and a wait in Claim; the wait ends with room, the context, or
// Close. A producer that never commits stops the consumer at its entry, so the stretch between claim
// and commit must not fail: on an error, Abort. Nothing in this package starts a goroutine.
package ringbuf
