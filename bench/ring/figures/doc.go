// Command figures writes a report of the suite ring as the tables of docs/ring.md: the goals, and every
// scenario with all peers.
//
//	go run ./ring/figures REPORT.json                        print them
//	go run ./ring/figures -into ../docs/ring.md REPORT.json  put them between the marks of the document
//
// Invariant: the document keeps everything outside of the marks.
package main

import "github.com/leatbus/leat/bench/document"

func main() { figures.Main() }

var figures = document.Command{Tables: markdown}
