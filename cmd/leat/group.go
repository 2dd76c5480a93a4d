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

// groupDoc is a group on one topic; the keys are stable. What is not known is absent.
type groupDoc struct {
	Group        string   `json:"group"`
	Topic        string   `json:"topic"`
	Mode         string   `json:"mode"` // stream, queue or key-shared
	Generation   int32    `json:"generation"`
	Members      []string `json:"members"`
	lagDoc       `yaml:",inline"`
	countsDoc    `yaml:",inline"`
	PerPartition []groupPartitionDoc `json:"per_partition,omitempty"`
}

// groupPartitionDoc is one partition of a group.
type groupPartitionDoc struct {
	Partition int32  `json:"partition"`
	Member    string `json:"member"`    // empty: nobody
	Committed int64  `json:"committed"` // -1: nothing was committed
	lagDoc    `yaml:",inline"`
	countsDoc `yaml:",inline"`
}

// countsDoc is where the messages stand that a queue group has not settled; absent in a stream group, and
// where a node does not tell.
type countsDoc struct {
	Ready   *int64 `json:"ready,omitempty"`
	Leased  *int64 `json:"leased,omitempty"`
	Delayed *int64 `json:"delayed,omitempty"`
}

func describeCounts(mode leat.GroupMode, c leat.QueueCounts) countsDoc {
	if mode == leat.GroupStream || c.Ready < 0 {
		return countsDoc{}
	}
	return countsDoc{&c.Ready, &c.Leased, &c.Delayed}
}

// cells are the counts for people.
func (d *countsDoc) cells() []string {
	if d.Ready == nil {
		return []string{"-", "-", "-"}
	}
	return []string{grouped(*d.Ready), grouped(*d.Leased), grouped(*d.Delayed)}
}

// isQueue reports whether members share the messages and not the partitions.
func (d *groupDoc) isQueue() bool { return d.Mode != leat.GroupStream.String() }

func describeGroup(g *leat.GroupInfo) groupDoc {
	members := append([]string{}, g.Members...) // an empty list, not null
	doc := groupDoc{Group: g.Group, Topic: g.Topic, Mode: g.Mode.String(), Generation: g.Generation,
		Members: members, lagDoc: describeLag(g.Lag()), countsDoc: describeCounts(g.Mode, g.QueueCounts())}
	for _, p := range g.Partitions {
		doc.PerPartition = append(doc.PerPartition, groupPartitionDoc{
			Partition: p.Partition, Member: p.Member, Committed: p.Committed,
			lagDoc: describeLag(leat.GroupLag{Records: p.LagRecords, Time: p.LagTime, AckRate: p.AckRate,
				TimeToZero: p.TimeToZero}),
			countsDoc: describeCounts(g.Mode, p.Queue),
		})
	}
	return doc
}

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
			docs := make([]groupDoc, len(groups))
			for i := range groups {
				docs[i] = describeGroup(&groups[i])
				docs[i].PerPartition = nil
			}
			err := a.write(docs, func() error { return a.writeGroupList(docs, over) })
			return cmp.Or(err, missing)
		})
	}
	overFlag(cmd, &over)
	return cmd
}

// writeGroupList writes a line for each group; counts of queues only where there is a queue group.
func (a *app) writeGroupList(docs []groupDoc, over time.Duration) error {
	columns := []string{"group", "topic", "mode", "#members", "#lag", "#age"}
	queues := slices.ContainsFunc(docs, func(d groupDoc) bool { return d.isQueue() })
	if queues {
		columns = append(columns, queueColumns...)
	}
	grid := newGrid(a.stdout, withPace(over, columns...)...)
	for _, d := range docs {
		cells := []string{d.Group, d.Topic, d.Mode, strconv.Itoa(len(d.Members)), lagText(d.Lag),
			humanAge(d.LagSeconds)}
		if queues {
			cells = append(cells, d.countsDoc.cells()...)
		}
		grid.row(d.paced(over, cells)...)
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
			docs := make([]groupDoc, len(groups))
			for i := range groups {
				docs[i] = describeGroup(&groups[i])
			}
			return a.write(docs, func() error { return a.writeGroups(docs, over) })
		})
	}
	cmd.Flags().StringVar(&topic, "topic", "", "only on this topic")
	overFlag(cmd, &over)
	a.completeFlagWithTopics(cmd, "topic")
	return cmd
}

