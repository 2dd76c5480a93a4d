// Package demo puts an embedded node under load and checks every message: what `leat demo` runs.
//
//	publisher ┐                    ┌─▶ audience "plain"   one member         ─▶ latency
//	publisher ┼─▶ topic, 4 parts ──┼─▶ audience "shared"  three members
//	publisher ┘   in a temp folder └─▶ audience "slow"    no group, on purpose slow
//	    ▲                                      │
//	    └───────── guard: bytes not yet read by slow ◀──┘
//
// A message carries the number of its key, the sequence of its key and the time it was meant to be
// sent. The verdict comes from these alone (benchkit.Sequences), never from counters of the bus.
//
// Invariants: the data stay within DiskBytes, because retention deletes old segments; and nothing is
// deleted before the slow audience has read it, because the guard holds the publishers back before it
// comes to that. A run ends when both groups have handled everything below the high-water mark.
//
// Ownership: Run owns every goroutine and the folder, and both are gone when it returns, also after
// an error or when its context ends.
//
// Failure behaviour: publishing or reading errors end the run with that error; a run that finds
// faults returns a Card whose Err says so.
package demo
