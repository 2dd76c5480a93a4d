package main

import (
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

// alteredTTL prints a line if the time to live of a topic has changed.
func (a *app) alteredTTL(was, is *leat.TopicConfig) {
	if was.TTL != is.TTL {
		fmt.Fprintf(a.stdout, "ttl: %s → %s\n", humanTTL(was.TTL), humanTTL(is.TTL))
	}
}
