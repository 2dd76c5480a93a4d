package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// format is the value of -o.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
)

// String gives the format's name, as pflag wants it.
func (f *format) String() string { return string(*f) }

// Set takes the name of a format.
func (f *format) Set(name string) error {
	switch format(name) {
	case formatTable, formatJSON:
		*f = format(name)
		return nil
	}
	return errors.New("want table or json")
}

// Type names the value in help texts.
func (f *format) Type() string { return "table|json" }

// app is what all commands share.
type app struct {
	stdout, stderr io.Writer
	output         format
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	a := &app{stdout: stdout, stderr: stderr, output: formatTable}
	root := &cobra.Command{
		Use:   "leat",
		Short: "An event bus: durable, ordered by key, in one process",
		Long: "Leat is an event bus on memory-mapped logs. This build runs it inside one process;\n" +
			"it is not replicated yet.",
		Example:       examples("leat demo --for 10s", "leat bench log -o json", "leat version"),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usagef(cmd, "%v", err) })
	root.PersistentFlags().VarP(&a.output, "output", "o", "format of the result on standard output")
	root.AddCommand(newDemo(a), newBench(a), newCert(a), newVersion(a))
	asGroup(root)
	return root
}

// asGroup makes a command with verbs below it answer help without a verb, and the nearest verbs for
// one that it does not have.
func asGroup(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := &usageError{err: fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err.hint = fmt.Sprintf("did you mean %q?", strings.Join(near, `" or "`))
		} else {
			err.hint = helpHint(cmd)
		}
		return err
	}
}

// noArguments refuses what is neither verb nor flag.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(cmd, "unexpected argument %q", args[0])
	}
	return nil
}

// usageError is a mistake on the command line: exit code 2.
type usageError struct {
	err  error
	hint string
}

// Error is the mistake without the hint.
func (e *usageError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, text string, args ...any) error {
	return &usageError{err: fmt.Errorf(text, args...), hint: helpHint(cmd)}
}

func helpHint(cmd *cobra.Command) string { return "see: " + cmd.CommandPath() + " --help" }

// examples formats command lines for help. A test runs every one of them.
func examples(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }
