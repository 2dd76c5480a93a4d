// Package compare decides whether one report of a suite is worse than another.
//
//	base.json ──┐  rows by scenario and case    U-test of the rounds        worse and p < 0.05?
//	            ├─▶ value, p99, allocations ──▶ (benchmath.AssumeNothing) ─▶ Result ─▶ table, exit code
//	new.json ───┘
//
// A row of ours regressed when the rounds differ with p < 0.05 and the median is worse by more than 3 % (a
// rate) or 5 % (a latency), or when it allocates more than before. Peers and floors are shown but never
// fail: what moves them is the machine, and then the comparison says so.
//
// Invariants: rows with too few rounds for p < 0.05 are never called equal, they are called undecided; a
// case of ours that is gone fails. An invalid report is not compared.
package compare
