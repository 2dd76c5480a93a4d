package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
)

// peeking is what leat topic peek was asked for.
type peeking struct {
	subscribing
	to, key, after string
	bytes          size
	query          leat.PeekQuery
}

func newTopicPeek(a *app) *cobra.Command {
	var s peeking
	var partitions []int
	cmd := &cobra.Command{
		Use:   "peek TOPIC",
		Short: "Look at messages of a topic, and leave no trace",
		Long: "Prints messages between two positions, partition after partition, and ends. It joins no group\n" +
			"and acknowledges nothing. Where --limit or --scan ends it early, it tells with which --after to\n" +
			"go on. FORMAT is that of leat sub.",
		Example: examples("leat topic peek trades --limit 1",
			"leat topic peek trades --key ACME --from -15m --limit 1 -o json",
			"leat topic peek trades --id order-4711",
			`leat topic peek trades --where 'header("desk") == nil and partition in 0..3'`,
			`leat topic peek trades --partition 0 --from 1 --to 2 -f '%p:%o %k %v\n'`),
		Args:              oneArgument("TOPIC"),
		ValidArgsFunction: a.completeTopic,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.topic = args[0]
		for _, p := range partitions {
			s.query.Partitions = append(s.query.Partitions, int32(min(max(p, -1), core.MaxPartitions)))
		}
		if err := a.checkPeek(cmd, &s); err != nil {
			return err
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error { return a.peek(ctx, bus, &s) })
	}
	flags := cmd.Flags()
	flags.IntSliceVar(&partitions, "partition", nil, "only these")
	flags.StringVar(&s.from, "from", "earliest", "earliest, an offset, @TIME or -15m")
	flags.StringVar(&s.to, "to", "", "an offset, @TIME or -15m, itself left out; the end if absent")
	flags.StringVar(&s.key, "key", "", "only messages with this key")
	flags.StringVar(&s.query.ID, "id", "", "only messages with this id; --key tells where to look first")
	flags.StringVar(&s.query.Filter, "where", "", "only messages that pass this filter")
	flags.Var(newPositive(func(n int64) { s.query.Limit = int(n) }, leat.MaxPeekMessages), "limit",
		"end after so many messages (100)")
	flags.Var(newPositive(func(n int64) { s.query.Scan = n }, leat.MaxPeekScanned), "scan",
		"end after so many were looked at (100000)")
	flags.Var(&s.bytes, "bytes", "print so much of a key and a value at most; 0 means all")
	flags.StringVar(&s.after, "after", "", "PARTITION:OFFSET, to go on there")
	flags.StringVarP(&s.format, "format", "f", "", `how to print a message (%v\n)`)
	return cmd
}

func (a *app) checkPeek(cmd *cobra.Command, s *peeking) error {
	if err := a.checkSub(cmd, &s.subscribing); err != nil {
		return err
	}
	s.query.From = s.position
	s.query.ValueBytes = int(s.bytes)
	if s.to != "" {
		var err error
		if s.query.To, err = parsePosition(s.to, a.clock.Now()); err != nil {
			return usagef(cmd, "--to %v", err)
		}
	}
	if cmd.Flags().Changed("key") {
		s.query.Key = append([]byte{}, s.key...)
	}
	if s.after == "" {
		return nil
	}
	partition, offset, _ := strings.Cut(s.after, ":")
	p, errPartition := strconv.ParseInt(partition, 10, 32)
	o, errOffset := strconv.ParseInt(offset, 10, 64)
	if errPartition != nil || errOffset != nil || p < 0 || o < -1 {
		return usagef(cmd, "--after %s: want PARTITION:OFFSET", core.Quote(s.after))
	}
	s.query.After = &leat.PeekPoint{Partition: int32(p), Offset: o}
	return nil
}

// peek prints one page.
func (a *app) peek(ctx context.Context, bus *leat.Bus, s *peeking) error {
	page, err := bus.Peek(ctx, s.topic, s.query)
	if err != nil {
		return explain(ctx, bus, err, s.topic)
	}
	var text []byte
	for i := range page.Messages {
		if text, err = a.appendPeeked(text, s, &page.Messages[i]); err != nil {
			return err
		}
	}
	if _, err := a.stdout.Write(text); err != nil {
		return err
	}
	if page.Next != nil {
		fmt.Fprintf(a.stderr, "looked at %s; go on with --after %d:%d\n", grouped(page.Scanned),
			page.Next.Partition, page.Next.Offset)
	}
	return nil
}

// appendPeeked writes a message, in a document with how long its key and value are where --bytes cuts them.
func (a *app) appendPeeked(dst []byte, s *peeking, m *leat.Peeked) ([]byte, error) {
	switch a.output {
	case formatJSON:
		return appendJSON(dst, admindoc.PeekedOf(m), a.stdoutTerminal)
	case formatYAML:
		return appendYAML(dst, admindoc.PeekedOf(m))
	}
	return s.layout.append(dst, &m.Message, a.stdoutTerminal), nil
}
