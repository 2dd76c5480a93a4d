// Package core is the functional core of Leat: its vocabulary (records, offsets, names, limits,
// levels, errors), the codecs of what is stored, and all policy as state machines that take one
// batch a step. It has no I/O, no clock, no goroutine, no lock and no randomness: time comes in as
// nanoseconds, what is to be done goes out as effects, and equal inputs give equal outputs.
//
//	          imperative shell                            functional core
//	┌──────────────────────────────────┐        ┌───────────────────────────────┐
//	│ ring, log, timers, other members │        │ Partition  Group  Catalogue   │
//	│                                  │ input, │                               │
//	│  something happened ─────────────┼─ now ─▶│  Step: check, decide, change  │
//	│                                  │        │              │                │
//	│  write, answer, wake, store ◀────┼────────┼── effects ◀──┘                │
//	└──────────────────────────────────┘        └───────────────────────────────┘
//	   payload stays here: core sees ranges [lo, hi) of offsets, never a byte of a message
//
// The three state machines, each with what the shell does between two steps:
//
//	Partition  append: plan [lo, hi) ─▶ shell writes ─▶ written ─▶ shell syncs ─▶ synced
//	           highWater follows the topic's level: page = log end, disk = durable end
//	Group      join, leave, expiry ─▶ new generation ─▶ revoke ─▶ owner lets go ─▶ assign
//	           commit of the owner, under the generation of its assignment ─▶ persist
//	Catalogue  Create or Delete: plan a record ─▶ shell stores it in __meta ─▶ Apply
//	           in a cluster, one node plans; the others Follow its snapshots and changes
//
// # Invariants
//
//   - durableEnd <= logEnd, highWater is one of the two, and none of them ever falls.
//   - A batch of an identified producer is in the log at most once, as long as it is one of its
//     last five and the producer was not idle for an hour (KIP-98).
//   - A partition of a group has at most one owner. It changes hands only after the owner released
//     it, left, was replaced or expired, each time under a higher generation.
//   - A committed offset never goes back; a topic id is never given twice.
//   - Bytes that are stored never change their meaning: golden files under testdata pin them, every
//     format starts with a version, and a newer version is an error of its own.
//
// # Ownership
//
// A Partition is owned by its shard, a Group by the group's actor, a Catalogue by the node's actor;
// each is used by one goroutine at a time. Effects are owned by the caller, who resets and reuses
// them, so that steps in steady state do not allocate. A decoded Record is a view of the bytes it
// was decoded from. Codes and the sentinels are never written.
//
// # Failure
//
// What comes from outside, a disk or a client, never panics: it is answered by an Error with a Code
// of the one table, and with a way out (HintFor). Panics are broken invariants of the shell, such
// as a durable mark beyond the end of the log. A fenced Partition stays fenced: after a failed sync
// only a new one, built from what is read back from the disk, can be believed.
package core
