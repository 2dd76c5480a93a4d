package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leatbus/leat"
)

// units are the suffixes of a size, the largest first.
var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// size is a flag for a number of bytes.
type size int64

// String gives the shortest exact spelling.
func (s *size) String() string {
	for _, u := range units {
		if n := int64(*s); u.bytes > 1 && n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Set reads a number with or without a unit.
func (s *size) Set(text string) error {
	digits, unit := text, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
	if err != nil || int64(n) > (1<<62)/unit {
		return fmt.Errorf("want a number of bytes, such as 65536, 64KiB, 10MiB or 1GiB")
	}
	*s = size(int64(n) * unit)
	return nil
}

// Type names the value in help texts.
func (s *size) Type() string { return "bytes" }

// humanBytes is a size for people, with one decimal.
func humanBytes(n int64) string {
	for _, u := range units {
		if n >= u.bytes && u.bytes > 1 {
			return strconv.FormatFloat(float64(n)/float64(u.bytes), 'f', 1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

// grouped is a number for people, as in 1,234,567.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

const wantPosition = "want earliest, latest, an offset, @TIME (RFC 3339, a date, or seconds since 1970) " +
	"or a time back from now such as -15m"

// parsePosition reads where to start; now is in nanoseconds since 1970.
func parsePosition(text string, now int64) (leat.Position, error) {
	wrong := fmt.Errorf("%q: %s", text, wantPosition)
	switch {
	case text == "earliest":
		return leat.Earliest, nil
	case text == "latest":
		return leat.Latest, nil
	case strings.HasPrefix(text, "@"):
		at, ok := parseTime(text[1:])
		if !ok {
			return leat.Position{}, wrong
		}
		return leat.AtTime(at), nil
	case strings.HasPrefix(text, "-"):
		back, err := time.ParseDuration(text[1:])
		if err != nil || back < 0 {
			return leat.Position{}, wrong
		}
		return leat.AtTime(time.Unix(0, now).Add(-back)), nil
	}
	offset, err := strconv.ParseInt(text, 10, 64)
	if err != nil || offset < 0 {
		return leat.Position{}, wrong
	}
	return leat.AtOffset(offset), nil
}

// timeForms are the spellings of a time; without a zone it is UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", time.DateOnly}

func parseTime(text string) (time.Time, bool) {
	for _, form := range timeForms {
		if at, err := time.Parse(form, text); err == nil {
			return at, at.Year() >= 1970 && at.Year() < 2262 // what nanoseconds in 64 bits can hold
		}
	}
	seconds, err := strconv.ParseUint(text, 10, 33)
	return time.Unix(int64(seconds), 0), err == nil
}
