// Package document puts the tables of a report into a document of this repository.
//
//	report.json ──▶ Tables, or those of a suite ──▶ standard output
//	                                        └─────▶ between the marks of a document, and its pictures
//
// A suite has a command of its own, which is a Command with its tables: bench/log/figures and the like.
//
// Invariant: a document keeps everything outside of its marks.
package document
