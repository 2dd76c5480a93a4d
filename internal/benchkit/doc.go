// Package benchkit holds the scenarios behind `leat bench` and the instruments they share.
//
//	           intended times                     handler
//	Pacer ──────────────────▶ bus under test ──────────────▶ Latency (HDR), Sequences
//	                                                                │
//	Suite ─▶ Scenario ─▶ rounds, ABBA ─▶ Case: ours, peer, floor ───┴─▶ Sample ─▶ Report ─▶ JSON, Markdown,
//	              guard: canary, steal, other load                                           table
//
// Every figure stands beside a floor that was measured in the same run, case by case in the order
// A B, B A, A B …, so that a slow phase of the machine hits both. The value of a row is the median
// over its rounds; the first round warms up and is discarded. Latency counts from the intended send
// time, so that a stall is charged to every message it delayed. A round that the machine disturbed is
// discarded and repeated: docs/benchmarking.md has the rules, suite.go says how to write a suite. SelfTest
// checks that all this finds what it should.
//
// Invariants: a run with a lost, repeated or reordered message, one that missed its rate, or a suite that
// stayed disturbed, is invalid and says why; nothing is dropped from a histogram.
//
// Ownership: an instrument belongs to one goroutine at a time. A scenario creates its data in a
// folder of its own below Options.Dir and removes it. It is the one package besides internal/clock
// that measures real time, and no library package imports it.
//
// Failure behaviour: a scenario that could not run returns an error; one that ran and found a
// problem returns a Report with Valid false. A case of a suite that fails or hangs drops out of it.
package benchkit
