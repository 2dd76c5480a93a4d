package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

func newDelay(a *app) *cobra.Command {
	delay := &cobra.Command{
		Use:   "delay",
		Short: "List, cancel and reschedule delayed messages",
		Long: "What was published with --delay or --at waits until it is due. Each message has a handle,\n" +
			"which leat pub prints.",
		Example: examples("leat delay ls", "leat delay cancel --topic trades -k ACME --yes"),
	}
	delay.AddCommand(newDelayList(a), newDelayCancel(a), newDelayReschedule(a))
	asGroup(delay)
	return delay
}

// delayFlags choose delayed messages.
type delayFlags struct {
	topic, key, from, to string
}

func (f *delayFlags) add(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.topic, "topic", "", "only for this topic")
	flags.StringVarP(&f.key, "key", "k", "", "only with this key")
	flags.StringVar(&f.from, "from", "",
		"only those due then or later: 15m from now, -15m, or a time (RFC 3339)")
	flags.StringVar(&f.to, "to", "", "only those due before")
	a.completeFlagWithTopics(cmd, "topic")
}

// filter reads the flags.
func (f *delayFlags) filter(cmd *cobra.Command, now int64) (filter leat.DelayFilter, err error) {
	filter.Topic = f.topic
	if cmd.Flags().Changed("key") {
		filter.Key = append([]byte{}, f.key...)
	}
	if filter.From, err = parseDue(cmd, "from", f.from, now); err != nil {
		return filter, err
	}
	filter.To, err = parseDue(cmd, "to", f.to, now)
	return filter, err
}

// chosen reports whether any of the flags was given.
func (f *delayFlags) chosen(cmd *cobra.Command) bool {
	for _, name := range []string{"topic", "key", "from", "to"} {
		if cmd.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// parseDue reads the time of a flag, or a span from now; the zero time if it is empty.
func parseDue(cmd *cobra.Command, flag, text string, now int64) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ahead, err := parseSpan(text); err == nil {
		return time.Unix(0, now).Add(ahead), nil
	}
	if at, ok := parseTime(text); ok {
		return at, nil
	}
	return time.Time{}, usagef(cmd, "--%s %q: want a span from now such as 15m or -15m, or a time "+
		"(RFC 3339 or a date)", flag, text)
}

func newDelayList(a *app) *cobra.Command {
	var flags delayFlags
	limit, after := 100, ""
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List messages that wait, those that are due first",
		Long: "Lists messages that wait until they are due. It changes nothing. Where --limit ends it early, it\n" +
			"tells with which --after to go on.",
		Example: examples("leat delay ls", "leat delay ls --topic trades -k ACME -o json",
			"leat delay ls --to 1h --limit 10", "leat delay ls --from 2027-01-01"),
		Args: noArguments,
	}
	flags.add(a, cmd)
	cmd.Flags().Var(newPositive(func(n int64) { limit = int(n) }, leat.MaxDelayedPage), "limit",
		"list at most so many (100)")
	cmd.Flags().StringVar(&after, "after", "", "go on where a page ended")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := flags.filter(cmd, a.clock.Now())
		if err != nil {
			return err
		}
		filter.After = after
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			page, err := listDelayed(ctx, bus, filter, limit)
			if err != nil {
				return explain(ctx, bus, err, filter.Topic)
			}
			return a.writeDelayed(&page)
		})
	}
	return cmd
}

// listDelayed reads pages until there are so many messages, or no more.
func listDelayed(ctx context.Context, bus *leat.Bus, filter leat.DelayFilter, limit int) (
	all leat.DelayedPage, err error,
) {
	for {
		filter.Limit = limit - len(all.Messages)
		page, err := bus.Delayed(ctx, filter)
		if err != nil {
			return all, err
		}
		all.Messages, all.Next = append(all.Messages, page.Messages...), page.Next
		if page.Next == "" || len(all.Messages) == limit {
			return all, nil
		}
		filter.After = page.Next
	}
}

func (a *app) writeDelayed(page *leat.DelayedPage) error {
	doc := admindoc.DelayedPageOf(page)
	return a.write(doc, func() error {
		grid := newGrid(a.stdout, "handle", "due", "topic", "#partition", "key", "#bytes")
		for i := range page.Messages {
			m := &page.Messages[i]
			grid.row(m.Handle, doc.Messages[i].Due, m.Topic, strconv.Itoa(int(m.Partition)), shortened(m.Key),
				grouped(int64(m.Bytes)))
		}
		if err := grid.flush(); err != nil || page.Next == "" {
			return err
		}
		_, err := fmt.Fprintf(a.stderr, "there may be more; go on with --after %s\n", page.Next)
		return err
	})
}

// delaying is when messages are to be delivered.
type delaying struct {
	delay time.Duration
	at    time.Time
}

// deferred reports whether that is later.
func (d *delaying) deferred() bool { return d.delay != 0 || !d.at.IsZero() }

// parse reads --delay and --at.
func (d *delaying) parse(cmd *cobra.Command, delay, at string) error {
	flags := cmd.Flags()
	switch {
	case flags.Changed("delay") && flags.Changed("at"):
		return usagef(cmd, "--delay and --at: want one of them")
	case (flags.Changed("delay") || flags.Changed("at")) && flags.Changed("id"):
		return usagef(cmd, "--id: a delayed message has none")
	}
	if flags.Changed("delay") {
		span, err := parseSpan(delay)
		if err != nil || span < core.MinDelay || span > core.MaxDelay {
			return usagef(cmd, "--delay %q: want a span of %v to 3653d, such as 90s, 5m or 7d", delay, core.MinDelay)
		}
		d.delay = span
	}
	if flags.Changed("at") {
		var ok bool
		if d.at, ok = parseTime(at); !ok {
			return usagef(cmd, "--at %q: want a time (RFC 3339, or a date)", at)
		}
	}
	return nil
}
