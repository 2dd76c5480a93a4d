package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/messagedoc"
)

const (
	runsShown   = 3
	maxRuns     = 1000
	cronExplain = "CRON is minute, hour, day, month and weekday as in crontab, with seconds in front if\n" +
		"there are six fields; or @hourly, @daily, @weekly, @monthly, @yearly, or @every and a duration.\n"
)

func newSchedule(a *app) *cobra.Command {
	schedule := &cobra.Command{
		Use:   "schedule",
		Short: "Publish messages again and again, by the calendar",
		Long: "A schedule delivers a message at the times of a line as in crontab, by the clocks of a time\n" +
			"zone. Its next run is among the delayed messages (leat delay ls).",
		Example: examples("leat schedule put trades close '0 18 * * mon-fri' '{}' --zone Europe/Berlin",
			"leat schedule ls"),
	}
	schedule.AddCommand(newSchedulePut(a), newScheduleList(a), newScheduleNext(a), newScheduleRemove(a))
	asGroup(schedule)
	return schedule
}

func newSchedulePut(a *app) *cobra.Command {
	var s leat.Schedule
	var key, missed string
	var headers []string
	lifetime := span{kind: &ttls}
	cmd := &cobra.Command{
		Use:   "put TOPIC NAME CRON BODY",
		Short: "Make a schedule, or replace it",
		Long: "Delivers BODY to TOPIC at the times of CRON. NAME is the schedule's in the topic. The same once\n" +
			"more changes nothing; anything else replaces the schedule, which begins anew. It prints the next\n" +
			"runs.\n" + cronExplain +
			"Runs that are more than 10 s late, as after the node was down, are missed: --missed once delivers\n" +
			"the newest of them, skip none, and all each, the newest 1,000 at most.",
		Example: examples("leat schedule put trades close '0 18 * * mon-fri' '{}' --zone Europe/Berlin -k ACME",
			"leat schedule put trades ping '@every 90s' ping --missed skip -o json"),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 4 {
				return usagef(cmd, "%d arguments: want TOPIC, NAME, CRON and BODY", len(args))
			}
			return nil
		},
		ValidArgsFunction: a.completeTopic,
	}
	flags := cmd.Flags()
	flags.StringVar(&s.Zone, "zone", "UTC", "the time zone whose clocks count, as Europe/Berlin")
	flags.StringVar(&missed, "missed", "once", "which runs that were missed come late: once, skip or all")
	flags.StringVarP(&key, "key", "k", "", "the key; without one the partition is that of NAME")
	flags.StringArrayVarP(&headers, "header", "H", nil, "a header, as in name:value; may be repeated")
	flags.Var(&lifetime, "ttl", "how long it is delivered, as 250ms or 30s, if not as long as the topic says")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s.Topic, s.Name, s.Cron = args[0], args[1], args[2]
		s.Message = leat.Message{Value: []byte(args[3]), TTL: lifetime.value}
		if cmd.Flags().Changed("key") {
			s.Message.Key = []byte(key)
		}
		if s.Message.Headers, err = parseHeaders(cmd, headers); err != nil {
			return err
		}
		if s.Missed, err = core.ParseMissedRuns(missed); err != nil {
			return usagef(cmd, "--missed %q: want once, skip or all", missed)
		}
		if _, err := s.Stored(a.clock.Now()); err != nil {
			return err
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error { return a.putSchedule(ctx, bus, s) })
	}
	return cmd
}

// putSchedule puts a schedule, and shows its next runs as the node tells them.
func (a *app) putSchedule(ctx context.Context, bus *leat.Bus, s leat.Schedule) error {
	if err := bus.PutSchedule(ctx, s); err != nil {
		return explain(ctx, bus, err, s.Topic)
	}
	list, err := bus.Schedules(ctx, s.Topic)
	if core.CodeOf(err) == core.CodeDenied {
		return nil // it is put; a token that may publish need not be one that may list
	}
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Name != s.Name {
			continue
		}
		runs, err := runsOf(&list[i], runsShown)
		if err != nil {
			return err
		}
		doc := describeSchedule(&list[i])
		doc.Next = timesOf(runs)
		return a.write(doc, func() error { return a.writeRuns(runs) })
	}
	return nil // somebody else has removed it
}

// runsOf gives the next runs of a schedule.
func runsOf(s *leat.Schedule, n int) ([]time.Time, error) {
	if s.Next.IsZero() {
		return nil, nil
	}
	zone, err := core.LoadZone(s.Zone)
	if err != nil {
		return nil, err
	}
	cron, err := core.ParseCron(s.Cron, zone)
	if err != nil {
		return nil, err
	}
	return append([]time.Time{s.Next.In(zone)}, cronRuns(&cron, zone, s.Next, n-1)...), nil
}

// cronRuns gives the first runs behind a time, from which @every counts.
func cronRuns(cron *core.Cron, zone *time.Location, from time.Time, n int) (runs []time.Time) {
	for at := from; n > 0; n-- {
		next, found := cron.Next(from, at)
		if !found {
			break
		}
		runs = append(runs, next.In(zone))
		at = next
	}
	return runs
}

// writeRuns writes when runs are due, by the clocks of their zone.
func (a *app) writeRuns(runs []time.Time) error {
	for _, at := range runs {
		if _, err := fmt.Fprintln(a.stdout, "next", at.Format("Mon 2006-01-02T15:04:05.999Z07:00")); err != nil {
			return err
		}
	}
	return nil
}

