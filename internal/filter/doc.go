// Package filter decides by an expression which records a reader is given.
//
//	source ──parser of expr-lang/expr──▶ tree ──checked and compiled──▶ closures ──a record──▶ yes or no
//
// The language is that of expr (https://expr-lang.org), the part of it that has no loops and makes nothing:
// docs/filters.md has the names, operators and functions. Only the parser is theirs. The tree is compiled to
// closures here, so that a record costs no allocation and a bounded number of steps, and nothing that a
// record has can be an error: a header that is not there, or a text that is no number, is nil, nil is equal
// to nil only, and any other comparison with it is false.
//
// Invariants: an expression that compiles gives true or false for every record, the same each time, whatever
// is in it. Bounds are MaxSource, MaxNodes and MaxPattern.
//
// Ownership: a Filter may be used by any number of goroutines; a Matcher belongs to one at a time.
//
// Failure behaviour: Compile answers core.CodeInvalidConfig with the column of what is wrong.
package filter
