package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
)

// redriveDoc is what dlq redrive or drop has done or would do, whatever happened; the keys are stable.
type redriveDoc struct {
	Name     string `json:"name"`
	To       string `json:"to,omitempty"` // empty: where each came from
	DryRun   bool   `json:"dry_run"`
	Pending  int64  `json:"pending"` // when it began
	Redriven *int64 `json:"redriven,omitempty"`
	Dropped  *int64 `json:"dropped,omitempty"`
	Failed   int64  `json:"failed"` // refused by their topic: they stay
}

func newRedrive(a *app) *cobra.Command {
	var flags letterFlags
	var cfg leat.RedriveConfig
	cmd := &cobra.Command{
		Use:   "redrive NAME",
		Short: "Publish dead letters again",
		Long: "Publishes letters to the topic and partition they came from, or to the topic --to, and takes\n" +
			"them off the dead letters. It handles those that are there when it begins. Wherever it is\n" +
			"interrupted, the next call goes on with what is left.",
		Example: examples("leat dlq redrive trades.dlq.risk --dry-run",
			"leat dlq redrive trades.dlq.risk --code ATTEMPTS_EXHAUSTED --rate 100 --limit 10",
			"leat dlq redrive trades.dlq.risk -k ACME --to quakes -o json"),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: a.completeDeadLetters,
	}
	flags.add(cmd, 0, "redrive at most so many; 0 redrives all")
	cmd.Flags().Float64Var(&cfg.Rate, "rate", 0, "letters a second; 0 is as fast as it goes")
	cmd.Flags().StringVar(&cfg.To, "to", "", "publish to this topic, by key, not where they came from")
	cmd.Flags().BoolVar(&cfg.DryRun, "dry-run", false, "only count")
	a.completeFlagWithTopics(cmd, "to")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if cfg.Filter, err = flags.filter(cmd, a.clock.Now()); err != nil {
			return err
		}
		if !(cfg.Rate >= 0) {
			return usagef(cmd, "--rate %v: want 0 or more", cfg.Rate)
		}
		cfg.Limit = flags.limit
		doc := redriveDoc{Name: args[0], To: cfg.To, DryRun: cfg.DryRun}
		return a.handleLetters(cmd.Context(), &doc, "redriven", "redrive dead letters",
			func(ctx context.Context, bus *leat.Bus, tell letterTell) (leat.DeadLetterProgress, error) {
				cfg.Progress = tell
				done, err := bus.Redrive(ctx, args[0], cfg)
				doc.Redriven = &done.Done
				return done, err
			})
	}
	return cmd
}

func newDeadLettersDrop(a *app) *cobra.Command {
	var flags letterFlags
	var cfg leat.DropConfig
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop NAME",
		Short: "Give dead letters up for good",
		Long: "Drops letters: they are not redriven, shown or counted as pending any more, and go from the\n" +
			"disk. It handles those that are there when it begins.",
		Example: examples("leat dlq drop trades.dlq.risk --dry-run",
			"leat dlq drop trades.dlq.risk --code REJECTED --since 24h --yes",
			"leat dlq drop trades.dlq.risk --filter region=eu --limit 10 --yes -o json"),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: a.completeDeadLetters,
	}
	flags.add(cmd, 0, "drop at most so many; 0 drops all")
	cmd.Flags().BoolVar(&cfg.DryRun, "dry-run", false, "only count")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if cfg.Filter, err = flags.filter(cmd, a.clock.Now()); err != nil {
			return err
		}
		warning := fmt.Sprintf("This drops dead letters of %s for good.", args[0])
		if err := a.confirm(cmd, yes || cfg.DryRun, args[0], warning); err != nil {
			return err
		}
		cfg.Limit = flags.limit
		doc := redriveDoc{Name: args[0], DryRun: cfg.DryRun}
		return a.handleLetters(cmd.Context(), &doc, "dropped", "drop dead letters",
			func(ctx context.Context, bus *leat.Bus, tell letterTell) (leat.DeadLetterProgress, error) {
				cfg.Progress = tell
				done, err := bus.DropDeadLetters(ctx, args[0], cfg)
				doc.Dropped = &done.Done
				return done, err
			})
	}
	return cmd
}

// letterTell hears how far a job is.
type letterTell func(leat.DeadLetterProgress)

// letterWork redrives or drops.
type letterWork func(ctx context.Context, bus *leat.Bus, tell letterTell) (leat.DeadLetterProgress, error)

// handleLetters runs a job, however long it takes, with progress on a terminal, and tells what was done, also
// when it was interrupted. Letters that were refused make the command fail.
func (a *app) handleLetters(ctx context.Context, doc *redriveDoc, verb, op string, work letterWork) error {
	bus, err := a.connect(ctx)
	if err != nil {
		return err
	}
	finding, cancel := context.WithTimeout(ctx, a.timeout)
	_, err = findDeadLetters(finding, bus, op, doc.Name)
	cancel()
	if err != nil {
		_ = bus.Close() // the error that matters is the first
		return a.late(op, err)
	}
	tell, stop := a.letterProgress(verb)
	done, err := work(ctx, bus, tell)
	stop()
	doc.Pending, doc.Failed = done.Pending, done.Failed
	closing := bus.Close()
	wrote := a.write(doc, func() error {
		would := ""
		if doc.DryRun {
			would = "would have "
		}
		_, err := fmt.Fprintf(a.stdout, "%s%s %s of %s dead letters of %s", would, verb, grouped(done.Done),
			grouped(done.Pending), printable(doc.Name))
		if err == nil && done.Failed > 0 {
			_, err = fmt.Fprintf(a.stdout, ", %s failed and stay", grouped(done.Failed))
		}
		if err == nil {
			_, err = fmt.Fprintln(a.stdout)
		}
		return err
	})
	return cmp.Or(err, done.FirstFailure, wrote, closing)
}

// letterProgress shows how far a job is.
func (a *app) letterProgress(verb string) (tell letterTell, stop func()) {
	live := newLiveLine(a)
	next := a.clock.Mono()
	return func(p leat.DeadLetterProgress) {
		if now := a.clock.Mono(); now >= next {
			next = now + int64(progressEvery/time.Nanosecond)
			live.Show(fmt.Sprintf("%s %s of %s, %s failed", verb, grouped(p.Done), grouped(p.Pending),
				grouped(p.Failed)))
		}
	}, live.Done
}
