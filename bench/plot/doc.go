// Package plot draws reports of suites: per scenario bars of all cases, and the percentile curves of those
// that have latencies.
//
//	   ours ████████████████████████├──┤ 88 M   ┊
//	channel ███├┤ 12 M                          ┊      a bar ends at the median, the whisker is its interval,
//	  C ring █████████████████████████████├─┤   ┊      the dotted line is the baseline
//	         commit · date · machine · command
//
// A percentile curve has 1 ÷ (1 − p) on its axis, logarithmic, so that each nine of a percentile has as much
// room as the one before.
//
// Invariants: bars begin at zero; every picture carries commit, date, machine and command; an invalid or
// unguarded report is marked as such in every picture. Drawing needs no display and no C.
package plot
