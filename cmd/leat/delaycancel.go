package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

// cancelAtOnce is how many messages are cancelled at the same time.
const cancelAtOnce = 32

// cancelledDoc is the result of leat delay cancel; the keys are stable.
type cancelledDoc struct {
	DryRun    bool                      `json:"dry_run,omitempty"`
	Cancelled int                       `json:"cancelled"`
	Others    int                       `json:"others"`             // that were not: Messages says why
	Messages  []admindoc.DelayedOutcome `json:"messages,omitempty"` // if handles were given
}

func newDelayCancel(a *app) *cobra.Command {
	var flags delayFlags
	var yes, dryRun bool
	cmd := &cobra.Command{
		Use:   "cancel [HANDLE...]",
		Short: "Cancel messages that wait",
		Long: "Cancels messages by their handles, and tells what became of each: cancelled; or fired,\n" +
			"rescheduled or dropped before; or unknown. With --topic, --key, --from or --to it cancels all that\n" +
			"fit, as leat delay ls lists them. What is not cancelled makes it fail.",
		Example: examples("leat delay cancel -k ACME --dry-run",
			"leat delay cancel --topic trades --from 1h --to 2h --yes -o json"),
		Args: func(cmd *cobra.Command, args []string) error {
			switch chosen := flags.chosen(cmd); {
			case len(args) == 0 && !chosen:
				return usagef(cmd, "nothing to cancel: want HANDLE, or --topic, --key, --from or --to")
			case len(args) > 0 && (chosen || dryRun):
				return usagef(cmd, "handles, and flags that choose: want one of them")
			}
			return nil
		},
	}
	flags.add(a, cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return a.cancelHandles(cmd, args)
		}
		filter, err := flags.filter(cmd, a.clock.Now())
		if err != nil {
			return err
		}
		const warning = "This cancels all delayed messages that fit."
		if err := a.confirm(cmd, yes || dryRun, "cancel", warning); err != nil {
			return err
		}
		return a.cancelChosen(cmd.Context(), filter, dryRun)
	}
	return cmd
}

// cancelHandles cancels messages one after the other, so that what is told is in the order of the handles.
func (a *app) cancelHandles(cmd *cobra.Command, handles []string) error {
	var doc cancelledDoc
	for _, handle := range handles {
		if _, err := core.ParseDelayHandle(handle); err != nil {
			return usagef(cmd, "%v", err)
		}
	}
	return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
		for _, handle := range handles {
			outcome, err := bus.CancelDelayed(ctx, handle)
			if err != nil {
				return err
			}
			doc.count(outcome)
			doc.Messages = append(doc.Messages, admindoc.DelayedOutcome{Handle: handle, Outcome: outcome.String()})
		}
		err := a.write(doc, func() error {
			for _, m := range doc.Messages {
				if _, err := fmt.Fprintln(a.stdout, m.Handle, m.Outcome); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return doc.failure()
	})
}

func (d *cancelledDoc) count(outcome leat.DelayOutcome) {
	if outcome == leat.DelayCancelled {
		d.Cancelled++
	} else {
		d.Others++
	}
}

// failure is an error where something was not cancelled.
func (d *cancelledDoc) failure() error {
	if d.Others == 0 {
		return nil
	}
	return &inputError{fmt.Errorf("%d of %d messages were not cancelled", d.Others, d.Others+d.Cancelled),
		"fired means that a message is in its topic already: leat delay ls lists those that wait"}
}

// cancelChosen cancels all that fit, however long it takes, and tells how many were, also when it failed.
func (a *app) cancelChosen(ctx context.Context, filter leat.DelayFilter, dryRun bool) error {
	bus, err := a.connect(ctx)
	if err != nil {
		return err
	}
	doc := cancelledDoc{DryRun: dryRun}
	err = cancelAll(ctx, bus, filter, &doc)
	if err != nil {
		err = explain(ctx, bus, err, filter.Topic)
	}
	writing := a.write(doc, func() error {
		verb := "cancelled"
		if dryRun {
			verb = "would have cancelled"
		}
		_, err := fmt.Fprintf(a.stdout, "%s %s delayed messages\n", verb, grouped(int64(doc.Cancelled)))
		return err
	})
	closing := bus.Close()
	for _, failure := range []error{err, writing, doc.failure()} {
		if failure != nil {
			return failure
		}
	}
	return closing
}

func cancelAll(ctx context.Context, bus *leat.Bus, filter leat.DelayFilter, doc *cancelledDoc) error {
	filter.Limit = leat.MaxDelayedPage
	for {
		page, err := bus.Delayed(ctx, filter)
		if err != nil {
			return err
		}
		if doc.DryRun {
			doc.Cancelled += len(page.Messages)
		} else if err := cancelPage(ctx, bus, page.Messages, doc); err != nil {
			return err
		}
		if page.Next == "" {
			return nil
		}
		filter.After = page.Next
	}
}

// cancelPage cancels messages, some at the same time. It gives the first error.
func cancelPage(ctx context.Context, bus *leat.Bus, page []leat.DelayedMessage, doc *cancelledDoc) error {
	var (
		working sync.WaitGroup
		mu      sync.Mutex // guards the following, and doc
		next    int
		failure error
	)
	for range min(cancelAtOnce, len(page)) {
		working.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for failure == nil && next < len(page) {
				handle := page[next].Handle
				next++
				mu.Unlock()
				outcome, err := bus.CancelDelayed(ctx, handle)
				mu.Lock()
				if err == nil {
					doc.count(outcome)
				} else if failure == nil {
					failure = err
				}
			}
		})
	}
	working.Wait()
	return failure
}
