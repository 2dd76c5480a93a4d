// Package killtest kills a real process that publishes to a bus, again and again, and checks that
// nothing it had acknowledged is missing. All of it is tests.
//
//	parent (go test) ──SIGKILL──▶ child: node.Open, many publishers, 256 KiB segments
//	      │                          │ every acknowledgement: write(2)      │ every record: the bus
//	      │                          ▼                                      ▼
//	      └───── check ◀──── acknowledgement journal             segment files
//	               ▲                                                        │
//	               └──────────── independent reader of the format ◀─────────┘
//
// The page cache outlives a killed process, so what the child wrote to its journal is there, and was
// acknowledged for sure: the entry is written after the bus has answered. The reader shares no code
// with the bus; it knows only docs/format.md.
//
// Invariants checked after each kill: every acknowledged record is at its offset, with its bytes;
// offsets are dense from 0; no record is there twice or before its predecessor; none is there that
// was never published. A kill counts only if at least 1,000 acknowledgements came since the one before
// and publishes were in flight; with too few kills that count, or too few during a roll, the run fails.
//
// TestKillAtPoints does without the bus: its children are under the load of internal/crashload, on one log,
// and most of them end themselves at a failpoint, each of which must have been hit. go test -kills 1000
// ./internal/killtest does more of them.
//
// Ownership: the parent owns the child and its folders. A child whose parent is gone ends by itself.
// Failure behaviour: a finding names seed, kill and folder; LEAT_SEED=… repeats the choices of the
// parent, though not the timing of the machine.
package killtest
