package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

func newDeadLetters(a *app) *cobra.Command {
	letters := &cobra.Command{
		Use:   "dlq",
		Short: "List, show, redrive and drop dead letters",
		Long: "What a queue group gave up lies in the topic TOPIC.dlq.GROUP until it is published again\n" +
			"(redrive) or given up for good (drop).",
		Example: examples("leat dlq ls", "leat dlq show trades.dlq.risk --limit 1"),
	}
	letters.AddCommand(newDeadLettersList(a), newDeadLettersShow(a), newRedrive(a), newDeadLettersDrop(a))
	asGroup(letters)
	return letters
}

// deadLettersDoc is one topic of dead letters; the keys are stable.
type deadLettersDoc struct {
	Name         string                    `json:"name"`
	Topic        string                    `json:"topic"`
	Group        string                    `json:"group"`
	Pending      int64                     `json:"pending"`
	Redriven     int64                     `json:"redriven"`
	Dropped      int64                     `json:"dropped"`
	PerPartition []deadLettersPartitionDoc `json:"per_partition"`
}

// deadLettersPartitionDoc is one partition of it.
type deadLettersPartitionDoc struct {
	Partition int32  `json:"partition"`
	Pending   int64  `json:"pending"`
	Redriven  int64  `json:"redriven"`
	Dropped   int64  `json:"dropped"`
	Error     string `json:"error,omitempty"` // why the figures are not known
}

func newDeadLettersList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the topics of dead letters with how many they have",
		Example: examples("leat dlq ls", "leat dlq ls -o json"),
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
				list, err := bus.DeadLetters(ctx)
				if err != nil {
					return err
				}
				docs := make([]deadLettersDoc, len(list))
				var missing error
				for i := range list {
					docs[i], missing = describeDeadLetters(&list[i], missing)
				}
				err = a.write(docs, func() error {
					grid := newGrid(a.stdout, "dead letters", "#pending", "#redriven", "#dropped")
					for i := range docs {
						d := &docs[i]
						grid.row(d.Name, grouped(d.Pending), grouped(d.Redriven), grouped(d.Dropped))
					}
					return grid.flush()
				})
				if err == nil {
					err = missing // what is known was printed
				}
				return err
			})
		},
	}
}

// describeDeadLetters gives the document of a topic, and the first reason why figures are not known.
func describeDeadLetters(t *leat.DeadLetterTopic, missing error) (deadLettersDoc, error) {
	doc := deadLettersDoc{Name: t.Name, Topic: t.Topic, Group: t.Group, Pending: t.Pending(),
		Redriven: t.Redriven(), Dropped: t.Dropped()}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		part := deadLettersPartitionDoc{Partition: p.Partition, Pending: p.Pending, Redriven: p.Redriven,
			Dropped: p.Dropped}
		if p.Err != nil {
			part.Error = p.Err.Error()
			if missing == nil {
				missing = p.Err
			}
		}
		doc.PerPartition = append(doc.PerPartition, part)
	}
	return doc, missing
}

// letterFlags choose dead letters.
type letterFlags struct {
	key, code, since string
	headers          []string
	limit            int64
}

func (f *letterFlags) add(cmd *cobra.Command, limit int64, limitHelp string) {
	flags := cmd.Flags()
	flags.StringVarP(&f.key, "key", "k", "", "only with this key")
	flags.StringVar(&f.code, "code", "", "only those that died of this error, as in 7002, LEAT-7002 or REJECTED")
	flags.StringVar(&f.since, "since", "",
		"only those that died since then: 15m or 24h ago, or a time (RFC 3339)")
	flags.StringArrayVar(&f.headers, "filter", nil, "only with this header, as in name=value; may be repeated")
	flags.Int64Var(&f.limit, "limit", limit, limitHelp)
}

// filter reads the flags.
func (f *letterFlags) filter(cmd *cobra.Command, now int64) (leat.DeadLetterFilter, error) {
	var filter leat.DeadLetterFilter
	if cmd.Flags().Changed("key") {
		filter.Key = []byte(f.key)
	}
	if f.limit < 0 {
		return filter, usagef(cmd, "--limit %d: want 0 or more", f.limit)
	}
	for _, text := range f.headers {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return filter, usagef(cmd, "--filter %q: want name=value", text)
		}
		filter.Headers = append(filter.Headers, leat.Header{Key: name, Value: []byte(value)})
	}
	if f.code != "" {
		code, ok := parseCode(f.code)
		if !ok {
			return filter, usagef(cmd, "--code %q: want the number or name of an error, as in 7002 or REJECTED",
				f.code)
		}
		filter.Code = code
	}
	if f.since != "" {
		at, ok := parseSince(f.since, now)
		if !ok {
			return filter, usagef(cmd, "--since %q: want a duration such as 15m, or a time (RFC 3339 or a date)",
				f.since)
		}
		filter.Since = at
	}
	return filter, nil
}

// parseCode reads the number of an error, with or without LEAT-, or its name.
func parseCode(text string) (leat.Code, bool) {
	for _, row := range core.Codes {
		if strings.EqualFold(row.Name, text) {
			return row.Code, true
		}
	}
	digits, _ := strings.CutPrefix(strings.ToUpper(text), "LEAT-")
	n, err := strconv.ParseUint(digits, 10, 16)
	return leat.Code(n), err == nil && n > 0
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string, now int64) (int64, bool) {
	if back, err := time.ParseDuration(text); err == nil {
		return now - int64(back), back >= 0
	}
	text, _ = strings.CutPrefix(text, "@")
	at, ok := parseTime(text)
	return at.UnixNano(), ok
}

// findDeadLetters finds a topic of dead letters by name, or says what there is.
func findDeadLetters(ctx context.Context, bus *leat.Bus, op, name string) (*leat.DeadLetterTopic, error) {
	list, err := bus.DeadLetters(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i := range list {
		if names[i] = list[i].Name; names[i] == name {
			return &list[i], nil
		}
	}
	e := core.NewError(core.CodeTopicNotFound, op+" "+core.Quote(name), nil)
	e.Hint = "dead letters are in topics that are named TOPIC.dlq.GROUP: leat dlq ls"
	if near := nearest(name, names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %s?", near)
	}
	return nil, e
}

// completeDeadLetters completes the first argument with topics of dead letters.
func (a *app) completeDeadLetters(cmd *cobra.Command, args []string, _ string) ([]string, directive) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return a.complete(cmd, func(ctx context.Context, bus *leat.Bus) []string {
		list, _ := bus.DeadLetters(ctx) // a proposal is not worth an error
		names := make([]string, len(list))
		for i := range list {
			names[i] = list[i].Name
		}
		return names
	}), noFiles
}
