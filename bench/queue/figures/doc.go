// Command figures writes a report of the suite queue as the tables of docs/queues.md: the goals, and every
// scenario with all peers.
//
//	go run ./queue/figures REPORT.json                          print them
//	go run ./queue/figures -into ../docs/queues.md REPORT.json  put them between the marks of the document
//
// Invariant: the document keeps everything outside of the marks.
package main

import (
	"github.com/leatbus/leat/bench/document"
	"github.com/leatbus/leat/internal/benchkit"
)

func main() { figures.Main() }

var figures = document.Command{
	Tables: func(r *benchkit.Report) string { return document.Tables(r, "first row ÷ it") },
}
