package core

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// MaxCronBytes bounds the text of a schedule.
const MaxCronBytes = 256

// cronYears is how far ahead the next time is looked for: a 29th of February is on a given day of the week
// every 28 years, or 40 where a year like 2100 is between.
const cronYears = 41

// Cron is when something is due again and again: a schedule of five fields as crontab(5) has them, of six
// with seconds in front, or @every and a duration.
//
// It goes by the clock on the wall of its zone. Where that is set forward, what is due in the hour that is
// missing is due once, at the jump; where it is set back, what is due in the hour that comes twice is due the
// first time only. A schedule of every hour knows no missing hours and goes on as time does.
type Cron struct {
	every   time.Duration // of @every, else 0
	second  uint64        // bits of the seconds that fit, and so on
	minute  uint64
	hour    uint64
	day     uint64
	month   uint64
	weekday uint64
	either  bool // a day fits by day or by weekday, because both are restricted
	zone    *time.Location
}

// cronField is the bounds of a field.
type cronField struct {
	name     string
	low      int
	high     int
	names    string // three letters each, from low on
	anything bool   // ? is *
}

var cronFields = [...]cronField{
	{"second", 0, 59, "", false},
	{"minute", 0, 59, "", false},
	{"hour", 0, 23, "", false},
	{"day", 1, 31, "", true},
	{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", false},
	{"weekday", 0, 7, "sunmontuewedthufrisat", true},
}

var cronMacros = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Bounds of @every.
const (
	MinEvery = time.Second
	MaxEvery = MaxDelay
)

// allHours are the bits of a schedule of every hour.
const allHours = 1<<24 - 1

// ParseCron reads a schedule for a zone. It is CodeInvalidConfig, and says which field is wrong, also where a
// schedule is never due, as on the 30th of February.
func ParseCron(spec string, zone *time.Location) (Cron, error) {
	c := Cron{zone: zone}
	err := c.parse(spec)
	if err == nil {
		if _, found := c.Next(time.Unix(0, 0), time.Unix(0, 0)); !found {
			err = fmt.Errorf("no such day comes")
		}
	}
	if err != nil {
		return Cron{}, &Error{Code: CodeInvalidConfig, Op: "read schedule " + Quote(spec[:min(len(spec), 80)]),
			Err: err, Hint: "want minute, hour, day, month and weekday as in 30 9 * * mon-fri, seconds before them " +
				"if there are six; or @hourly, @daily, @weekly, @monthly, @yearly, or @every 90s"}
	}
	return c, nil
}

func (c *Cron) parse(spec string) error {
	if len(spec) > MaxCronBytes {
		return fmt.Errorf("%d bytes, at most %d", len(spec), MaxCronBytes)
	}
	words := strings.Fields(strings.ToLower(spec))
	if len(words) == 2 && words[0] == "@every" {
		every, err := time.ParseDuration(words[1])
		if err != nil || every < MinEvery || every > MaxEvery || every%time.Millisecond != 0 {
			return fmt.Errorf("@every %s: want %v to %v, in whole milliseconds", Quote(words[1]), MinEvery,
				MaxEvery)
		}
		c.every = every
		return nil
	}
	if len(words) == 1 {
		if macro, ok := cronMacros[words[0]]; ok {
			words = strings.Fields(macro)
		}
	}
	if len(words) == 5 {
		words = append([]string{"0"}, words...)
	}
	if len(words) != len(cronFields) {
		return fmt.Errorf("%d fields, want 5 or 6", len(words))
	}
	sets := [...]*uint64{&c.second, &c.minute, &c.hour, &c.day, &c.month, &c.weekday}
	for i, word := range words {
		set, err := cronFields[i].parse(word)
		if err != nil {
			return fmt.Errorf("%s %s: %w", cronFields[i].name, Quote(word), err)
		}
		*sets[i] = set
	}
	if c.weekday&(1<<7) != 0 {
		c.weekday = c.weekday&^(1<<7) | 1 // 7 is Sunday too
	}
	starred := func(word string) bool { return word[0] == '*' || word == "?" }
	c.either = !starred(words[3]) && !starred(words[5])
	return nil
}

// parse reads a list of values, ranges and steps.
func (f *cronField) parse(word string) (set uint64, err error) {
	for part := range strings.SplitSeq(word, ",") {
		span, step, stepped := strings.Cut(part, "/")
		low, high := f.low, f.high
		first, last, ranged := strings.Cut(span, "-")
		switch {
		case span == "*" || span == "?" && f.anything:
			if f.high == 7 {
				high = 6
			}
		default:
			if low, err = f.value(first); err != nil {
				return 0, err
			}
			switch {
			case ranged:
				if high, err = f.value(last); err != nil {
					return 0, err
				}
				if f.high == 7 && high == 0 && low > 0 {
					high = 7 // fri-sun
				}
			case !stepped:
				high = low
			}
		}
		by := 1
		if stepped {
			if by, err = strconv.Atoi(step); err != nil || by < 1 || by > f.high {
				return 0, fmt.Errorf("step %s: want 1 to %d", Quote(step), f.high)
			}
		}
		if low > high {
			return 0, fmt.Errorf("from %d to %d", low, high)
		}
		for v := low; v <= high; v += by {
			set |= 1 << v
		}
	}
	return set, nil
}

// value reads a number or a name.
func (f *cronField) value(text string) (int, error) {
	if len(text) == 3 && len(f.names) > 0 {
		if at := strings.Index(f.names, text); at >= 0 && at%3 == 0 {
			return f.low + at/3, nil
		}
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%s is no number from %d to %d", Quote(text), f.low, f.high)
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.low || v > f.high {
		return 0, fmt.Errorf("%s is no number from %d to %d", Quote(text), f.low, f.high)
	}
	return v, nil
}

// Next gives the first time after another one at which it is due, in whole milliseconds; false if none
// comes within cronYears. @every counts from start.
func (c *Cron) Next(start, after time.Time) (time.Time, bool) {
	if c.every > 0 {
		passed := after.Sub(start)
		if passed < 0 {
			return start.Add(c.every), true
		}
		return start.Add((passed/c.every + 1) * c.every), true
	}
	if c.hour == allHours {
		return c.nextElapsed(after)
	}
	civil := asUTC(after.In(c.zone)).Truncate(time.Second)
	// A second that comes twice is on the wall before it is due.
	for last := civil.AddDate(cronYears, 0, 0); ; {
		var found bool
		if civil, found = c.nextCivil(civil, last); !found {
			return time.Time{}, false
		}
		if at := instant(civil, c.zone); at.After(after) {
			return at, true
		}
		civil = civil.Add(time.Second)
	}
}

// asUTC gives the time of UTC at which clocks show what they show at t.
func asUTC(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// nextCivil gives the first time on the wall, told as one of UTC, that fits and is not before t.
func (c *Cron) nextCivil(t, last time.Time) (time.Time, bool) {
	for !t.After(last) {
		if day := c.firstDay(t, last); !day.Equal(t) {
			if t = day; t.After(last) {
				break
			}
		}
		if at, found := c.inDay(t); found {
			return at, true
		}
		t = midnight(t).AddDate(0, 0, 1)
	}
	return time.Time{}, false
}

// firstDay gives t if its day fits, or else the first midnight behind it whose day does.
func (c *Cron) firstDay(t, last time.Time) time.Time {
	for !c.fitsDay(t) && !t.After(last) {
		if c.month>>t.Month()&1 == 0 {
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		}
		t = midnight(t).AddDate(0, 0, 1)
	}
	return t
}

func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

func (c *Cron) fitsDay(t time.Time) bool {
	if c.month>>t.Month()&1 == 0 {
		return false
	}
	day, weekday := c.day>>t.Day()&1 != 0, c.weekday>>t.Weekday()&1 != 0
	if c.either {
		return day || weekday
	}
	return day && weekday
}

// inDay gives the first time of the day of t that fits and is not before t.
func (c *Cron) inDay(t time.Time) (time.Time, bool) {
	hour, minute, second := t.Clock()
	h := nextOf(c.hour, hour)
	if h != hour {
		minute, second = 0, 0
	}
	m := nextOf(c.minute, minute)
	if m != minute {
		second = 0
	}
	s := nextOf(c.second, second)
	if s == 64 && m < 64 {
		m, s = nextOf(c.minute, m+1), nextOf(c.second, 0)
	}
	if m == 64 && h < 64 {
		h, m, s = nextOf(c.hour, h+1), nextOf(c.minute, 0), nextOf(c.second, 0)
	}
	if h == 64 {
		return t, false
	}
	return time.Date(t.Year(), t.Month(), t.Day(), h, m, s, 0, time.UTC), true
}

// nextOf is the first bit set from i on, 64 if there is none.
func nextOf(set uint64, i int) int {
	if set >>= i; set == 0 {
		return 64
	}
	return i + bits.TrailingZeros64(set)
}

// instant gives the first time at which clocks of a zone show what clocks of UTC show at civil; where they
// never do, the time at which they jump over it.
func instant(civil time.Time, zone *time.Location) time.Time {
	const around = 24 * time.Hour // in which there is one change at most
	at := func(near time.Time) (time.Time, bool) {
		_, offset := near.In(zone).Zone()
		t := civil.Add(-time.Duration(offset) * time.Second)
		_, there := t.In(zone).Zone()
		return t, there == offset
	}
	before, right := at(civil.Add(-around))
	if right {
		return before
	}
	after, right := at(civil.Add(around))
	if right {
		return after
	}
	if _, jump := after.In(zone).ZoneBounds(); !jump.IsZero() {
		return jump.UTC()
	}
	return before
}

// nextElapsed is Next for a schedule of every hour: all that counts is what the clock shows.
func (c *Cron) nextElapsed(after time.Time) (time.Time, bool) {
	t := after.Truncate(time.Second).Add(time.Second)
	for last := t.AddDate(cronYears, 0, 0); !t.After(last); {
		civil := asUTC(t.In(c.zone))
		if !c.fitsDay(civil) {
			day := c.firstDay(civil, civil.AddDate(cronYears, 0, 1))
			// To the morning of that day, by whatever offset; not over it.
			if ahead := day.Sub(civil) - 26*time.Hour; ahead > 0 {
				t = t.Add(ahead)
			} else {
				t = c.step(t, civil)
			}
			continue
		}
		ahead, found := c.inHour(civil)
		if !found {
			t = c.step(t, civil)
			continue
		}
		next := t.Add(ahead)
		if got := asUTC(next.In(c.zone)); got.Sub(civil) == ahead {
			return next, true
		}
		if _, t = t.In(c.zone).ZoneBounds(); t.IsZero() { // the clock is set in between
			break
		}
	}
	return time.Time{}, false
}

// inHour gives how long it is from civil until the first time that fits in its hour.
func (c *Cron) inHour(civil time.Time) (time.Duration, bool) {
	_, minute, second := civil.Clock()
	m, s := nextOf(c.minute, minute), nextOf(c.second, 0)
	if m == minute {
		s = nextOf(c.second, second)
	}
	if s == 64 && m < 64 {
		m, s = nextOf(c.minute, m+1), nextOf(c.second, 0)
	}
	if m == 64 {
		return 0, false
	}
	return time.Duration(m-minute)*time.Minute + time.Duration(s-second)*time.Second, true
}

// step goes to the next quarter of an hour, or to where the clock is set, if that is before.
func (c *Cron) step(t, civil time.Time) time.Time {
	const quarter = 15 * time.Minute
	next := t.Add(civil.Truncate(quarter).Add(quarter).Sub(civil))
	if _, set := t.In(c.zone).ZoneBounds(); !set.IsZero() && set.Before(next) {
		return set
	}
	return next
}
