package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
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
				docs := make([]admindoc.LetterTopic, len(list))
				var missing error // the first reason why figures are not known
				for i := range list {
					docs[i] = admindoc.LetterTopicOf(&list[i])
					for _, p := range list[i].Partitions {
						missing = cmp.Or(missing, p.Err)
					}
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

// letterFlags choose dead letters.
type letterFlags struct {
	key, code, since, until string
	headers                 []string
	limit                   int64
}

func (f *letterFlags) add(cmd *cobra.Command, limit int64, limitHelp string) {
	flags := cmd.Flags()
	flags.StringVarP(&f.key, "key", "k", "", "only with this key")
	flags.StringVar(&f.code, "code", "", "only those that died of this error, as in 7002, LEAT-7002 or REJECTED")
	flags.StringVar(&f.since, "since", "",
		"only those that died since then: 15m or 24h ago, or a time (RFC 3339)")
	flags.StringVar(&f.until, "until", "", "only those that died before, as --since")
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
	for _, side := range []struct {
		flag, text string
		to         *int64
	}{{"since", f.since, &filter.Since}, {"until", f.until, &filter.Until}} {
		if side.text == "" {
			continue
		}
		at, ok := parseSince(side.text, now)
		if !ok {
			return filter, usagef(cmd, "--%s %q: want a duration such as 15m, or a time (RFC 3339 or a date)",
				side.flag, side.text)
		}
		*side.to = at
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
