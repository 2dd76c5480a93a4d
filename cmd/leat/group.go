package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

func newGroup(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "group",
		Short: "List, describe, reset and remove consumer groups",
		Long: "A group is named by its topic too: it may read several topics and has its own place in each.\n" +
			"Lag is what a group has not acknowledged, in messages and as the age of the oldest of them.",
		Example: examples("leat group ls", "leat group describe risk"),
	}
	group.AddCommand(newGroupList(a), newGroupDescribe(a), newGroupReset(a), newGroupRemove(a))
	asGroup(group)
	return group
}

// countCells are the counts of a queue group for people.
func countCells(c *admindoc.QueueCounts) []string {
	return []string{countText(c.Ready), countText(c.Leased), countText(c.Delayed)}
}

// isQueue reports whether members share the messages and not the partitions.
func isQueue(d *admindoc.Group) bool { return d.Mode != leat.GroupStream.String() }

func newGroupList(a *app) *cobra.Command {
	var over time.Duration
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the groups with their lag",
		Long: "Lists the groups with their lag in messages and as the age of the oldest of them; - if that is\n" +
			"not known. Of queue and key-shared groups it tells, too, how many of these messages are ready, leased\n" +
			"to members, and delayed after an attempt that failed.",
		Example: examples("leat group ls", "leat group ls --over 100ms -o json"),
		Args:    noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.checkOver(cmd, over); err != nil {
			return err
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			groups, missing := a.groups(ctx, bus, over)
			if missing != nil && len(groups) == 0 {
				return missing
			}
			docs := make([]admindoc.Group, len(groups))
			for i := range groups {
				docs[i] = admindoc.GroupOf(&groups[i])
			}
			err := a.write(docs, func() error { return a.writeGroupList(docs, over) })
			return cmp.Or(err, missing)
		})
	}
	overFlag(cmd, &over)
	return cmd
}

// writeGroupList writes a line for each group; counts of queues only where there is a queue group.
func (a *app) writeGroupList(docs []admindoc.Group, over time.Duration) error {
	columns := []string{"group", "topic", "mode", "#members", "#lag", "#age"}
	queues := slices.ContainsFunc(docs, func(d admindoc.Group) bool { return isQueue(&d) })
	if queues {
		columns = append(columns, queueColumns...)
	}
	grid := newGrid(a.stdout, withPace(over, columns...)...)
	for i := range docs {
		d := &docs[i]
		cells := []string{d.Group, d.Topic, d.Mode, strconv.Itoa(len(d.Members)), countText(d.Lag),
			humanAge(d.LagSeconds)}
		if queues {
			cells = append(cells, countCells(&d.QueueCounts)...)
		}
		grid.row(paced(&d.GroupLag, over, cells)...)
	}
	return grid.flush()
}

var queueColumns = []string{"#ready", "#leased", "#delayed"}

// findGroup gives what a group has on a topic, or on all topics if topic is empty.
func findGroup(ctx context.Context, bus *leat.Bus, op, name, topic string) ([]leat.GroupInfo, error) {
	return findGroupIn(ctx, bus, op, name, topic, bus.Groups)
}

// findGroupIn is findGroup in the groups that list gives.
func findGroupIn(ctx context.Context, bus *leat.Bus, op, name, topic string,
	list func(context.Context) ([]leat.GroupInfo, error)) ([]leat.GroupInfo, error) {
	if topic != "" {
		if _, err := findTopic(ctx, bus, op+" "+core.Quote(name)+" on topic", topic); err != nil {
			return nil, err
		}
	}
	groups, missing := list(ctx)
	groups = slices.DeleteFunc(groups, func(g leat.GroupInfo) bool {
		return g.Group != name || topic != "" && g.Topic != topic
	})
	if len(groups) > 0 {
		return groups, nil // one node coordinates a group on all topics
	}
	if missing != nil {
		return nil, missing
	}
	what := op + " " + core.Quote(name)
	if topic != "" {
		what += " on topic " + core.Quote(topic)
	}
	return nil, explain(ctx, bus, core.NewError(core.CodeGroupNotFound, what, nil), name)
}

