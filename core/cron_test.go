package core

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func zoneOf(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func cronOf(t testing.TB, spec, zone string) Cron {
	t.Helper()
	c, err := ParseCron(spec, zoneOf(t, zone))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func timeOf(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// cronTest is times of a schedule.
type cronTest struct {
	name, spec, zone, after string
	want                    string // separated by spaces
}

func TestCronNext(t *testing.T) {
	checkCron(t, []cronTest{
		{"every minute", "* * * * *", "UTC", "2026-11-26T12:00:00Z", "2026-11-26T12:01:00Z 2026-11-26T12:02:00Z"},
		{"between", "* * * * *", "UTC", "2026-11-26T12:00:00.5Z", "2026-11-26T12:01:00Z"},
		{"just before", "* * * * *", "UTC", "2026-11-26T11:59:59.999999999Z", "2026-11-26T12:00:00Z"},
		{"seconds", "*/20 * * * * *", "UTC", "2026-11-26T12:00:05Z",
			"2026-11-26T12:00:20Z 2026-11-26T12:00:40Z 2026-11-26T12:01:00Z"},
		{"daily", "30 9 * * *", "UTC", "2026-11-26T12:00:00Z", "2026-11-27T09:30:00Z 2026-11-28T09:30:00Z"},
		{"daily, on time", "30 9 * * *", "UTC", "2026-11-26T09:30:00Z", "2026-11-27T09:30:00Z"},
		{"in a zone", "30 9 * * *", "Asia/Kolkata", "2026-11-26T12:00:00Z", "2026-11-27T04:00:00Z"},
		{"weekdays", "0 9 * * mon-fri", "UTC", "2026-11-26T12:00:00Z", // a Thursday
			"2026-11-27T09:00:00Z 2026-11-30T09:00:00Z"},
		{"over the week's end", "0 9 * * fri-sun", "UTC", "2026-11-26T12:00:00Z",
			"2026-11-27T09:00:00Z 2026-11-28T09:00:00Z 2026-11-29T09:00:00Z 2026-12-04T09:00:00Z"},
		{"7 is Sunday", "0 0 * * 7", "UTC", "2026-11-26T12:00:00Z", "2026-11-29T00:00:00Z"},
		{"day or weekday", "0 0 13 * 5", "UTC", "2026-11-26T12:00:00Z",
			"2026-11-27T00:00:00Z 2026-12-04T00:00:00Z 2026-12-11T00:00:00Z 2026-12-13T00:00:00Z"},
		{"day and any weekday", "0 0 13 * ?", "UTC", "2026-11-26T12:00:00Z", "2026-12-13T00:00:00Z"},
		{"a star with a step is a star", "0 0 */10 * mon", "UTC", "2026-11-26T12:00:00Z", "2026-12-21T00:00:00Z"},
		{"months", "0 0 1 jan,jul *", "UTC", "2026-11-26T12:00:00Z", "2027-01-01T00:00:00Z 2027-07-01T00:00:00Z"},
		{"the 31st", "0 0 31 * *", "UTC", "2026-11-26T12:00:00Z", "2026-12-31T00:00:00Z 2027-01-31T00:00:00Z " +
			"2027-03-31T00:00:00Z"},
		{"a leap day", "0 0 29 2 *", "UTC", "2026-11-26T12:00:00Z", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
		{"a leap day over 2100", "0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"lists and steps", "5-20/10,50 8,20 * * *", "UTC", "2026-11-26T08:10:00Z",
			"2026-11-26T08:15:00Z 2026-11-26T08:50:00Z 2026-11-26T20:05:00Z"},
		{"a step from a value", "50/5 * * * *", "UTC", "2026-11-26T08:51:00Z",
			"2026-11-26T08:55:00Z 2026-11-26T09:50:00Z"},
		{"hourly", "@hourly", "UTC", "2026-11-26T08:51:00Z", "2026-11-26T09:00:00Z"},
		{"weekly", "@weekly", "UTC", "2026-11-26T08:51:00Z", "2026-11-29T00:00:00Z"},
		{"yearly", "@yearly", "America/New_York", "2026-11-26T08:51:00Z", "2027-01-01T05:00:00Z"},
		{"every hour of some days", "0 * 1 * *", "UTC", "2026-11-30T23:30:00Z",
			"2026-12-01T00:00:00Z 2026-12-01T01:00:00Z"},
		{"every hour of a day far away", "59 * 31 12 *", "Pacific/Auckland", "2026-01-01T00:00:00Z",
			"2026-12-30T11:59:00Z 2026-12-30T12:59:00Z"},
	})
}

func TestCronWhenClocksAreSet(t *testing.T) {
	checkCron(t, []cronTest{
		// Berlin: 2026-03-29 02:00 becomes 03:00 at 01:00 UTC; 2026-10-25 03:00 becomes 02:00 at 01:00 UTC.
		{"in the missing hour", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z",
			"2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
		{"all of the missing hour", "*/10 2 29 3 *", "Europe/Berlin", "2026-03-29T00:59:00Z",
			"2026-03-29T01:00:00Z 2027-03-29T00:00:00Z"},
		{"the missing hour and the next", "0,30 2,3 29 3 *", "Europe/Berlin", "2026-03-29T00:00:00Z",
			"2026-03-29T01:00:00Z 2026-03-29T01:30:00Z 2027-03-29T00:00:00Z"},
		{"in the hour that comes twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			"2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"from its second time", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z"},
		{"some minutes of it", "*/30 1-3 25 10 *", "Europe/Berlin", "2026-10-24T22:59:00Z",
			"2026-10-24T23:00:00Z 2026-10-24T23:30:00Z 2026-10-25T00:00:00Z 2026-10-25T00:30:00Z " +
				"2026-10-25T02:00:00Z 2026-10-25T02:30:00Z"},
		{"every hour, one missing", "15 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z",
			"2026-03-29T00:15:00Z 2026-03-29T01:15:00Z"},
		{"every hour, one twice", "15 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z",
			"2026-10-25T00:15:00Z 2026-10-25T01:15:00Z 2026-10-25T02:15:00Z"},
		// Lord Howe: by half an hour only. 2026-04-05 02:00 becomes 01:30 at 15:00 UTC the day before.
		{"every hour, half of one twice", "45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z",
			"2026-04-04T14:45:00Z 2026-04-04T15:15:00Z 2026-04-04T16:15:00Z"},
		{"half an hour twice", "45 1 5 4 *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z",
			"2026-04-04T14:45:00Z 2027-04-04T15:15:00Z"},
		// Santiago: midnight is missing. 2026-09-06 00:00 becomes 01:00 at 04:00 UTC.
		{"no midnight", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z",
			"2026-09-06T04:00:00Z 2026-09-07T03:00:00Z"},
		// Apia went over the date line: 2011-12-30 is missing as a whole.
		{"a day that is missing", "0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z",
			"2011-12-29T22:00:00Z 2011-12-30T10:00:00Z 2011-12-30T22:00:00Z"},
	})
}

func checkCron(t *testing.T, tests []cronTest) {
	t.Helper()
	for _, tt := range tests {
		c, at := cronOf(t, tt.spec, tt.zone), timeOf(t, tt.after)
		for _, want := range strings.Fields(tt.want) {
			next, found := c.Next(time.Time{}, at)
			if !found || !next.Equal(timeOf(t, want)) {
				t.Errorf("%s: %q in %s after %v: %v, %v; want %s", tt.name, tt.spec, tt.zone, at.UTC(), next.UTC(),
					found, want)
				break
			}
			at = next
		}
	}
}

func TestCronEvery(t *testing.T) {
	c := cronOf(t, "@every 90s", "UTC")
	start := timeOf(t, "2026-11-26T12:00:00.25Z")
	for after, want := range map[string]string{
		"2026-11-26T11:00:00Z":    "2026-11-26T12:01:30.25Z",
		"2026-11-26T12:00:00.25Z": "2026-11-26T12:01:30.25Z",
		"2026-11-26T12:01:30.25Z": "2026-11-26T12:03:00.25Z",
		"2026-11-26T13:00:00Z":    "2026-11-26T13:00:00.25Z",
	} {
		if next, found := c.Next(start, timeOf(t, after)); !found || !next.Equal(timeOf(t, want)) {
			t.Errorf("after %s: %v, %v; want %s", after, next.UTC(), found, want)
		}
	}
}

func TestCronIsChecked(t *testing.T) {
	for spec, want := range map[string]string{
		"":                             "0 fields",
		"* * * *":                      "4 fields",
		"* * * * * * *":                "7 fields",
		"60 * * * *":                   "minute",
		"* 24 * * *":                   "hour",
		"* * 0 * *":                    "day",
		"* * 32 * *":                   "day",
		"* * * 13 *":                   "month",
		"* * * foo *":                  "month",
		"* * * * 8":                    "weekday",
		"* * * * anf":                  "weekday",
		"60 * * * * *":                 "second",
		"*/0 * * * *":                  "step",
		"*/60 * * * *":                 "step",
		"*/x * * * *":                  "step",
		"*/ * * * *":                   "step",
		"5-1 * * * *":                  "from 5 to 1",
		"1- * * * *":                   "minute",
		"-1 * * * *":                   "minute",
		"+1 * * * *":                   "minute",
		"1,,2 * * * *":                 "minute",
		"? * * * *":                    "minute",
		"1-2-3 * * * *":                "minute",
		"99999999999999999999 * * * *": "minute",
		"0 0 30 2 *":                   "no such day",
		"0 0 31 4,6 *":                 "no such day",
		"@every":                       "fields",
		"@every x":                     "@every",
		"@every 1ms":                   "@every",
		"@every 1000000h":              "@every",
		"@every 1.5us":                 "@every",
		"@reboot":                      "fields",
		strings.Repeat("1,", 200):      "bytes",
	} {
		if c, err := ParseCron(spec, time.UTC); CodeOf(err) != CodeInvalidConfig || err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("ParseCron(%q) = %+v, %v; want %q", spec, c, err, want)
		}
	}
	for _, name := range []string{"", "Local", "Mars/Olympus", "../UTC", "./UTC", "Europe//Berlin",
		strings.Repeat("x", 65)} {
		if zone, err := LoadZone(name); CodeOf(err) != CodeInvalidConfig || err == nil {
			t.Errorf("LoadZone(%q) = %v, %v", name, zone, err)
		}
	}
}

// changes are when clocks are set: in spring, in autumn, at midnight, a minute after it, by half an hour or
// two hours, and over a whole day.
var changes = []struct{ zone, at string }{
	{"Europe/Berlin", "2026-03-29T01:00:00Z"}, {"Europe/Berlin", "2026-10-25T01:00:00Z"},
	{"America/New_York", "2026-03-08T07:00:00Z"}, {"America/New_York", "2026-11-01T06:00:00Z"},
	{"America/Santiago", "2026-09-06T04:00:00Z"}, {"America/Santiago", "2026-04-05T03:00:00Z"},
	{"America/Havana", "2026-03-08T05:00:00Z"}, {"America/Havana", "2026-11-01T05:00:00Z"},
	{"Asia/Beirut", "2026-03-28T22:00:00Z"}, {"Africa/Cairo", "2026-04-23T22:00:00Z"},
	{"America/St_Johns", "2006-04-02T03:31:00Z"}, {"America/St_Johns", "2006-10-29T02:31:00Z"},
	{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"}, {"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
	{"Pacific/Chatham", "2026-04-04T14:00:00Z"}, {"Pacific/Chatham", "2026-09-26T14:00:00Z"},
	{"Antarctica/Troll", "2026-03-29T01:00:00Z"}, {"Antarctica/Troll", "2026-10-25T01:00:00Z"},
	{"Pacific/Apia", "2011-12-30T10:00:00Z"}, {"Asia/Kathmandu", "2026-03-29T01:00:00Z"},
}

// TestCronAgainstEveryMinute compares Next with looking at every minute around changes of clocks.
func TestCronAgainstEveryMinute(t *testing.T) {
	const window = 6 * time.Hour
	set := 0
	for _, change := range changes {
		zone, begin := zoneOf(t, change.zone), timeOf(t, change.at).Add(-window/2)
		if _, end := begin.In(zone).ZoneBounds(); end.Equal(timeOf(t, change.at)) {
			set++
		}
		for _, minute := range []string{"*", "*/7", "0", "30", "1", "15,45", "59"} {
			for _, hour := range []string{"*", "0", "1", "2", "3", "0-5", "*/2", "23"} {
				spec := minute + " " + hour + " * * *"
				c := cronOf(t, spec, change.zone)
				var got []time.Time
				for at, _ := c.Next(begin, begin); at.Sub(begin) <= window; at, _ = c.Next(begin, at) {
					got = append(got, at.UTC())
				}
				want := c.byMinutes(begin, window)
				if !slices.EqualFunc(got, want, time.Time.Equal) {
					t.Errorf("%s in %s from %v: %v, want %v", spec, change.zone, begin, got, want)
				}
			}
		}
	}
	if set < len(changes)-3 || set == len(changes) { // but for Kathmandu; a machine may not know the newest laws
		t.Errorf("clocks are set at %d of the %d times", set, len(changes))
	}
}

// byMinutes looks at every minute.
func (c *Cron) byMinutes(begin time.Time, window time.Duration) (list []time.Time) {
	shown := map[time.Time]bool{} // what clocks have shown
	last := asUTC(begin.In(c.zone))
	shown[last] = true
	for at := begin.Add(time.Minute); at.Sub(begin) <= window; at = at.Add(time.Minute) {
		civil := asUTC(at.In(c.zone))
		fits := c.fits(civil)
		if c.hour != allHours {
			fits = fits && !shown[civil]
			for missed := last.Add(time.Minute); missed.Before(civil); missed = missed.Add(time.Minute) {
				fits = fits || c.fits(missed)
			}
		}
		if shown[civil] = true; fits {
			list = append(list, at)
		}
		last = civil
	}
	return list
}

// fits looks at every field.
func (c *Cron) fits(civil time.Time) bool {
	hour, minute, second := civil.Clock()
	return c.fitsDay(civil) && c.hour>>hour&1 != 0 && c.minute>>minute&1 != 0 && c.second>>second&1 != 0
}

func TestCronBehind(t *testing.T) {
	begin := timeOf(t, "2026-03-01T00:00:00Z")
	for _, tt := range []struct {
		spec string
		now  time.Duration
		most int
		want time.Duration // of the first run behind it
	}{
		{"* * * * *", 10*time.Minute + 30*time.Second, 100, time.Minute},
		{"* * * * *", 10*time.Minute + 30*time.Second, 10, time.Minute},
		{"* * * * *", 10*time.Minute + 30*time.Second, 9, 2 * time.Minute},
		{"* * * * *", 10 * time.Minute, 1, 10 * time.Minute},
		{"* * * * *", 10 * time.Minute, 0, 11 * time.Minute},
		{"* * * * * *", 240 * time.Hour, 1000, 240*time.Hour - 999*time.Second},
		{"0 12 * * *", 80 * time.Hour, 1, 60 * time.Hour},
		{"0 12 * * *", 80 * time.Hour, 2, 36 * time.Hour},
		{"@every 90s", 10 * time.Minute, 2, 450 * time.Second},
		{"@every 90s", 10 * time.Minute, 6, 90 * time.Second},
		{"@every 90s", 0, 6, 90 * time.Second},
	} {
		c := cronOf(t, tt.spec, "UTC")
		behind := c.Behind(begin, begin, begin.Add(tt.now), tt.most)
		if next, _ := c.Next(begin, behind); !next.Equal(begin.Add(tt.want)) {
			t.Errorf("%s after %v, the newest %d: from %v, want %v", tt.spec, tt.now, tt.most, next.Sub(begin),
				tt.want)
		}
	}
}

// FuzzCron: nothing panics or runs for ever. What parses is due at times that ascend, and the next one is the
// same from any time before; those that Behind leaves are as many as were asked for.
func FuzzCron(f *testing.F) {
	for _, spec := range []string{"30 9 * * mon-fri", "*/20 * * * * *", "@every 90s", "0 0 29 2 *", "@hourly",
		"5-20/10,50 ? * ? 7", "* 2 * * *"} {
		f.Add(spec, int64(1_774_742_400_000_000_000), int64(7_000_000_000_000), uint8(3))
	}
	zones := []*time.Location{time.UTC, zoneOf(f, "Europe/Berlin"), zoneOf(f, "Australia/Lord_Howe"),
		zoneOf(f, "America/St_Johns")}
	f.Fuzz(func(t *testing.T, spec string, ns, more int64, most uint8) {
		at, start := time.Unix(0, ns&(1<<62-1)), time.Unix(0, 0)
		zone := zones[uint64(more)%uint64(len(zones))]
		c, err := ParseCron(spec, zone)
		if err != nil {
			return
		}
		for range 3 {
			next, found := c.Next(start, at)
			if !found {
				return
			}
			if !next.After(at) || next.UnixNano()%1e6 != 0 {
				t.Fatalf("%q in %v after %v: %v", spec, zone, at, next)
			}
			between := at.Add(time.Duration(more&(1<<62-1)) % next.Sub(at))
			if again, _ := c.Next(start, between); !again.Equal(next) {
				t.Fatalf("%q in %v after %v: %v, but after %v: %v", spec, zone, at, next, between, again)
			}
			at = next
		}
		now := at.Add(time.Duration(more & (1<<50 - 1))) // up to 13 days
		n := int(most % 32)                              // each costs some looks
		behind := c.Behind(start, at, now, n)
		if got := c.count(start, behind, now, n); got > n || behind.After(at) && got != n || behind.Before(at) {
			t.Fatalf("%q in %v: %d runs from %v to %v, want the newest %d behind %v", spec, zone, got, behind, now, n,
				at)
		}
	})
}
