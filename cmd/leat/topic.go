package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

func newTopic(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:     "topic",
		Short:   "Create, list, describe, change and remove topics",
		Example: examples("leat topic ls", "leat topic create orders --partitions 4"),
	}
	group.AddCommand(newTopicCreate(a), newTopicList(a), newTopicDescribe(a), newTopicAlter(a), newTopicPeek(a),
		newTopicRemove(a))
	asGroup(group)
	return group
}

func newTopicCreate(a *app) *cobra.Command {
	var level, cleanup string
	var record size
	var retention retentionFlags
	live, window := span{kind: &ttls}, span{kind: &windows}
	cfg := leat.TopicConfig{Partitions: 1}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Long: "Creates a topic durably. The number of partitions is fixed from then on: messages with one key\n" +
			"go to one partition and stay in order. --ack is the least a publish gets: page survives the death\n" +
			"of the process, disk a power cut too.",
		Example: examples("leat topic create orders --partitions 4",
			"leat topic create clicks --ack page --retention 36h --retention-bytes 10GiB -o json",
			"leat topic create prices --cleanup compact", "leat topic create ticks --ttl 30s"),
		Args: oneArgument("NAME"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if cfg.Ack, err = core.ParseAck(level); err != nil {
			return err
		}
		if cfg.Cleanup, err = core.ParseCleanup(cleanup); err != nil {
			return err
		}
		retention.config(&cfg)
		cfg.MaxRecordBytes, cfg.TTL, cfg.DedupWindow = int(record), live.value, window.value
		cfg := cfg.WithDefaults()
		err = a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			return bus.CreateTopic(ctx, args[0], cfg)
		})
		if err != nil {
			return err
		}
		doc := admindoc.TopicOf(&leat.TopicInfo{Name: args[0], Config: cfg})
		return a.write(doc, func() error {
			_, err := fmt.Fprintf(a.stdout, "created %s: partitions %d, ack %s\n",
				args[0], cfg.Partitions, cfg.Ack)
			return err
		})
	}
	flags := cmd.Flags()
	flags.Var(newPositive(func(n int64) { cfg.Partitions = int(n) }, core.MaxPartitions), "partitions",
		"how many, fixed from now on (1)")
	flags.StringVar(&level, "ack", "disk", "least level of a publish: page or disk, or none")
	flags.StringVar(&cleanup, "cleanup", "delete", "compact keeps the newest message of each key")
	retention.add(cmd)
	flags.Var(&record, "max-record-bytes", "largest record, at most 16MiB; 0 means 1MiB")
	flags.Var(&live, "ttl", "how long a message is delivered, as 30s or 7d; none is as long as it is kept")
	flags.Var(&window, "dedup-window", "how long the id of a message is remembered (2m)")
	return cmd
}

func newTopicList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the topics",
		Example: examples("leat topic ls", "leat topic ls -o json"),
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
				topics, err := bus.Topics(ctx)
				if err != nil {
					return err
				}
				docs := make([]admindoc.TopicState, len(topics))
				for i := range topics {
					docs[i] = admindoc.TopicOf(&topics[i])
				}
				return a.write(docs, func() error { return a.writeTopics(docs) })
			})
		},
	}
}

func (a *app) writeTopics(docs []admindoc.TopicState) error {
	grid := newGrid(a.stdout, "topic", "#partitions", "ack", "#messages", "#size", "#keeps")
	for i := range docs {
		d := &docs[i]
		grid.row(d.Name, strconv.Itoa(d.Partitions), d.Ack, grouped(d.Messages), humanBytes(d.Bytes), keeps(d))
	}
	return grid.flush()
}

func newTopicDescribe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show a topic and its partitions",
		Long: "Shows the configuration of a topic and the offsets of its partitions: the records in\n" +
			"[start, high water) can be read, what lies before durable is synced.",
		Example:           examples("leat topic describe trades", "leat topic describe trades -o yaml"),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: a.completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
				info, err := findTopic(ctx, bus, "describe topic", args[0])
				if err != nil {
					return err
				}
				doc := admindoc.FullTopicOf(info)
				return a.write(doc, func() error { return a.writeTopic(&doc) })
			})
		},
	}
}

func (a *app) writeTopic(d *admindoc.TopicState) error {
	record, segment := size(d.MaxRecordBytes), size(d.SegmentBytes)
	fmt.Fprintf(a.stdout, "%s: ack %s, keeps %s per partition, records up to %s, segments of %s\n\n",
		d.Name, d.Ack, keeps(d), record.String(), segment.String())
	grid := newGrid(a.stdout, "#partition", "#node", "#start", "#high water", "#durable", "#size", "state")
	for _, p := range d.PerPartition {
		state := "ok"
		if p.Error != "" {
			state = p.Error
		}
		grid.row(strconv.Itoa(int(p.Partition)), strconv.Itoa(int(p.Node)), grouped(p.Start), grouped(p.HighWater),
			grouped(p.DurableEnd), humanBytes(p.Bytes), state)
	}
	return grid.flush()
}