func newGroupDescribe(a *app) *cobra.Command {
	var topic string
	var over time.Duration
	cmd := &cobra.Command{
		Use:     "describe GROUP",
		Aliases: []string{"show"},
		Short:   "Show the members of a group, what they own and its lag",
		Long: "Shows each partition of a group: who reads it, up to where it has acknowledged, and its lag in\n" +
			"messages and as the age of the oldest message not acknowledged; - if that is not known. Of a queue\n" +
			"or key-shared group it shows how many messages are ready, leased and delayed. With --over it watches\n" +
			"the group, and tells how fast it acknowledges and when it is done at that pace.",
		Example: examples("leat group describe risk", "leat group describe risk --topic trades -o json",
			"leat group describe risk --over 100ms"),
		Args:              oneArgument("GROUP"),
		ValidArgsFunction: a.completeGroup,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.checkOver(cmd, over); err != nil {
			return err
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			groups, err := findGroupIn(ctx, bus, "describe group", args[0], topic,
				func(ctx context.Context) ([]leat.GroupInfo, error) { return a.groups(ctx, bus, over) })
			if err != nil {
				return err
			}
			docs := make([]admindoc.Group, len(groups))
			for i := range groups {
				docs[i] = admindoc.FullGroupOf(&groups[i])
			}
			return a.write(docs, func() error { return a.writeGroups(docs, over) })
		})
	}
	cmd.Flags().StringVar(&topic, "topic", "", "only on this topic")
	overFlag(cmd, &over)
	a.completeFlagWithTopics(cmd, "topic")
	return cmd
}

func (a *app) writeGroups(docs []admindoc.Group, over time.Duration) error {
	for i := range docs {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		write := a.writeStreamGroup
		if isQueue(&docs[i]) {
			write = a.writeQueueGroup
		}
		if err := write(&docs[i], over); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) writeStreamGroup(d *admindoc.Group, over time.Duration) error {
	fmt.Fprintf(a.stdout, "%s on %s: members %d, generation %d, lag %s, %s\n\n", printable(d.Group), d.Topic,
		len(d.Members), d.Generation, countText(d.Lag), humanAge(d.LagSeconds))
	grid := newGrid(a.stdout, withPace(over, "#partition", "member", "#committed", "#lag", "#age")...)
	for i := range d.PerPartition {
		p := &d.PerPartition[i]
		grid.row(paced(&p.GroupLag, over, []string{strconv.Itoa(int(p.Partition)), cmp.Or(p.Member, "-"),
			countText(p.Committed), countText(p.Lag), humanAge(p.LagSeconds)})...)
	}
	return grid.flush()
}

// writeQueueGroup shows a group whose members own no partitions.
func (a *app) writeQueueGroup(d *admindoc.Group, over time.Duration) error {
	fmt.Fprintf(a.stdout, "%s on %s: %s, members %d, lag %s, %s\n\n", printable(d.Group), d.Topic, d.Mode,
		len(d.Members), countText(d.Lag), humanAge(d.LagSeconds))
	columns := append([]string{"#partition", "#next"}, append(queueColumns, "#lag", "#age")...)
	grid := newGrid(a.stdout, withPace(over, columns...)...)
	for i := range d.PerPartition {
		p := &d.PerPartition[i]
		cells := append([]string{strconv.Itoa(int(p.Partition)), countText(p.Committed)},
			countCells(&p.QueueCounts)...)
		grid.row(paced(&p.GroupLag, over, append(cells, countText(p.Lag), humanAge(p.LagSeconds)))...)
	}
	return grid.flush()
}

func newGroupReset(a *app) *cobra.Command {
	var topic, to string
	var dry bool
	cmd := &cobra.Command{
		Use:   "reset GROUP --topic T --to POSITION",
		Short: "Make a group go on somewhere else",
		Long: "Sets where a group without members goes on in every partition of a topic: at earliest, latest,\n" +
			"an offset, or the first message at or after @TIME.",
		Example: examples("leat group reset risk --topic trades --to earliest --dry-run",
			"leat group reset risk --topic trades --to @2026-01-31T12:00:00Z -o json"),
		Args:              oneArgument("GROUP"),
		ValidArgsFunction: a.completeGroup,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if topic == "" || to == "" {
			return usagef(cmd, "want --topic and --to")
		}
		position, err := parsePosition(to, a.clock.Now())
		if err != nil {
			return usagef(cmd, "--to %v", err)
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			doc := admindoc.GroupReset{Group: args[0], Topic: topic, To: to, DryRun: dry}
			if err := a.resetGroup(ctx, bus, &doc, position); err != nil {
				return err
			}
			return a.write(doc, func() error { return a.writeReset(&doc) })
		})
	}
	cmd.Flags().StringVar(&topic, "topic", "", "the topic (required)")
	cmd.Flags().StringVar(&to, "to", "", "earliest, latest, an offset, @TIME or -15m (required)")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only tell what would change")
	a.completeFlagWithTopics(cmd, "topic")
	return cmd
}

