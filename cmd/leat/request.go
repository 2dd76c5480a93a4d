package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/messagedoc"
)

// requesting is what leat request was asked for.
type requesting struct {
	publishing
	all    bool
	count  int
	format string
	layout layout
}

// replyDoc is one reply of leat request -o json; the keys are stable and as in messagedoc.Message.
type replyDoc struct {
	Key         *string             `json:"key,omitempty"`
	KeyBase64   *string             `json:"key_base64,omitempty"`
	Value       *string             `json:"value,omitempty"`
	ValueBase64 *string             `json:"value_base64,omitempty"`
	Headers     []messagedoc.Header `json:"headers,omitempty"`
}

func newRequest(a *app) *cobra.Command {
	r := requesting{publishing: publishing{partition: -1}}
	var key string
	var headers []string
	cmd := &cobra.Command{
		Use:   "request TOPIC [BODY|-]",
		Short: "Ask who answers requests on a topic, and print the reply",
		Long: "Sends BODY, or all of standard input with - or without BODY, to one responder of the topic and\n" +
			"prints its reply; with --all to every responder. It waits for --timeout. Nothing is stored. FORMAT is\n" +
			"that of leat sub.",
		Example: examples("leat request trades 'price of ACME?' -k ACME",
			`leat request trades ping --all -o json`),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef(cmd, "%d arguments: want TOPIC and BODY or -", len(args))
			}
			return nil
		},
		ValidArgsFunction: a.completeTopic,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.topic = args[0]
		if cmd.Flags().Changed("key") {
			r.key = []byte(key)
		}
		if err := a.checkRequest(cmd, &r, args[1:], headers); err != nil {
			return err
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error { return a.ask(ctx, bus, &r) })
	}
	flags := cmd.Flags()
	flags.StringVarP(&key, "key", "k", "", "the key: its partition's node is asked")
	flags.StringArrayVarP(&headers, "header", "H", nil, "a header, as in name:value; may be repeated")
	flags.BoolVar(&r.all, "all", false, "ask every responder, and print a reply of each")
	flags.Var(newPositive(func(n int64) { r.count = int(n) }, core.MaxResponders), "count",
		"with --all: end after so many replies")
	flags.StringVarP(&r.format, "format", "f", `%v\n`, "how to print a reply")
	return cmd
}

func (a *app) checkRequest(cmd *cobra.Command, r *requesting, body, headers []string) error {
	var err error
	if r.layout, err = parseLayout(r.format); err != nil {
		return usagef(cmd, "-f %v", err)
	}
	switch flags := cmd.Flags(); {
	case flags.Changed("format") && a.output != formatTable:
		return usagef(cmd, "-f and -o %s: want one of them", a.output)
	case flags.Changed("count") && !r.all:
		return usagef(cmd, "--count is for --all: a request to one responder has one reply")
	}
	if err := a.checkPub(cmd, &r.publishing, body, headers, ""); err != nil {
		return err
	}
	if r.lines {
		r.body, err = io.ReadAll(io.LimitReader(a.stdin, core.MaxRecordBytes+1))
	}
	return err
}

// ask makes the request and prints what comes.
func (a *app) ask(ctx context.Context, bus *leat.Bus, r *requesting) error {
	m := leat.Message{Key: r.key, Value: r.body, Headers: r.headers}
	if !r.all {
		reply, err := bus.Request(ctx, r.topic, m)
		if err != nil {
			return a.unanswered(ctx, bus, r, err)
		}
		return a.printReplies(r, []leat.Message{reply})
	}
	replies, err := bus.RequestMany(ctx, r.topic, m, r.count)
	if printing := a.printReplies(r, replies); printing != nil {
		return printing
	}
	return a.unanswered(ctx, bus, r, err)
}

// unanswered says that --timeout has ended, or what was missing.
func (a *app) unanswered(ctx context.Context, bus *leat.Bus, r *requesting, err error) error {
	if errors.Is(err, core.ErrTopicNotFound) {
		return explain(ctx, bus, err, r.topic)
	}
	return a.late("request on topic "+core.Quote(r.topic), err)
}

func (a *app) printReplies(r *requesting, replies []leat.Message) error {
	var text []byte
	var err error
	for i := range replies {
		if text, err = a.appendCall(text, &replies[i], r.layout); err != nil {
			return err
		}
	}
	_, err = a.stdout.Write(text)
	return err
}

// appendCall writes a request or a reply, which has no place in a log.
func (a *app) appendCall(dst []byte, m *leat.Message, l layout) ([]byte, error) {
	if a.output == formatTable {
		return l.append(dst, m, a.stdoutTerminal), nil
	}
	whole := messagedoc.Of(m)
	doc := replyDoc{Key: whole.Key, KeyBase64: whole.KeyBase64, Value: whole.Value,
		ValueBase64: whole.ValueBase64, Headers: whole.Headers}
	if a.output == formatYAML {
		return appendYAML(dst, doc)
	}
	return appendJSON(dst, doc, a.stdoutTerminal)
}
