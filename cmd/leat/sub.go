package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// subscribing is what leat sub was asked for.
type subscribing struct {
	topic      string
	group      string
	from       string
	partitions []int32
	count      int64
	idle       time.Duration
	format     string
	readAt     string
	where      string
	pace       string
	gap        time.Duration
	lastPerKey bool
	lending    lending

	// The following is parsed from the above.
	position leat.Position
	offset   int64 // with partitions: messages before it are skipped
	level    leat.Ack
	speed    float64 // 0: as fast as it goes
	layout   layout
}

func newSub(a *app) *cobra.Command {
	var s subscribing
	var partitions []int
	cmd := &cobra.Command{
		Use:   "sub TOPIC",
		Short: "Print the messages of a topic",
		Long: "Prints messages as they come, from the latest on; with --group from where the group is, sharing\n" +
			"the partitions with its other members. What a group member printed is acknowledged.\n\n" +
			"With --queue or --key-shared the members share the messages instead: each is lent to one of them, and\n" +
			"comes again if it was not printed within its lease.\n\n" +
			"FORMAT has %t topic, %p partition, %o offset, %k key, %v value, %T time, %h headers, %a attempt,\n" +
			"%%, and \\n \\t \\\\.\n" +
			"-o json prints one document a line; what is not UTF-8 is in key_base64 and value_base64.",
		Example: examples("leat sub trades --from earliest --count 2",
			`leat sub trades --from earliest --idle 200ms -f '%k\t%v\n'`,
			"leat sub trades --group risk --count 1 -o json",
			`leat sub trades --from earliest --where 'key == "ACME" and size > 2' --idle 200ms`,
			"leat sub trades --from earliest --speed 100x --idle 100ms",
			"leat sub trades --last-per-key --count 1 -f '%k %v\\n'",
			"leat sub trades --group desk --queue --count 2 -f '%a %v\\n'",
			"leat sub trades --group byname --key-shared --lease 1m --max-held 10 --max-attempts 5 --count 1",
			"leat sub trades --from @2026-01-31 --partition 0 --idle 100ms -f '%p %o %T %h %v\\n'"),
		Args:              oneArgument("TOPIC"),
		ValidArgsFunction: a.completeTopic,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.topic = args[0]
		for _, p := range partitions {
			s.partitions = append(s.partitions, int32(min(max(p, -1), core.MaxPartitions)))
		}
		if err := a.checkSub(cmd, &s); err != nil {
			return err
		}
		return a.subscribe(cmd.Context(), &s)
	}
	flags := cmd.Flags()
	flags.StringVar(&s.group, "group", "", "join this group, and acknowledge what was printed")
	flags.StringVar(&s.from, "from", "",
		"earliest, latest, an offset, @TIME or -15m; with --group only where it is new")
	flags.IntSliceVar(&partitions, "partition", nil, "only these, without --group")
	flags.Var(newPositive(func(n int64) { s.count = n }, 1<<62), "count", "end after so many messages")
	flags.DurationVar(&s.idle, "idle", 0, "end when none came for so long")
	flags.StringVarP(&s.format, "format", "f", "", `how to print a message (%v\n)`)
	flags.StringVar(&s.where, "where", "",
		`only messages that pass this filter, as in 'header("region") == "eu"'`)
	flags.StringVar(&s.readAt, "read-at", "", "page: also what is not synced yet (the topic's level)")
	flags.StringVar(&s.pace, "speed", "", "replay at this speed, such as 1x as it was published, or 10x")
	flags.DurationVar(&s.gap, "max-gap", 0, "with --speed: the longest pause (10s)")
	flags.BoolVar(&s.lastPerKey, "last-per-key", false, "begin with the newest message of each key")
	s.lending.add(cmd)
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("group", a.completeGroupFlag))
	return cmd
}

func (a *app) checkSub(cmd *cobra.Command, s *subscribing) error {
	var err error
	if s.from != "" {
		if s.position, err = parsePosition(s.from, a.clock.Now()); err != nil {
			return usagef(cmd, "--from %v", err)
		}
	}
	switch s.readAt {
	case "":
	case "page":
		s.level = leat.AckPage
	case "disk":
		s.level = leat.AckDisk
	default:
		return usagef(cmd, "--read-at %q: want page or disk", s.readAt)
	}
	if s.speed, err = parseSpeed(s.pace); err != nil {
		return usagef(cmd, "--speed %v", err)
	}
	switch {
	case s.speed == 0 && s.gap != 0:
		return usagef(cmd, "--max-gap %v: only with --speed", s.gap)
	case s.gap < 0:
		return usagef(cmd, "--max-gap %v: want a duration above 0", s.gap)
	case s.speed != 0 && (s.group != "" || s.from == "" || s.position == leat.Latest):
		return usagef(cmd, "--speed: want --from in the past, and no --group")
	case s.idle < 0:
		return usagef(cmd, "--idle %v: want a duration above 0", s.idle)
	case s.group != "" && s.partitions != nil:
		return usagef(cmd, "--partition and --group: a group assigns its partitions itself")
	case s.lastPerKey && (s.group != "" || s.from != "" || s.partitions != nil || s.where != "" || s.pace != ""):
		return usagef(cmd, "--last-per-key is of the whole topic: without --group, --from, --partition, --where "+
			"and --speed")
	case s.format != "" && a.output != formatTable:
		return usagef(cmd, "-f and -o %s: want one of them", a.output)
	case s.format == "" && a.stdoutTerminal && s.lending.on():
		s.format = `%p:%o\t%a\t%k\t%v\n`
	case s.format == "" && a.stdoutTerminal:
		s.format = `%p:%o\t%k\t%v\n`
	case s.format == "":
		s.format = `%v\n`
	}
	if s.layout, err = parseLayout(s.format); err != nil {
		return usagef(cmd, "-f %v", err)
	}
	return s.lending.check(cmd, s)
}

