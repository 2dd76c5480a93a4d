package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// ttl is a flag for how long messages are delivered: a duration, also in days, or none.
type ttl time.Duration

// String gives the spelling that Set reads.
func (t *ttl) String() string {
	if *t == 0 {
		return "" // no default is shown
	}
	return humanSpan(time.Duration(*t))
}

// Set reads 7d, 90s, 250ms, or none.
func (t *ttl) Set(text string) error {
	if text == "none" || text == "0" {
		*t = 0
		return nil
	}
	span, err := parseSpan(text)
	if err != nil || span < core.MinTTL || span > core.MaxTTL {
		return fmt.Errorf("want a duration of %v to 3650d, such as 250ms, 90s or 7d, or none", core.MinTTL)
	}
	*t = ttl(span)
	return nil
}

// Type names the value in help texts.
func (t *ttl) Type() string { return "duration" }

// humanTTL says a time to live in words.
func humanTTL(span time.Duration) string {
	if span == 0 {
		return "none"
	}
	return humanSpan(span)
}

// alteredSpans prints a line for each span of a topic's messages that has changed.
func (a *app) alteredSpans(was, is *leat.TopicConfig) {
	if was.TTL != is.TTL {
		fmt.Fprintf(a.stdout, "ttl: %s → %s\n", humanTTL(was.TTL), humanTTL(is.TTL))
	}
	if was.DedupWindow != is.DedupWindow {
		fmt.Fprintf(a.stdout, "dedup-window: %s → %s\n",
			humanSpan(cmp.Or(was.DedupWindow, core.DefaultDedupWindow)),
			humanSpan(cmp.Or(is.DedupWindow, core.DefaultDedupWindow)))
	}
}

// dedupWindow is a flag for how long ids are remembered.
type dedupWindow time.Duration

// String gives the spelling that Set reads.
func (w *dedupWindow) String() string {
	if *w == 0 {
		return "" // no default is shown
	}
	return humanSpan(time.Duration(*w))
}

// Set reads 90s, 10m or 24h.
func (w *dedupWindow) Set(text string) error {
	span, err := parseSpan(text)
	if err != nil || span < core.MinDedupWindow || span > core.MaxDedupWindow {
		return fmt.Errorf("want a duration of %v to 24h, such as 10m", core.MinDedupWindow)
	}
	*w = dedupWindow(span)
	return nil
}

// Type names the value in help texts.
func (w *dedupWindow) Type() string { return "duration" }
