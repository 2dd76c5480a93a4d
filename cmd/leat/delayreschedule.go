package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

func newDelayReschedule(a *app) *cobra.Command {
	var delay, at string
	var d delaying
	cmd := &cobra.Command{
		Use:   "reschedule HANDLE --at TIME",
		Short: "Make a message that waits due at another time",
		Long: "Gives a message that waits another time, and prints its new handle: the old one is good for\n" +
			"nothing from then on. A time that has passed is now. It fails, and tells what became of the message,\n" +
			"where it does not wait any more.",
		Example: examples("leat delay reschedule d1.16.0.0.9f86d081 --delay 5m",
			"leat delay reschedule d1.16.0.0.9f86d081 --at 2035-01-01T09:00:00+01:00 -o json"),
		Args: oneArgument("HANDLE"),
	}
	cmd.Flags().StringVar(&delay, "delay", "", "deliver it so long from now, as 90s, 5m or 7d")
	cmd.Flags().StringVar(&at, "at", "", "deliver it at a time (RFC 3339 or a date)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := core.ParseDelayHandle(args[0]); err != nil {
			return usagef(cmd, "%v", err)
		}
		if err := d.parse(cmd, delay, at); err != nil {
			return err
		}
		if !d.deferred() {
			return usagef(cmd, "want --at or --delay")
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			return a.reschedule(ctx, bus, args[0], &d)
		})
	}
	return cmd
}

func (a *app) reschedule(ctx context.Context, bus *leat.Bus, handle string, d *delaying) error {
	now, at := time.Unix(0, a.clock.Now()), d.at
	if d.delay != 0 {
		at = now.Add(d.delay)
	}
	due, err := leat.DueTime("reschedule a delayed message", at, now)
	if err != nil {
		return err
	}
	moved, outcome, err := bus.Reschedule(ctx, handle, time.Unix(0, due))
	if err != nil {
		return err
	}
	doc := admindoc.RescheduledOf(handle, moved, outcome, due)
	err = a.write(doc, func() error {
		if moved == "" {
			_, err := fmt.Fprintln(a.stdout, handle, outcome)
			return err
		}
		_, err := fmt.Fprintln(a.stdout, moved, doc.Due)
		return err
	})
	if err == nil && moved == "" {
		err = &inputError{fmt.Errorf("the message was not rescheduled: %v", outcome),
			"leat delay ls lists those that wait"}
	}
	return err
}
