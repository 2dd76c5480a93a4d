package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
)

type directive = cobra.ShellCompDirective

// noFiles keeps a shell from proposing files where a name is wanted.
const noFiles = cobra.ShellCompDirectiveNoFileComp

// completionWait is how long a shell may hang because a server does not answer.
const completionWait = 500 * time.Millisecond

func newCompletion(a *app) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a completion script for a shell",
		Long: "Prints a script that completes verbs, flags, and names of topics and groups of the server that\n" +
			"LEAT_SERVER or --server names. For the shell that runs: source <(leat completion bash); for all later\n" +
			"ones write it where the shell looks for completions.",
		Example:   examples("leat completion bash", "leat completion zsh"),
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return usagef(cmd, "%q: want bash, zsh, fish or powershell", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return fmt.Errorf("no script for %q", args[0])
		},
	}
}

// complete asks the server for names; without an answer there are none.
func (a *app) complete(cmd *cobra.Command, list func(context.Context, *leat.Bus) []string) []string {
	if a.takeEnvironment(cmd) != nil {
		return nil
	}
	a.timeout = completionWait
	var names []string
	_ = a.request(cmd, func(ctx context.Context, bus *leat.Bus) error { // a shell shows no errors
		names = list(ctx, bus)
		return nil
	})
	return names
}

// completeTopic completes the first argument with topics.
func (a *app) completeTopic(cmd *cobra.Command, args []string, _ string) ([]string, directive) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.complete(cmd, topicNames), noFiles
}

// completeGroup completes the first argument with groups.
func (a *app) completeGroup(cmd *cobra.Command, args []string, _ string) ([]string, directive) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.complete(cmd, groupNames), noFiles
}

func (a *app) completeGroupFlag(cmd *cobra.Command, _ []string, _ string) ([]string, directive) {
	return a.complete(cmd, groupNames), noFiles
}

func (a *app) completeFlagWithTopics(cmd *cobra.Command, flag string) {
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc(flag,
		func(cmd *cobra.Command, _ []string, _ string) ([]string, directive) {
			return a.complete(cmd, topicNames), noFiles
		}))
}
