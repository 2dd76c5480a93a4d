package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// Exit codes that the table of errors does not give.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitAbsent      = 3
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the first signal on the default holds again, so that a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code. It returns soon after ctx ends, with
// everything cleaned up.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return newApp(os.Stdin, stdout, stderr).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		printError(a.stderr, errors.New("interrupted"), "")
		return exitInterrupted
	}
	if e, ok := errors.AsType[*usageError](err); ok {
		printError(a.stderr, e.err, e.hint)
		return exitUsage
	}
	if e, ok := errors.AsType[*inputError](err); ok {
		printError(a.stderr, e.err, e.hint)
		return exitFailed
	}
	if e, ok := errors.AsType[*absentError](err); ok {
		printError(a.stderr, e.err, e.hint)
		return exitAbsent
	}
	printError(a.stderr, err, leat.HintFor(err))
	return core.CodeOf(err).Info().Exit
}
