// Package lint holds the rules of the house and is run as a test, so that go test ./... is the linter.
//
//	repository ──Load──▶ Tree ──▶ rule ──▶ findings   (parse only: a package under work is no excuse)
//	           ──go command──▶ links, go.mod, cross   (what only the go command knows)
//	README.md, docs ──▶ blocks ──▶ run                 (what the reader is told to type works)
//
// A finding names the file, what was found, what is allowed and, where it is not plain, the way out.
//
// Invariants: no rule needs a package to exist or to compile; a rule about a package bites as soon as
// the package does exist. Every rule is proven to bite by a test on a small tree in memory. Rules have
// no switch to turn them off: an exception stands in a table here, with its reason.
//
// Ownership: a Tree is read-only after Load.
//
// Failure behaviour: a file that cannot be read or parsed is a finding too.
package lint