// subscribe prints until ctx ends, or as many messages as were asked for.
func (a *app) subscribe(ctx context.Context, s *subscribing) error {
	// A reader that goes away must end the subscription in order, not the process.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	bus, err := a.connect(ctx, leat.WithUnreachableAfter(forever))
	if err != nil {
		return err
	}
	err = a.printMessages(ctx, bus, s)
	if closing := bus.Close(); err == nil {
		err = closing
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (a *app) printMessages(ctx context.Context, bus *leat.Bus, s *subscribing) error {
	sub, err := a.openSub(ctx, bus, s)
	if err != nil {
		return err
	}
	var written func(int32, int64) error
	if s.group != "" && !s.lending.on() {
		written = sub.Backend().Ack
	}
	reading, stop := context.WithCancel(ctx)
	out := newPrinter(a.stdout, written, stop)
	var printed atomic.Int64
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		a.watchIdle(reading, s.idle, func() (int64, bool) { return printed.Load(), out.idle() }, stop)
	}()
	err = a.loop(reading, sub, s, out, &printed)
	idle := reading.Err() != nil && ctx.Err() == nil
	stop()
	<-watched
	if writing := out.close(); err == nil {
		err = writing
	}
	if s.lending.on() && err == nil && ctx.Err() == nil {
		err = a.settled(ctx, sub, out.late)
	}
	// Whoever interrupts does not ask whether a server that is gone heard of it.
	if closing := sub.Close(); err == nil && ctx.Err() == nil {
		err = closing
	}
	switch {
	case err != nil:
		return err
	case s.count > 0 && printed.Load() >= s.count || idle:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return core.NewError(core.CodeClosed, "subscription to "+core.Quote(s.topic), nil)
}

// openSub subscribes; the topic must exist.
func (a *app) openSub(ctx context.Context, bus *leat.Bus, s *subscribing) (*leat.Subscription, error) {
	asking, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	info, err := findTopic(asking, bus, "subscribe to topic", s.topic)
	if err != nil {
		return nil, a.late("subscribe to "+core.Quote(s.topic), err)
	}
	options := []leat.SubscribeOption{leat.Filter(s.where)}
	if s.level != leat.AckDefault {
		options = append(options, leat.ReadAt(s.level))
	}
	if s.speed != 0 {
		return a.replay(bus, s, options)
	}
	if s.partitions != nil {
		if s.position.Kind == core.PositionOffset {
			s.offset = s.position.Value
		}
		return subscribeTo(bus, info, s.partitions, s.position, options...)
	}
	if s.group != "" {
		options = append(options, leat.Group(s.group))
	}
	if s.lending.on() {
		options = append(options, s.lending.options(s.count)...)
	}
	if s.from != "" {
		options = append(options, leat.From(s.position))
	}
	if s.lastPerKey {
		done := func() { fmt.Fprintln(a.stderr, "end of the snapshot") }
		options = append(options, leat.LastPerKey(leat.LastPerKeyConfig{Done: done}))
	}
	return bus.Subscribe(s.topic, options...)
}

// loop hands messages to the printer and counts them.
func (a *app) loop(
	ctx context.Context, sub *leat.Subscription, s *subscribing, out *printer, printed *atomic.Int64,
) error {
	var current *leat.Message
	appendTo := a.appendMessage(s)
	format := func(dst []byte) ([]byte, error) { return appendTo(dst, current) }
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		if m.Offset < s.offset {
			continue
		}
		current = m
		if err := out.print(m, format); err != nil {
			return err
		}
		if n := printed.Add(1); n == s.count {
			return nil
		}
	}
	return nil
}

// appendMessage chooses how a message is written.
func (a *app) appendMessage(s *subscribing) func(dst []byte, m *leat.Message) ([]byte, error) {
	switch a.output {
	case formatJSON:
		return func(dst []byte, m *leat.Message) ([]byte, error) {
			return appendMessageJSON(dst, m, a.stdoutTerminal), nil
		}
	case formatYAML:
		return appendMessageYAML
	}
	return func(dst []byte, m *leat.Message) ([]byte, error) {
		return s.layout.append(dst, m, a.stdoutTerminal), nil
	}
}

// watchIdle calls stop when nothing has come for idle and everything that came was written. It looks
// sixteen times in that span.
func (a *app) watchIdle(
	ctx context.Context, idle time.Duration, state func() (count int64, written bool), stop func(),
) {
	if idle == 0 {
		return
	}
	last, since := int64(-1), int64(0)
	for {
		count, written := state()
		now := a.clock.Mono()
		if count != last || !written {
			last, since = count, now
		}
		if now-since >= int64(idle) {
			stop()
			return
		}
		if clock.Sleep(ctx, a.clock, max(idle/16, time.Millisecond)) != nil {
			return
		}
	}
}
