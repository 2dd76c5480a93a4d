package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/benchkit"
)

// netServerVerb is the server process of bench net.
const netServerVerb = "net-server"

func newNetServer(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    netServerVerb + " DIR",
		Short:  "Serve a bus until standard input ends",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return benchkit.NetServer(cmd.Context(), args[0], os.Stdin, a.stdout)
		},
	}
}

// netServerProcess is this program once more.
func netServerProcess(ctx context.Context, dir string) (*exec.Cmd, error) {
	return itself(ctx, "bench", netServerVerb, dir)
}

// serveProcess runs `leat serve` until it says that it is ready.
func serveProcess(ctx context.Context, dir string) (stop func() error, err error) {
	command, err := itself(ctx, "serve", "--data", dir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	command.Stderr = nil
	log, err := command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready") {
			return func() error {
				err := command.Process.Signal(syscall.SIGTERM)
				for lines.Scan() { // until it has ended
				}
				return errors.Join(err, command.Wait())
			}, nil
		}
	}
	return nil, fmt.Errorf("a server that never was ready: %w", command.Wait())
}

// itself gives the command that runs this program again.
func itself(ctx context.Context, args ...string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to start it once more: %w", err)
	}
	command := exec.CommandContext(ctx, program, args...)
	command.Stderr = os.Stderr
	return command, nil
}

func connectionsFlag(cmd *cobra.Command, o *benchkit.Options) {
	cmd.Flags().Var(newPositive(func(n int64) { o.Idle = int(n) }, core.MaxPartitions), "connections",
		"idle connections to open (1000)")
}

func idleForFlag(cmd *cobra.Command, o *benchkit.Options) {
	cmd.Flags().Var((*positiveDuration)(&o.IdleFor), "idle-for", "how long to watch an idle server (10s)")
}
