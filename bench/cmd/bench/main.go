package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := &program{out: os.Stdout, log: os.Stderr, suites: suites}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// program is one call of the command.
type program struct {
	out, log io.Writer
	suites   []entry
}

const usage = `bench measures Leat beside peers and floors.

  bench list                             suites, scenarios and cases
  bench run [flags] [suite[/scenario]…]  measure; all suites if none is named
  bench compare [-o md] BASE.json NEW.json   exit code 1 if anything of ours got worse
  bench selftest [-o json]               check that the harness finds stalls, losses and disorder
  bench plot [-out DIR] REPORT.json…     draw reports as SVG and PNG

Flags of each: bench COMMAND -h. How to read the results: docs/benchmarking.md
`

// usageError is a mistake on the command line.
type usageError struct{ text string }

// Error implements error.
func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// run executes a command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	err := p.dispatch(ctx, args)
	var wrong *usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(p.log, "interrupted")
		return exitInterrupted
	case errors.As(err, &wrong):
		fmt.Fprintf(p.log, "error: %v\nrun: bench help\n", err)
		return exitUsage
	default:
		fmt.Fprintln(p.log, "error:", err)
		return exitFailed
	}
}

func (p *program) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usagef("which command?")
	}
	switch command, rest := args[0], args[1:]; command {
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(p.out, usage)
		return err
	case "list":
		return p.list(ctx)
	case "run":
		return p.measure(ctx, rest)
	case "compare":
		return p.compare(rest)
	case "selftest":
		return p.selfTest(ctx, rest)
	case "plot":
		return p.plot(rest)
	default:
		return usagef("no command %q", command)
	}
}

// flagSet makes the flags of a command; its mistakes are usage errors.
func (p *program) flagSet(command, arguments string) *flag.FlagSet {
	flags := flag.NewFlagSet("bench "+command, flag.ContinueOnError)
	flags.SetOutput(p.log)
	flags.Usage = func() {
		fmt.Fprintf(p.log, "usage: bench %s [flags] %s\n", command, arguments)
		flags.PrintDefaults()
	}
	return flags
}

func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return usagef("%v", err)
	}
	return err
}
