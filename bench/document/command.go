package document

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/leatbus/leat/bench/plot"
	"github.com/leatbus/leat/internal/benchkit"
)

// The marks stand alone on their lines.
const (
	beginMark = "<!-- figures begin -->\n"
	endMark   = "<!-- figures end -->\n"
)

var errMarks = errors.New("no marks for the figures: want " +
	strings.TrimSpace(beginMark) + " and, after it, " + strings.TrimSpace(endMark))

// Command is a command that writes a report of one suite as tables in Markdown:
//
//	figures REPORT.json                             print them
//	figures -into DOCUMENT -plots DIR REPORT.json   put them between the marks, and draw
type Command struct {
	// Tables gives all that stands between the marks.
	Tables func(*benchkit.Report) string
}

// Main runs the command with the arguments of this process, and ends that.
func (c Command) Main() {
	if err := c.Run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// Run runs the command with arguments. Without -into the tables go to out.
func (c Command) Run(arguments []string, out io.Writer) error {
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
	tables := c.Tables(report)
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

// between replaces what stands between the marks.
func between(document, tables string) (string, error) {
	head, rest, ok := strings.Cut(document, beginMark)
	if !ok {
		return "", errMarks
	}
	_, tail, ok := strings.Cut(rest, endMark)
	if !ok {
		return "", errMarks
	}
	return head + beginMark + "\n" + tables + "\n" + endMark + tail, nil
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
