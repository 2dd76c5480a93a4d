package main

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// lagDoc is how far a group is behind.
type lagDoc struct {
	Lag         int64    `json:"lag"`                   // messages; -1 where a node cannot be asked
	LagSeconds  *float64 `json:"lag_seconds,omitempty"` // age of the oldest message not acknowledged
	AckRate     *float64 `json:"acked_per_sec,omitempty"`
	ZeroSeconds *float64 `json:"zero_in_seconds,omitempty"` // absent, too, where the lag does not shrink
}

func describeLag(lag leat.GroupLag) lagDoc {
	doc := lagDoc{Lag: lag.Records, LagSeconds: secondsOf(lag.Time), ZeroSeconds: secondsOf(lag.TimeToZero)}
	if lag.AckRate < 0 {
		doc.ZeroSeconds = nil // nothing was observed
	} else {
		doc.AckRate = &lag.AckRate
	}
	return doc
}

// secondsOf is nil for what is not known.
func secondsOf(d time.Duration) *float64 {
	if d < 0 {
		return nil
	}
	return new(d.Seconds())
}

// lagText is a lag for people.
func lagText(lag int64) string {
	if lag < 0 {
		return "-"
	}
	return grouped(lag)
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
func (d *lagDoc) paced(over time.Duration, cells []string) []string {
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
