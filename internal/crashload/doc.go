// Package crashload is a load on one log that can be interrupted at any moment, and the judge of what is
// left of it. internal/killtest and internal/powercut do the interrupting.
//
//	Run ──▶ mmaplog.Log                  the process or the power goes
//	 │ before and after each promise          │
//	 └────────▶ Journal (a small file elsewhere) ──▶ Witness ──▶ Verify ◀── what is left of the log
//
// Invariants: what a record holds follows from its offset and the generation that wrote it, so that no
// copy of the log is needed to judge it. A generation begins when a log is opened to be written, and when
// its end is cut. The journal is told of a record before any byte of it can be on the disk, and of its
// durability after the log has reported that.
//
// Ownership: one Run at a time writes a journal; any process may read it meanwhile.
// Failure behaviour: Verify names the offset and what is wrong with it. Nothing is repaired.
package crashload
