// Package refscan reads the files of one log as docs/format.md says, and shares no code with what writes and
// recovers them: the tests of the log compare the two. It is short so that a person can check it against the
// page, takes files that fit in memory, and tries nothing to be fast.
//
// Scan answers which frames are good, in order from the log's start, and whether the rest is nothing
// (Clean), what a crash leaves (Torn), or lost data (Damaged); and whether opening the log must refuse.
package refscan
