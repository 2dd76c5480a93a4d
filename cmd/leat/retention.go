package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/admindoc"
)

// retentionFlags are what a topic keeps.
type retentionFlags struct {
	age     span
	bytes   size
	records int64
}

// add defines the flags of a verb.
func (r *retentionFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	r.age.kind = &lifespans
	flags.Var(&r.age, "retention", "how long records are kept, as 7d (the default) or 36h; none is for ever")
	flags.Var(&r.bytes, "retention-bytes", "what each partition keeps; 0 sets no limit")
	flags.Int64Var(&r.records, "retention-records", 0, "records that each partition keeps; 0 sets no limit")
}

// config sets what a new topic keeps.
func (r *retentionFlags) config(cfg *leat.TopicConfig) {
	cfg.Retention, cfg.RetentionBytes, cfg.RetentionRecords = r.age.value, int64(r.bytes), r.records
}

// change sets what was named.
func (r *retentionFlags) change(cmd *cobra.Command, change *leat.TopicChange) {
	if cmd.Flags().Changed("retention") {
		change.Retention = new(r.age.value)
	}
	if cmd.Flags().Changed("retention-bytes") {
		change.RetentionBytes = new(int64(r.bytes))
	}
	if cmd.Flags().Changed("retention-records") {
		change.RetentionRecords = new(r.records)
	}
}

// keeps says what a topic keeps.
func keeps(d *admindoc.TopicState) string {
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