func (a *app) writeGroups(docs []groupDoc, over time.Duration) error {
	for i, d := range docs {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		var err error
		if d.isQueue() {
			err = a.writeQueueGroup(&d, over)
		} else {
			err = a.writeStreamGroup(&d, over)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) writeStreamGroup(d *groupDoc, over time.Duration) error {
	fmt.Fprintf(a.stdout, "%s on %s: members %d, generation %d, lag %s, %s\n\n", printable(d.Group), d.Topic,
		len(d.Members), d.Generation, lagText(d.Lag), humanAge(d.LagSeconds))
	grid := newGrid(a.stdout, withPace(over, "#partition", "member", "#committed", "#lag", "#age")...)
	for _, p := range d.PerPartition {
		grid.row(p.paced(over, []string{strconv.Itoa(int(p.Partition)), cmp.Or(p.Member, "-"),
			offsetText(p.Committed), lagText(p.Lag), humanAge(p.LagSeconds)})...)
	}
	return grid.flush()
}

// writeQueueGroup shows a group whose members own no partitions.
func (a *app) writeQueueGroup(d *groupDoc, over time.Duration) error {
	fmt.Fprintf(a.stdout, "%s on %s: %s, members %d, lag %s, %s\n\n", printable(d.Group), d.Topic, d.Mode,
		len(d.Members), lagText(d.Lag), humanAge(d.LagSeconds))
	columns := append([]string{"#partition", "#next"}, append(queueColumns, "#lag", "#age")...)
	grid := newGrid(a.stdout, withPace(over, columns...)...)
	for _, p := range d.PerPartition {
		cells := append([]string{strconv.Itoa(int(p.Partition)), offsetText(p.Committed)}, p.countsDoc.cells()...)
		grid.row(p.paced(over, append(cells, lagText(p.Lag), humanAge(p.LagSeconds)))...)
	}
	return grid.flush()
}

// offsetText is an offset for people, - if there is none.
func offsetText(offset int64) string {
	if offset < 0 {
		return "-"
	}
	return grouped(offset)
}

// resetDoc is what group reset has done or would do.
type resetDoc struct {
	Group        string              `json:"group"`
	Topic        string              `json:"topic"`
	To           string              `json:"to"`
	DryRun       bool                `json:"dry_run"`
	PerPartition []resetPartitionDoc `json:"per_partition"`
}

type resetPartitionDoc struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"` // -1: nothing was committed
	To        int64 `json:"to"`   // -1: not known before it is done
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
			doc := resetDoc{Group: args[0], Topic: topic, To: to, DryRun: dry}
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
func (a *app) resetGroup(ctx context.Context, bus *leat.Bus, doc *resetDoc, to leat.Position) error {
	before, err := findGroup(ctx, bus, "reset group", doc.Group, doc.Topic)
	if err != nil {
		return err
	}
	info, err := findTopic(ctx, bus, "reset group on topic", doc.Topic)
	if err != nil {
		return err
	}
	for _, p := range before[0].Partitions {
		part := resetPartitionDoc{Partition: p.Partition, From: p.Committed, To: -1}
		doc.PerPartition = append(doc.PerPartition, part)
	}
	if doc.DryRun {
		if members := len(before[0].Members); members > 0 {
			return core.Errorf(core.CodeGroupActive, "reset group "+core.Quote(doc.Group), "%d members", members)
		}
		return foresee(doc, info, to)
	}
	if err := bus.ResetGroup(ctx, doc.Group, doc.Topic, to); err != nil {
		return explain(ctx, bus, err, doc.Group)
	}
	after, err := findGroup(ctx, bus, "reset group", doc.Group, doc.Topic)
	if err != nil {
		return err
	}
	committed := map[int32]int64{}
	for _, p := range after[0].Partitions {
		committed[p.Partition] = p.Committed
	}
	for i := range doc.PerPartition {
		doc.PerPartition[i].To = committed[doc.PerPartition[i].Partition]
	}
	return nil
}

// foresee fills in where a reset would lead, as far as the offsets of the partitions tell.
func foresee(doc *resetDoc, info *leat.TopicInfo, to leat.Position) error {
	for i := range doc.PerPartition {
		p := info.Partitions[doc.PerPartition[i].Partition]
		switch to.Kind {
		case core.PositionEarliest:
			doc.PerPartition[i].To = p.Start
		case core.PositionLatest:
			doc.PerPartition[i].To = p.HighWater
		case core.PositionOffset:
			if to.Value < p.Start || to.Value > p.HighWater {
				return core.Errorf(core.CodeOffsetOutOfRange, "reset group "+core.Quote(doc.Group),
					"offset %d, partition %d has [%d, %d)", to.Value, p.Partition, p.Start, p.HighWater)
			}
			doc.PerPartition[i].To = to.Value
		}
	}
	return nil
}

func (a *app) writeReset(doc *resetDoc) error {
	verb := "reset"
	if doc.DryRun {
		verb = "would reset"
	}
	fmt.Fprintf(a.stdout, "%s %s on %s to %s\n\n", verb, printable(doc.Group), doc.Topic, printable(doc.To))
	grid := newGrid(a.stdout, "#partition", "#from", "#to")
	for _, p := range doc.PerPartition {
		grid.row(strconv.Itoa(int(p.Partition)), offsetText(p.From), offsetText(p.To))
	}
	return grid.flush()
}

func newGroupRemove(a *app) *cobra.Command {
	var topic string
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm GROUP --topic T",
		Short: "Forget what a group has acknowledged on a topic",
		Example: examples("leat group rm risk --topic trades --yes",
			"leat group rm risk --topic trades --yes -o json"),
		Args:              oneArgument("GROUP"),
		ValidArgsFunction: a.completeGroup,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if topic == "" {
			return usagef(cmd, "want --topic")
		}
		err := a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			_, err := findGroup(ctx, bus, "remove group", args[0], topic)
			return err
		})
		if err != nil {
			return err
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
		return a.write(removed{Group: args[0], Topic: topic}, func() error {
			_, err := fmt.Fprintf(a.stdout, "removed %s on %s\n", printable(args[0]), topic)
			return err
		})
	}
	cmd.Flags().StringVar(&topic, "topic", "", "the topic (required)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	a.completeFlagWithTopics(cmd, "topic")
	return cmd
}
