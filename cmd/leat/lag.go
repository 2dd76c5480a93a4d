package main

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
	"github.com/leatbus/leat/internal/clock"
)

// countText is a count or an offset for people, - if it is not known.
func countText(n *int64) string {
	if n == nil {
		return "-"
	}
	return grouped(*n)
}

// humanAge is a lag in seconds for people.
func humanAge(seconds *float64) string {
	switch {
	case seconds == nil:
		return "-"
	case *seconds == 0:
		return "0s"
	}
	d := time.Duration(*seconds * float64(time.Second))
	if d > time.Minute {
		return d.Truncate(time.Second).String()
	}
	return d.Truncate(time.Millisecond).String()
}

// overFlag adds --over.
func overFlag(cmd *cobra.Command, over *time.Duration) {
	cmd.Flags().DurationVar(over, "over", 0,
		"watch for so long, and tell how fast a group is and when it is done")
}

// groups lists the groups, and after over again, so that they have rates. One that is missing is an error
// beside the others.
func (a *app) groups(ctx context.Context, bus *leat.Bus, over time.Duration) ([]leat.GroupInfo, error) {
	groups, err := bus.Groups(ctx)
	if over == 0 || err != nil && len(groups) == 0 {
		return groups, err
	}
	if err := clock.Sleep(ctx, a.clock, over); err != nil {
		return nil, err
	}
	return bus.Groups(ctx)
}

// checkOver refuses times too short to tell anything, and extends the time for answers.
func (a *app) checkOver(cmd *cobra.Command, over time.Duration) error {
	if over != 0 && (over < core.LagWindowMin || over > core.LagWindowMax) {
		return usagef(cmd, "--over %v: want %v to %v", over, core.LagWindowMin, core.LagWindowMax)
	}
	a.timeout += over
	return nil
}

// withPace adds the columns of what was watched.
func withPace(over time.Duration, columns ...string) []string {
	if over == 0 {
		return columns
	}
	return append(columns, "#acked/s", "#done in")
}

// paced adds the cells of what was watched.
func paced(d *admindoc.GroupLag, over time.Duration, cells []string) []string {
	switch {
	case over == 0:
		return cells
	case d.AckRate == nil:
		return append(cells, "-", "-")
	case d.ZeroSeconds == nil:
		return append(cells, rateText(*d.AckRate), "never")
	}
	return append(cells, rateText(*d.AckRate), humanAge(d.ZeroSeconds))
}

// rateText is a rate for people.
func rateText(rate float64) string {
	if rate < 10 && rate != 0 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return grouped(int64(math.Round(rate)))
}
