package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leatbus/leat/bench/plot"
	"github.com/leatbus/leat/internal/benchkit"
)

// autoFolder stands for a folder below results that is named after the day and the machine.
const autoFolder = "auto"

// writers write a report to standard output, by the name of the format.
var writers = map[string]func(*benchkit.Report, io.Writer) error{
	"table": (*benchkit.Report).WriteTable,
	"md":    (*benchkit.Report).WriteMarkdown,
	"json":  (*benchkit.Report).WriteJSON,
}

func writerOf(format string) (func(*benchkit.Report, io.Writer) error, error) {
	write, ok := writers[format]
	if !ok {
		return nil, usagef("-o %s: want table, md or json", format)
	}
	return write, nil
}

// measure runs suites and reports each as soon as it has ended. An invalid one does not keep the others
// from running.
func (p *program) measure(ctx context.Context, args []string) error {
	var o benchkit.Options
	flags := p.flagSet("run", "[suite[/scenario]…]")
	flags.IntVar(&o.Rounds, "rounds", 5, "measured rounds, at least 1; figures to keep need 5 or more")
	flags.DurationVar(&o.For, "for", 0, "time of one measured round (what the suite says)")
	flags.IntVar(&o.Size, "size", 0, "bytes of a value, where that is free (what the suite says)")
	flags.IntVar(&o.Members, "members", 0, "members of a group in the suite scale (what it says)")
	flags.Int64Var(&o.Backlog, "backlog", 0, "messages that lie in a topic in the suite scale (what it says)")
	flags.StringVar(&o.Dir, "dir", "", "folder for data; it is the disk that is measured (the temporary folder)")
	flags.Float64Var(&o.Guard.CanaryMax, "canary-max", 0,
		"nanoseconds that handing a cache line over may take in a round that counts (1.5 times the best)")
	flags.IntVar(&o.Guard.Repeats, "repeats", 0,
		"rounds per scenario that may be discarded (twice the rounds + 3)")
	flags.BoolVar(&o.Guard.Off, "unguarded", false, "count disturbed rounds too: a quick look, no figure")
	format := flags.String("o", "table", "format on standard output: table, md or json")
	folder := flags.String("out", "", "also write JSON, Markdown and plots into this folder; auto means "+
		"results/<date>-<machine>")
	if err := parse(flags, args); err != nil {
		return err
	}
	write, err := writerOf(*format)
	if err != nil {
		return err
	}
	if o.Rounds < 1 || o.For < 0 || o.Size < 0 || o.Members < 0 || o.Backlog < 0 {
		return usagef("-rounds, -for, -size, -members and -backlog: want nothing below 1")
	}
	asked, err := p.requests(flags.Args())
	if err != nil {
		return err
	}
	o.Command = strings.Join(append([]string{"bench", "run"}, args...), " ")
	o.Progress = func(text string) { fmt.Fprintln(p.log, text) }
	var invalid error
	for _, r := range asked {
		report, err := r.run(ctx, o)
		if err != nil {
			return err
		}
		if err := write(report, p.out); err != nil {
			return err
		}
		if *folder != "" {
			if err := p.keep(*folder, report); err != nil {
				return err
			}
		}
		invalid = errors.Join(invalid, report.Err())
	}
	return invalid
}

func (r *request) run(ctx context.Context, o benchkit.Options) (*benchkit.Report, error) {
	suite, err := r.make(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", r.name, err)
	}
	o.Only = r.scenarios
	return suite.Run(ctx, o)
}

// keep writes a report into a folder.
func (p *program) keep(folder string, r *benchkit.Report) error {
	if folder == autoFolder {
		day, _, _ := strings.Cut(r.Time, "T")
		if day == "" {
			day = time.Now().UTC().Format(time.DateOnly)
		}
		folder = filepath.Join("results", day+"-"+r.Env.Machine)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for end, write := range map[string]func(*benchkit.Report, io.Writer) error{
		"json": (*benchkit.Report).WriteJSON, "md": (*benchkit.Report).WriteMarkdown,
	} {
		if err := writeFile(filepath.Join(folder, r.Scenario+"."+end), r, write); err != nil {
			return err
		}
	}
	files, err := plot.Write(folder, r)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.log, "%s: %s.json, %s.md and %d plots\n", folder, r.Scenario, r.Scenario, len(files))
	return nil
}

func writeFile(path string, r *benchkit.Report, write func(*benchkit.Report, io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(r, file), file.Close())
}

// selfTest runs the harness against injected faults.
func (p *program) selfTest(ctx context.Context, args []string) error {
	flags := p.flagSet("selftest", "")
	format := flags.String("o", "table", "format on standard output: table, md or json")
	if err := parse(flags, args); err != nil {
		return err
	}
	write, err := writerOf(*format)
	if err != nil {
		return err
	}
	report, err := benchkit.SelfTest(ctx, benchkit.Options{Command: "bench selftest"})
	if err != nil {
		return err
	}
	if err := write(report, p.out); err != nil {
		return err
	}
	return report.Err()
}
