// Command figures writes a report of the suite ring as the tables of docs/ring.md: the goals, and every
// scenario with all peers.
//
//	go run ./ring/figures REPORT.json                        print them
//	go run ./ring/figures -into ../docs/ring.md REPORT.json  put them between the marks of the document
//
// Invariant: the document keeps everything outside of the marks.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/leatbus/leat/internal/benchkit"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	document := flags.String("into", "", "document to put the tables into")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("%d reports: want one", flags.NArg())
	}
	report, err := benchkit.ReadReport(flags.Arg(0))
	if err != nil {
		return err
	}
	tables := markdown(report)
	if *document == "" {
		_, err := io.WriteString(out, tables)
		return err
	}
	text, err := os.ReadFile(*document)
	if err != nil {
		return err
	}
	changed, err := between(string(text), tables)
	if err != nil {
		return fmt.Errorf("%s: %w", *document, err)
	}
	return os.WriteFile(*document, []byte(changed), 0o644)
}
