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
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/leatbus/leat/bench/plot"
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
	plots := flags.String("plots", "", "folder for the pictures that the document shows")
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
	if *plots != "" {
		if err := draw(report, changed, *plots); err != nil {
			return err
		}
	}
	return os.WriteFile(*document, []byte(changed), 0o644)
}

// draw draws all pictures aside and keeps those whose names the document mentions.
func draw(report *benchkit.Report, document, folder string) error {
	aside, err := os.MkdirTemp("", "leat-figures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	files, err := plot.Write(aside, report)
	if err != nil {
		return err
	}
	for _, name := range files {
		if !strings.Contains(document, "/"+name) {
			continue
		}
		picture, err := os.ReadFile(filepath.Join(aside, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), picture, 0o644); err != nil {
			return err
		}
	}
	return nil
}
