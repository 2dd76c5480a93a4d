// Command figures writes a report of the suite log as the tables of docs/log.md: the goals, and every
// scenario with all peers.
//
//	go run ./log/figures REPORT.json                                             print them
//	go run ./log/figures -into ../docs/log.md -plots ../docs/plots REPORT.json   put them between the marks
//	                                                                             of the document, and draw
//
// Pictures are written for the scenarios that the document shows, as log-<scenario>-<kind>.svg.
//
// Invariant: the document keeps everything outside of the marks.
package main

import (
	"github.com/leatbus/leat/bench/document"
	"github.com/leatbus/leat/internal/benchkit"
)

func main() { figures.Main() }

var figures = document.Command{
	Tables: func(r *benchkit.Report) string { return document.Tables(r, "mmaplog ÷ it") },
}
