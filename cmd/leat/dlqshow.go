package main

import (
	"context"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/admindoc"
)

func newDeadLettersShow(a *app) *cobra.Command {
	var flags letterFlags
	var partitions []int
	var from int64
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show dead letters, the oldest of each partition first",
		Long: "Shows letters that are pending: where and why they died, and what they are. It changes nothing.\n" +
			"With -o json they are complete. The next page begins behind the last offset: --partition and --from.",
		Example: examples("leat dlq show trades.dlq.risk", "leat dlq show trades.dlq.risk --code REJECTED -o json",
			"leat dlq show trades.dlq.risk -k ACME --since 24h --filter region=eu --limit 5",
			"leat dlq show trades.dlq.risk --partition 0 --from 100"),
		Args:              oneArgument("NAME"),
		ValidArgsFunction: a.completeDeadLetters,
	}
	flags.add(cmd, 20, "show at most so many; 0 shows all")
	cmd.Flags().IntSliceVar(&partitions, "partition", nil, "only of these partitions")
	cmd.Flags().Int64Var(&from, "from", 0, "begin at this offset of the partition")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		filter, err := flags.filter(cmd, a.clock.Now())
		switch {
		case err != nil:
			return err
		case from < 0:
			return usagef(cmd, "--from %d: want 0 or more", from)
		case from > 0 && len(partitions) != 1:
			return usagef(cmd, "--from needs one --partition")
		}
		return a.request(cmd, func(ctx context.Context, bus *leat.Bus) error {
			letters, err := readDeadLetters(ctx, bus, args[0], &flags, filter, partitions, from)
			if err != nil {
				return err
			}
			docs := make([]admindoc.Letter, len(letters))
			for i := range letters {
				docs[i] = admindoc.LetterOf(&letters[i], 0)
			}
			return a.write(docs, func() error { return a.writeLetters(letters) })
		})
	}
	return cmd
}

// readDeadLetters reads pending letters of the partitions that were asked for, one after the other.
func readDeadLetters(
	ctx context.Context, bus *leat.Bus, name string, flags *letterFlags, filter leat.DeadLetterFilter,
	partitions []int, from int64,
) ([]leat.DeadLetter, error) {
	info, err := findDeadLetters(ctx, bus, "show dead letters", name)
	if err != nil {
		return nil, err
	}
	if len(partitions) == 0 {
		for i := range info.Partitions {
			partitions = append(partitions, i)
		}
	}
	var all []leat.DeadLetter
	for _, number := range partitions {
		for at := from; ; {
			read := leat.DeadLetterRead{Partition: int32(min(max(number, -1), 1<<30)), From: at, Filter: filter}
			if flags.limit > 0 {
				left := flags.limit - int64(len(all))
				if left == 0 {
					return all, nil
				}
				read.Limit = int(min(left, 1000))
			}
			page, err := bus.ReadDeadLetters(ctx, name, read)
			if err != nil {
				return nil, err
			}
			all = append(all, page.Letters...)
			if at = page.Next; at >= page.End {
				break
			}
		}
	}
	return all, nil
}

func (a *app) writeLetters(letters []leat.DeadLetter) error {
	grid := newGrid(a.stdout, "#partition", "#offset", "died", "key", "value", "code", "#attempts", "from",
		"reason")
	for i := range letters {
		l := &letters[i]
		code, attempts, origin, reason := "-", "-", "-", "not a dead letter"
		if o := &l.Origin; l.Known {
			code, attempts, reason = o.Code.Info().Name, strconv.Itoa(int(o.Attempts)), o.Reason
			if o.Code.Info().Code != o.Code {
				code = o.Code.String() // of a newer version
			}
			origin = o.Topic + "/" + strconv.Itoa(int(o.Partition)) + "/" + strconv.FormatInt(o.Offset, 10)
		}
		grid.row(strconv.Itoa(int(l.Partition)), strconv.FormatInt(l.Offset, 10), frameTime(l.Died.UnixNano()),
			shortened(l.Key), shortened(l.Value), code, attempts, origin, reason)
	}
	return grid.flush()
}

// shortened shows the beginning of a key or value; - is none.
func shortened(b []byte) string {
	const shown = 32
	switch {
	case b == nil:
		return "-"
	case len(b) <= shown:
		return string(b)
	}
	end := shown
	for end > 0 && !utf8.RuneStart(b[end]) {
		end--
	}
	return string(b[:end]) + "…"
}
