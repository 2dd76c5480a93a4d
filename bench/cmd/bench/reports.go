package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/leatbus/leat/bench/compare"
	"github.com/leatbus/leat/bench/plot"
	"github.com/leatbus/leat/internal/benchkit"
)

var errWorse = errors.New("something of ours got worse")

// compare holds a report against another one.
func (p *program) compare(args []string) error {
	flags := p.flagSet("compare", "BASE.json NEW.json")
	format := flags.String("o", "table", "format on standard output: table, md or json")
	if err := parse(flags, args); err != nil {
		return err
	}
	write, ok := map[string]func(*compare.Result, io.Writer) error{
		"table": (*compare.Result).WriteTable,
		"md":    (*compare.Result).WriteMarkdown,
		"json":  (*compare.Result).WriteJSON,
	}[*format]
	if !ok {
		return usagef("-o %s: want table, md or json", *format)
	}
	if flags.NArg() != 2 {
		return usagef("compare %d reports: want 2", flags.NArg())
	}
	base, err := benchkit.ReadReport(flags.Arg(0))
	if err != nil {
		return err
	}
	changed, err := benchkit.ReadReport(flags.Arg(1))
	if err != nil {
		return err
	}
	result, err := compare.Reports(base, changed)
	if err != nil {
		return err
	}
	if err := write(result, p.out); err != nil {
		return err
	}
	if result.Failed() {
		return errWorse
	}
	return nil
}

// plot draws reports again.
func (p *program) plot(args []string) error {
	flags := p.flagSet("plot", "REPORT.json…")
	folder := flags.String("out", ".", "folder for the pictures")
	if err := parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return usagef("plot what?")
	}
	for _, path := range flags.Args() {
		report, err := benchkit.ReadReport(path)
		if err != nil {
			return err
		}
		files, err := plot.Write(*folder, report)
		for _, file := range files {
			fmt.Fprintln(p.out, file)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
