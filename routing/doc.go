// Package routing says which partition a key belongs to.
//
//	key ──xxhash64──▶ hash ──top 14 bits──▶ slot ──Table──▶ partition
//	                                        16,384 per topic
//
// Producers, brokers and tools in any language must agree on every step, so the steps are frozen by
// golden vectors: equal keys share a partition for as long as the topic keeps its table.
//
// Invariants: a hash maps to one slot in [0, Slots), a slot to one partition in [0, Partitions). In a
// new Table each partition holds a contiguous run of slots and no two runs differ by more than one.
//
// Records without a key belong anywhere; Sticky keeps runs of them together, so that they fill batches.
//
// Ownership: Table is an immutable value. Sticky is state of one caller, without a lock. Nothing here
// allocates per key, blocks, or draws random numbers.
//
// Failure behaviour: NewTable refuses a partition count out of range. After that nothing can fail; a
// slot that no hash can have is a bug of the caller and panics.
package routing
