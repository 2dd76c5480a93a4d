package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// format is the value of -o.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

// String gives the format's name, as pflag wants it.
func (f *format) String() string { return string(*f) }

// Set takes the name of a format.
func (f *format) Set(name string) error {
	switch format(name) {
	case formatTable, formatJSON, formatYAML:
		*f = format(name)
		return nil
	}
	return errors.New("want table, json or yaml")
}

// Type names the value in help texts.
func (f *format) Type() string { return "table|json|yaml" }

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "leat",
		Short: "An event bus: durable, ordered by key",
		Long: "Leat is an event bus on memory-mapped logs. leat serve runs a node, the other verbs talk to one\n" +
			"(--server, LEAT_SERVER). Data goes to standard output, everything else to standard error.",
		Example: examples("leat version", "leat topic create orders --partitions 4", "leat pub trades 110 -k ACME",
			"leat sub trades --from earliest --count 1"),
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.takeEnvironment(cmd) },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usagef(cmd, "%v", err) })
	a.addFlags(root)
	root.AddCommand(newServe(a), newTopic(a), newGroup(a), newPub(a), newSub(a), newRequest(a), newReply(a),
		newDelay(a), newSchedule(a), newDeadLetters(a), newPush(a), newCluster(a), newTop(a), newLog(a),
		newCompletion(a), newCert(a), newToken(a), newConfig(a), newDemo(a),
		newBench(a), newVersion(a))
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

// inputError is a mistake in what a command was given to work on: exit code 1.
type inputError struct {
	err  error
	hint string
}

// Error is the mistake without the hint.
func (e *inputError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *inputError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, text string, args ...any) error {
	return &usageError{err: fmt.Errorf(text, args...), hint: helpHint(cmd)}
}

func helpHint(cmd *cobra.Command) string { return "see: " + cmd.CommandPath() + " --help" }

// examples formats command lines for help. A test runs every one of them.
func examples(lines ...string) string { return "  " + strings.Join(lines, "\n  ") }

// oneArgument refuses anything but one argument, named what.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef(cmd, "%d arguments: want %s", len(args), what)
		}
		return nil
	}
}
