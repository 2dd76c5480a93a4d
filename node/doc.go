// Package node runs the whole bus inside one process: it composes rings, logs, policy and actors
// into a leat.Bus.
//
//	publish ──▶ slab of the partition's shard ──▶ journal ──▶ log ──▶ high-water mark ──▶ subscriptions
//	             (MPSC, one per core)              │  ▲                                    read the log at
//	                                               ▼  │ durable end                        their own cursor
//	                                        answers   Syncer (one per node, in mmaplog)
//	                                        to producers
//
// Shards. There is one shard per core: a ring, the journal that drains it and an executor goroutine.
// Whoever holds the shard's lock may journal: the executor, or a publisher that finds the lock free and
// waits for its record, or has a backlog. So a publisher at level page pays no hop, and a busy shard is
// drained in large steps. Partition actors run on the executor under the same lock, so control and
// data of a partition never race.
//
// Ownership. A partition's log and policy belong to whoever holds its shard's lock. A cursor belongs
// to the loop of its subscription; assignments and Close reach it as changes that the loop takes over
// between two messages. A producer's callbacks run on its actor.
//
// Invariants. Every record passes one claim of a shard ring. An outcome is told only when its level
// holds. A subscription never reads beyond the mark of its level. A slow subscription holds nobody
// back; only the journal gates the ring, and publishers wait while too much is not on the disk.
//
// Producers. Frames of remote producers (commitFrame) pass the journal as they are; the partition's policy
// recognises by producer, epoch and sequence what it has stored already, also after a restart, when the
// state follows from the log. A producer with a name (WithID) gets an epoch that is on the disk before it
// is told (claimName), so that of two with one name the older is fenced.
//
// The door. Serve takes clients over QUIC: a session per connection, a goroutine per stream. A producer
// stream commits frames as they come and writes the answers on its reader; what has no room waits in memory
// that its credit bounds. A subscription stream keeps cursors and sends runs of the log as they are. A
// member stream is the sink of a member's actor. Close drains: members give back, answers go out, and then
// connections end.
//
// Failure. A partition whose write or sync failed is fenced: its publishes fail with the reason, its
// reads go on, other partitions do not notice. A partition that cannot be recovered fails alone.
package node
