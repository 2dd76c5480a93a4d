package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// The processes that this program starts of itself.
const (
	leatVerb = "leat-server"
	natsVerb = "nats-server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == natsVerb:
		return natsServer(os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == leatVerb:
		return benchkit.NetServer(ctx, args[1], os.Stdin, os.Stdout)
	}
	return compare(ctx, args)
}

// compare runs both and prints the report.
func compare(ctx context.Context, args []string) (err error) {
	o := benchkit.Options{
		Progress: func(text string) { fmt.Fprintln(os.Stderr, text) },
		NetServer: func(ctx context.Context, dir string) (*exec.Cmd, error) {
			program, err := os.Executable()
			if err != nil {
				return nil, err
			}
			command := exec.CommandContext(ctx, program, leatVerb, dir)
			command.Stderr = os.Stderr
			return command, nil
		},
	}
	flags := flag.NewFlagSet("net", flag.ContinueOnError)
	flags.StringVar(&o.Dir, "dir", "", "folder for the data (the temporary folder)")
	flags.DurationVar(&o.For, "for", 5*time.Second, "time of each throughput round")
	flags.IntVar(&o.Rounds, "rounds", 5, "measured rounds")
	flags.IntVar(&o.Size, "size", 64, "value, bytes")
	flags.IntVar(&o.Idle, "connections", 1000, "idle connections to open")
	asJSON := flags.Bool("json", false, "print the report as JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	peer, err := startNATS(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peer.close()) }()
	report, err := benchkit.NetAgainst(ctx, o, peer)
	if err != nil {
		return err
	}
	if *asJSON {
		err = report.WriteJSON(os.Stdout)
	} else {
		err = report.WriteTable(os.Stdout)
	}
	if err != nil {
		return err
	}
	return report.Err()
}
