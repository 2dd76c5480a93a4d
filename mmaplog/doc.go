// Package mmaplog is a segmented log of frames, one per partition: one writer, any number of readers,
// and a recovery that tells a torn tail from damage.
//
//	          Begin, Add, Publish                            Next
//	writer ──────────────────────────▶ Log ──────────────────────────────▶ Readers
//	(a shard)   stores through a map    │   copy from the map what is hot,
//	            or one pwrite a batch   │   pread and check what is cold
//	                                    │
//	  spare ┃ header│frame│frame│frame┃ header│frame│frame│▒▒▒▒▒│░░░░░░░┃ spare
//	        ┃ sealed segment          ┃ current segment    │     │       ┃ preparer fills it with zeros
//	                            ▲                          ▲     ▲
//	                      durableEnd                      End    prefaulted by the preparer
//	                (syncer: msync, fdatasync)
//
// A Store is one data folder: its lock and the goroutines that serve all its logs. The syncer makes
// durable what is published, at once if somebody waits (RequestSync), else every FlushEvery or
// FlushBytes; who waits may be the one that syncs (Log.Sync). The preparer makes segments and prefaults
// pages ahead of the writers. The janitor unmaps, closes and deletes.
//
// # Invariants
//
//   - Start <= DurableEnd <= End. Offsets below End never change their content.
//   - A frame is whole before its length word is stored, and nothing after it looks like a frame.
//   - Every block of a segment is reserved and written before it is mapped: a full disk is an error of
//     a call, never a signal.
//   - Nobody touches a map outside the hot window or without a pin; a page fault on a cold page would
//     stall a processor and the garbage collector.
//   - Nothing is durable before its segment's header and the folder entries that lead to it are.
//
// # Ownership
//
// The writer of a log is one goroutine at a time, which calls Begin, Add, Publish. A Reader belongs to
// one goroutine. Everything else of Log and Store may be called by any goroutine. Close waits for the
// store's goroutines; the writers must have stopped before.
//
// # Failure
//
// Errors are those of core's table. A full disk is CodeStorageFull: reads go on, and appends succeed
// again when there is room. A failed write or sync, or a fault in a map, fences the log for good
// (CodeLogFenced), because the kernel forgets what it could not write; opening the store again reads
// the disk. Damage of what was durable is CodeCorrupt, at opening or reading: nothing is cut. What a
// power cut tore and no sync had covered is cut when the log is opened; Recovery tells how much.
//
// The bytes are described in docs/format.md. All access to a disk goes through FS, so that tests run on
// memory (Heap) and on a disk that forgets what was not synced (MemFS.Crash).
package mmaplog
