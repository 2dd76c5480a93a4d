package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
)

// lifespan is a flag for how long records are kept: a duration, also in days, or none for ever.
type lifespan time.Duration

// String gives the spelling that Set reads.
func (l *lifespan) String() string {
	if *l == 0 {
		return "" // no default is shown
	}
	return humanSpan(time.Duration(*l))
}

// Set reads 7d, 36h, 90s, or none.
func (l *lifespan) Set(text string) error {
	if text == "none" || text == "0" {
		*l = lifespan(leat.KeepForever)
		return nil
	}
	age, err := parseSpan(text)
	if err != nil || age < leat.MinRetention {
		return errors.New("want a duration of 1s or more, such as 7d, 36h or 90m, or none")
	}
	*l = lifespan(age)
	return nil
}

// parseSpan reads a duration, also in days.
func parseSpan(text string) (time.Duration, error) {
	if digits, ok := strings.CutSuffix(text, "d"); ok {
		days, err := strconv.ParseUint(digits, 10, 16) // 65,535 days fit a Duration
		return time.Duration(days) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// Type names the value in help texts.
func (l *lifespan) Type() string { return "duration" }

// humanSpan is an age in the largest units that are exact.
func humanSpan(age time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case age < 0:
		return "none"
	case age >= day && age%day == 0:
		return strconv.FormatInt(int64(age/day), 10) + "d"
	}
	text := age.String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, nothing) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// retentionFlags are what a topic keeps.
type retentionFlags struct {
	age     lifespan
	bytes   size
	records int64
}

// add defines the flags of a verb.
func (r *retentionFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(&r.age, "retention", "how long records are kept, as 7d (the default) or 36h; none is for ever")
	flags.Var(&r.bytes, "retention-bytes", "what each partition keeps; 0 sets no limit")
	flags.Int64Var(&r.records, "retention-records", 0, "records that each partition keeps; 0 sets no limit")
}

// config sets what a new topic keeps.
func (r *retentionFlags) config(cfg *leat.TopicConfig) {
	cfg.Retention, cfg.RetentionBytes, cfg.RetentionRecords = time.Duration(r.age), int64(r.bytes), r.records
}

// change sets what was named.
func (r *retentionFlags) change(cmd *cobra.Command, change *leat.TopicChange) {
	if cmd.Flags().Changed("retention") {
		change.Retention = new(time.Duration(r.age))
	}
	if cmd.Flags().Changed("retention-bytes") {
		change.RetentionBytes = new(int64(r.bytes))
	}
	if cmd.Flags().Changed("retention-records") {
		change.RetentionRecords = new(r.records)
	}
}

// keeps says what a topic keeps.
func (d *topicDoc) keeps() string {
	var limits []string
	if d.RetentionMillis > 0 {
		limits = append(limits, humanSpan(time.Duration(d.RetentionMillis)*time.Millisecond))
	}
	if d.RetentionBytes > 0 {
		limits = append(limits, humanBytes(d.RetentionBytes))
	}
	if d.RetentionRecords > 0 {
		limits = append(limits, humanRecords(d.RetentionRecords)+" records")
	}
	if d.Cleanup == leat.CleanupCompact.String() {
		limits = append([]string{"newest of each key"}, limits...)
	}
	if len(limits) == 0 {
		return "all"
	}
	return strings.Join(limits, ", ")
}

func humanRetention(n int64) string {
	if n == 0 {
		return "all"
	}
	return humanBytes(n)
}

func humanRecords(n int64) string {
	if n == 0 {
		return "all"
	}
	return grouped(n)
}

// alteredRetention prints a line for each setting of retention that has changed.
func (a *app) alteredRetention(was, is *leat.TopicConfig) {
	if was.Retention != is.Retention {
		fmt.Fprintf(a.stdout, "retention: %s → %s\n", humanSpan(was.Retention), humanSpan(is.Retention))
	}
	if was.RetentionBytes != is.RetentionBytes {
		fmt.Fprintf(a.stdout, "retention-bytes: %s → %s\n",
			humanRetention(was.RetentionBytes), humanRetention(is.RetentionBytes))
	}
	if was.RetentionRecords != is.RetentionRecords {
		fmt.Fprintf(a.stdout, "retention-records: %s → %s\n",
			humanRecords(was.RetentionRecords), humanRecords(is.RetentionRecords))
	}
}