// resetGroup fills in doc where each partition was and where it is, or would be.
func (a *app) resetGroup(ctx context.Context, bus *leat.Bus, doc *admindoc.GroupReset,
	to leat.Position) error {
	before, err := findGroup(ctx, bus, "reset group", doc.Group, doc.Topic)
	if err != nil {
		return err
	}
	info, err := findTopic(ctx, bus, "reset group on topic", doc.Topic)
	if err != nil {
		return err
	}
	doc.Begin(&before[0])
	if doc.DryRun {
		if members := len(before[0].Members); members > 0 {
			return core.Errorf(core.CodeGroupActive, "reset group "+core.Quote(doc.Group), "%d members", members)
		}
		return doc.Foresee(info, to)
	}
	if err := bus.ResetGroup(ctx, doc.Group, doc.Topic, to); err != nil {
		return explain(ctx, bus, err, doc.Group)
	}
	after, err := findGroup(ctx, bus, "reset group", doc.Group, doc.Topic)
	if err != nil {
		return err
	}
	doc.End(&after[0])
	return nil
}

func (a *app) writeReset(doc *admindoc.GroupReset) error {
	verb := "reset"
	if doc.DryRun {
		verb = "would reset"
	}
	fmt.Fprintf(a.stdout, "%s %s on %s to %s\n\n", verb, printable(doc.Group), doc.Topic, printable(doc.To))
	grid := newGrid(a.stdout, "#partition", "#from", "#to")
	for _, p := range doc.PerPartition {
		grid.row(strconv.Itoa(int(p.Partition)), countText(p.From), countText(p.To))
	}
	return grid.flush()
}

func newGroupRemove(a *app) *cobra.Command {
	var topic string
	var yes, dry bool
	cmd := &cobra.Command{
		Use:   "rm GROUP --topic T",
		Short: "Forget what a group has acknowledged on a topic",
		Example: examples("leat group rm risk --topic trades --dry-run", "leat group rm risk --topic trades --yes",
			"leat group rm risk --topic trades --yes -o json"),
		Args:              oneArgument("GROUP"),
		ValidArgsFunction: a.completeGroup,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if topic == "" {
			return usagef(cmd, "want --topic")
		}
		doc := admindoc.Forgotten{DryRun: dry}
		err := a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			groups, err := findGroup(ctx, bus, "remove group", args[0], topic)
			if err != nil {
				return err
			}
			doc.Group = admindoc.FullGroupOf(&groups[0])
			if members := len(doc.Members); dry && members > 0 {
				return core.Errorf(core.CodeGroupActive, "remove group "+core.Quote(args[0]), "%d members", members)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if dry {
			return a.write(doc, func() error {
				_, err := fmt.Fprintf(a.stdout, "would remove %s on %s: lag %s\n", printable(args[0]), topic,
					countText(doc.Lag))
				return err
			})
		}
		if err := a.confirm(cmd, yes, args[0],
			fmt.Sprintf("This forgets where group %s is on topic %s.", args[0], topic)); err != nil {
			return err
		}
		err = a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			return explain(ctx, bus, bus.DeleteGroup(ctx, args[0], topic), args[0])
		})
		if err != nil {
			return err
		}
		return a.write(doc, func() error {
			_, err := fmt.Fprintf(a.stdout, "removed %s on %s\n", printable(args[0]), topic)
			return err
		})
	}
	cmd.Flags().StringVar(&topic, "topic", "", "the topic (required)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only tell what would go")
	a.completeFlagWithTopics(cmd, "topic")
	return cmd
}
