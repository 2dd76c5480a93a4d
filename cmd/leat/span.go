package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// span is a flag for a duration, also in days, of one kind.
type span struct {
	value time.Duration // 0: nothing was said
	kind  *spanKind
}

// spanKind is what a span may be.
type spanKind struct {
	least, most time.Duration // most is 0 where there is no bound
	orNone      bool          // none and 0 are taken, too,
	none        time.Duration // and mean this
	like        string        // for errors
}

var (
	lifespans = spanKind{least: leat.MinRetention, orNone: true, none: leat.KeepForever, like: "7d, 36h or 90m"}
	ttls      = spanKind{least: core.MinTTL, most: core.MaxTTL, orNone: true, like: "250ms, 90s or 7d"}
	windows   = spanKind{least: core.MinDedupWindow, most: core.MaxDedupWindow, like: "10m"}
	leases    = spanKind{least: time.Millisecond, most: 24 * time.Hour, like: "30s or 5m"}
)

// String gives the spelling that Set reads.
func (s *span) String() string {
	if s.value == 0 {
		return "" // no default is shown
	}
	return humanSpan(s.value)
}

// Set reads 7d, 36h, 90s or 250ms, and none where that means something.
func (s *span) Set(text string) error {
	k := s.kind
	if k.orNone && (text == "none" || text == "0") {
		s.value = k.none
		return nil
	}
	value, err := parseSpan(text)
	if err != nil || value < k.least || k.most != 0 && value > k.most {
		return k.refusal()
	}
	s.value = value
	return nil
}

func (k *spanKind) refusal() error {
	want := "want a duration of " + humanSpan(k.least)
	if k.most != 0 {
		want += " to " + humanSpan(k.most)
	} else {
		want += " or more"
	}
	want += ", such as " + k.like
	if k.orNone {
		want += ", or none"
	}
	return fmt.Errorf("%s", want)
}

// Type names the value in help texts.
func (s *span) Type() string { return "duration" }

// parseSpan reads a duration, also in days.
func parseSpan(text string) (time.Duration, error) {
	if digits, ok := strings.CutSuffix(text, "d"); ok {
		days, err := strconv.ParseUint(digits, 10, 16) // 65,535 days fit a Duration
		return time.Duration(days) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// humanSpan is a duration in the largest units that are exact.
func humanSpan(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "none"
	case d >= day && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, nothing) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// humanTTL says a time to live in words.
func humanTTL(ttl time.Duration) string {
	if ttl == 0 {
		return "none"
	}
	return humanSpan(ttl)
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