func newTopicAlter(a *app) *cobra.Command {
	var record size
	var retention retentionFlags
	live, window := span{kind: &ttls}, span{kind: &windows}
	cmd := &cobra.Command{
		Use:   "alter NAME",
		Short: "Change what a topic keeps and delivers, and how large a record may be",
		Example: examples("leat topic alter trades --retention 30d --retention-bytes 1GiB",
			"leat topic alter trades --max-record-bytes 4MiB -o json", "leat topic alter trades --ttl none"),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: a.completeTopic,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var change leat.TopicChange
		retention.change(cmd, &change)
		if cmd.Flags().Changed("max-record-bytes") {
			change.MaxRecordBytes = new(int(record))
		}
		if cmd.Flags().Changed("ttl") {
			change.TTL = new(live.value)
		}
		if cmd.Flags().Changed("dedup-window") {
			change.DedupWindow = new(window.value)
		}
		if change == (leat.TopicChange{}) {
			return usagef(cmd, "nothing to change: want --retention, --retention-bytes, "+
				"--retention-records, --max-record-bytes, --ttl or --dedup-window")
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			return a.alterTopic(ctx, bus, args[0], change)
		})
	}
	retention.add(cmd)
	cmd.Flags().Var(&record, "max-record-bytes", "largest record, at most 16MiB")
	cmd.Flags().Var(&live, "ttl", "how long a message is delivered, or none; stored messages, too")
	cmd.Flags().Var(&window, "dedup-window", "how long the id of a message is remembered, at most 24h")
	return cmd
}

func (a *app) alterTopic(ctx context.Context, bus *leat.Bus, name string, change leat.TopicChange) error {
	before, err := findTopic(ctx, bus, "alter topic", name)
	if err != nil {
		return err
	}
	if err := bus.AlterTopic(ctx, name, change); err != nil {
		return explain(ctx, bus, err, name)
	}
	after, err := findTopic(ctx, bus, "alter topic", name)
	if err != nil {
		return err
	}
	doc := admindoc.TopicOf(after)
	return a.write(doc, func() error {
		fmt.Fprintf(a.stdout, "altered %s\n", name)
		was, is := before.Config, after.Config
		a.alteredRetention(&was, &is)
		if was.MaxRecordBytes != is.MaxRecordBytes {
			fmt.Fprintf(a.stdout, "max-record-bytes: %s → %s\n",
				humanBytes(int64(was.MaxRecordBytes)), humanBytes(int64(is.MaxRecordBytes)))
		}
		a.alteredSpans(&was, &is)
		return nil
	})
}

func newTopicRemove(a *app) *cobra.Command {
	var yes, dry bool
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a topic with its records and the commits of its groups",
		Example: examples("leat topic rm trades --dry-run", "leat topic rm trades --yes",
			"leat topic rm trades --yes -o json"),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: a.completeTopic,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var doc admindoc.Deleted
		err := a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			info, err := findTopic(ctx, bus, "remove topic", args[0])
			if err != nil {
				return err
			}
			groups, missing := bus.Groups(ctx)
			if doc = admindoc.DeletedOf(info, groups, dry); dry {
				return missing
			}
			return nil // the topic goes from groups that are not known of, too
		})
		if err != nil {
			return err
		}
		if dry {
			return a.write(doc, func() error {
				_, err := fmt.Fprintf(a.stdout, "would remove %s: %s messages, and the place of %s groups\n",
					args[0], grouped(doc.Messages), grouped(int64(len(doc.Groups))))
				return err
			})
		}
		if err := a.confirm(cmd, yes, args[0], fmt.Sprintf("This removes topic %s with %s messages for good.",
			args[0], grouped(doc.Messages))); err != nil {
			return err
		}
		err = a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			return explain(ctx, bus, bus.DeleteTopic(ctx, args[0]), args[0])
		})
		if err != nil {
			return err
		}
		return a.write(doc, func() error {
			_, err := fmt.Fprintf(a.stdout, "removed %s: %s messages\n", args[0], grouped(doc.Messages))
			return err
		})
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only tell what would go")
	return cmd
}

// confirm asks on a terminal for the name of what would be removed; elsewhere it wants --yes.
func (a *app) confirm(cmd *cobra.Command, yes bool, name, warning string) error {
	if yes {
		return nil
	}
	if !a.stdinTerminal || !a.stderrTerminal {
		return usagef(cmd, "%s needs --yes where nobody can be asked", cmd.CommandPath())
	}
	fmt.Fprintf(a.stderr, "%s Type its name to go on: ", warning)
	var answer string
	if _, err := fmt.Fscanln(a.stdin, &answer); err != nil || answer != name {
		return &inputError{err: errors.New("nothing was removed"), hint: "type " + name + ", or give --yes"}
	}
	return nil
}
