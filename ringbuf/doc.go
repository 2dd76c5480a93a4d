// Package ringbuf has bounded lock-free queues in memory, after the LMAX Disruptor: [Slab] is a ring
// of bytes for records of any length, [Ring] a ring of slots of one type. Both hand out the memory
// itself, in runs, allocate nothing after they are made, and can be cancelled and closed at any time.
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
// Source: the framing follows Agrona's ManyToOneRingBuffer.
//
// # Ring
//
// Slots are numbered by a sequence that only grows; a slot's place in memory is its sequence modulo the
// capacity. Each consumer sees everything that is published after it was added, and producers wait
// for the slowest.
//
//	slowest consumer   other consumer     published        claimed     slowest + capacity
//	       │                 │                │               │                │
//	 free  │  still needed by the slowest     │ being written │ free           │
//	       └─────────────────┴────────────────┴───────────────┴────────────────┘
//
// One producer publishes by storing the new end in the cursor; [Producer.Send] is little more than the
// copy and that store, [Producer.Slot] and [Producer.Commit] spare the copy. Several claim by adding
// to a shared word once there is room for themselves and for one more batch of every other producer,
// and publish one availability word per claim; shared.go has the proof and the layout.
//
// Consumers form a graph: one that is [After] others sees a slot when all of them have released it.
//
//	                 ┌─▶ journal ─┐
//	producers ─▶ ring             ├─▶ apply          r.Consumer(ringbuf.After(journal, replica))
//	                 └─▶ replica ─┘
//
// Consumers may be added and closed while producers publish. A ring without consumers holds nobody up.
// [Reader] is for those that must never hold anybody up: it copies, and skips and counts what
// was overwritten before it came.
//
// # Invariants
//
//   - A position or sequence never moves back, so a limit that was seen once may be used again later.
//   - Claims never pass what the slowest consumer has not released.
//   - Consumers see claims in order, each published one once, an aborted one never.
//   - Everything before what a consumer has released is published, so it may stand for producers, too.
//   - Words that different cores write are at least 128 bytes apart.
//   - Whoever changes what others wait for looks for sleepers afterwards; whoever goes to sleep first
//     counts itself as a sleeper and then looks again. So no wake-up is lost (see parkingLot).
//
// # Ownership
//
// What is claimed belongs to its producer until Commit, Publish or Abort, then to the consumers until
// they release it. A [Producer] or [Consumer] handle belongs to one goroutine at a time. A Slab's
// consumer side is whoever holds the caller's lock. The package starts no goroutine.
//
// # Waiting
//
// Claim and Next spin for about three microseconds, yield for about fifty, then sleep in a channel
// select with the context: waking a sleeper costs tens of microseconds, so it is put off. The steps
// are counted in pauses, whose length is measured once. Looking less often makes a ring faster: each look at
// a word that the other side writes takes its cache line away, so a consumer that polls without a
// pause gets runs of one and slows its producer down. Hence [Options.Floor].
//
// # Publishing
//
// On amd64 a publish is one MOV, a release store, and not the XCHG of sync/atomic, which waits until
// the cache line is there. What needs more than release pays for it where that is rare: who goes to
// sleep executes a fence on all processors of the process (membarrier, on Linux), so that it is never
// overlooked. Elsewhere, under the race detector, and with the build tag leat_noasm a publish is a
// store of sync/atomic. A caller that sleeps by a protocol of its own must set [Options.Fenced].
//
// # Failure
//
// A full ring is false from the Try calls, and a wait, ErrFull or a drop from the others, as
// [Options.Full] says; a wait ends with room, the context's error, or ErrClosed, and has claimed
// nothing unless it succeeds. A producer that claims and never finishes stops the consumers at its
// claim, so nothing that can fail belongs between claim and commit; on an error, Abort. [Ring.Seal]
// is exact: what was accepted before it is handed out, what was not is refused. Handing in what
// was not claimed, finishing twice or releasing more than was returned is a bug of the caller and
// panics where it can be seen.
//
// # Proof
//
// models has the protocols as Promela models, each of which fails when its point is switched off.
// Histories of concurrent calls are checked against a plain log with Porcupine. A driver runs random
// graphs of producers and consumers that come and go, whose slots carry canaries.
package ringbuf