// timesOf gives times as documents have them.
func timesOf(runs []time.Time) []string {
	texts := make([]string, len(runs))
	for i, at := range runs {
		texts[i] = frameTime(at.UnixNano())
	}
	return texts
}

// scheduleDoc is one schedule; the keys are stable.
type scheduleDoc struct {
	Topic       string              `json:"topic"`
	Name        string              `json:"name"`
	Cron        string              `json:"cron"`
	Zone        string              `json:"zone"`
	Missed      string              `json:"missed"`
	Partition   int32               `json:"partition"`
	Next        []string            `json:"next"` // RFC 3339, UTC
	Key         *string             `json:"key,omitempty"`
	KeyBase64   *string             `json:"key_base64,omitempty"`
	Value       *string             `json:"value,omitempty"`
	ValueBase64 *string             `json:"value_base64,omitempty"`
	Headers     []messagedoc.Header `json:"headers,omitempty"`
	TTLMillis   int64               `json:"ttl_ms,omitempty"`
}

func describeSchedule(s *leat.Schedule) scheduleDoc {
	m := messagedoc.Of(&s.Message)
	doc := scheduleDoc{Topic: s.Topic, Name: s.Name, Cron: s.Cron, Zone: s.Zone, Missed: s.Missed.String(),
		Partition: m.Partition, Next: []string{}, Key: m.Key, KeyBase64: m.KeyBase64, Value: m.Value,
		ValueBase64: m.ValueBase64, Headers: m.Headers, TTLMillis: m.TTLMillis}
	if !s.Next.IsZero() {
		doc.Next = timesOf([]time.Time{s.Next})
	}
	return doc
}

func newScheduleList(a *app) *cobra.Command {
	topic := ""
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List schedules with their next runs",
		Example: examples("leat schedule ls", "leat schedule ls --topic trades -o json"),
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
				list, err := bus.Schedules(ctx, topic)
				if err != nil {
					return explain(ctx, bus, err, topic)
				}
				docs := make([]scheduleDoc, len(list))
				for i := range list {
					docs[i] = describeSchedule(&list[i])
				}
				return a.write(docs, func() error {
					grid := newGrid(a.stdout, "topic", "name", "cron", "zone", "missed", "next")
					for i := range docs {
						d := &docs[i]
						next := "-"
						if len(d.Next) > 0 {
							next = d.Next[0]
						}
						grid.row(d.Topic, d.Name, d.Cron, d.Zone, d.Missed, next)
					}
					return grid.flush()
				})
			})
		},
	}
	cmd.Flags().StringVar(&topic, "topic", "", "only of this topic")
	a.completeFlagWithTopics(cmd, "topic")
	return cmd
}

// nextDoc is what leat schedule next tells; the keys are stable.
type nextDoc struct {
	Cron string   `json:"cron"`
	Zone string   `json:"zone"`
	Next []string `json:"next"` // RFC 3339, UTC
}

func newScheduleNext(a *app) *cobra.Command {
	zone, from, count := "UTC", "", runsShown
	cmd := &cobra.Command{
		Use:   "next CRON",
		Short: "Tell when a schedule would be due",
		Long:  "Tells the next times of CRON, and asks no node.\n" + cronExplain,
		Example: examples("leat schedule next '30 2 * * *' --zone Europe/Berlin --from 2026-03-28",
			"leat schedule next '@every 90s' --count 5 -o json"),
		Args: oneArgument("CRON"),
	}
	flags := cmd.Flags()
	flags.StringVar(&zone, "zone", zone, "the time zone whose clocks count, as Europe/Berlin")
	flags.StringVar(&from, "from", "", "the times after this one (RFC 3339, or a date); now unless told")
	flags.Var(newPositive(func(n int64) { count = int(n) }, maxRuns), "count", "how many times (3)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at := time.Unix(0, a.clock.Now()).Truncate(time.Millisecond)
		if from != "" {
			var ok bool
			if at, ok = parseTime(from); !ok {
				return usagef(cmd, "--from %q: want a time (RFC 3339, or a date)", from)
			}
		}
		place, err := core.LoadZone(zone)
		if err != nil {
			return err
		}
		cron, err := core.ParseCron(args[0], place)
		if err != nil {
			return err
		}
		runs := cronRuns(&cron, place, at, count)
		return a.write(nextDoc{args[0], zone, timesOf(runs)}, func() error { return a.writeRuns(runs) })
	}
	return cmd
}

func newScheduleRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm TOPIC NAME",
		Short:   "End a schedule, and drop its next run",
		Example: examples("leat schedule rm trades close", "leat schedule rm trades close --timeout 30s"),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef(cmd, "%d arguments: want TOPIC and NAME", len(args))
			}
			return nil
		},
		ValidArgsFunction: a.completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
				deleted, err := bus.DeleteSchedule(ctx, args[0], args[1])
				switch {
				case err != nil:
					return explain(ctx, bus, err, args[0])
				case !deleted:
					return &absentError{fmt.Errorf("topic %s has no schedule %s", core.Quote(args[0]),
						core.Quote(args[1])), "leat schedule ls lists them"}
				}
				_, err = fmt.Fprintf(a.stdout, "removed %s of %s\n", args[1], args[0])
				return err
			})
		},
	}
}
