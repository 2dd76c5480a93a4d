package core

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
)

func sampleSchedule(t testing.TB) Schedule {
	return Schedule{Topic: 17, Name: "nightly", Partition: 3, Level: AckDisk, Missed: MissedAll,
		Random: 0x1122334455667788, Start: 1_800_000_000_000_000_000, Spec: "30 2 * * *", Zone: "Europe/Berlin",
		Record: encodedRecord(t, []byte("ACME"), []byte("110"))}
}

func TestScheduleRoundTrip(t *testing.T) {
	s := sampleSchedule(t)
	removed := Schedule{Topic: 17, Name: "nightly", Removed: true}
	for name, tt := range map[string]struct {
		raw  []byte
		want Schedule
	}{
		"schedule": {encodedRecord(t, s.EncodeKey(nil), s.EncodeValue(nil)), s},
		"removed":  {encodedRecord(t, removed.EncodeKey(nil), nil), removed},
	} {
		r := decodedRecord(t, tt.raw)
		got, err := DecodeDelayRecord(&r)
		if err != nil || !reflect.DeepEqual(got, DelayRecord{Kind: DelaySchedule, Schedule: tt.want}) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
		}
	}
	goldenHex(t, "delay-schedule-key.hex", s.EncodeKey(nil))
	goldenHex(t, "delay-schedule-value.hex", s.EncodeValue(nil))
	if c, err := s.Cron(); err != nil || c.zone.String() != s.Zone {
		t.Errorf("Cron = %+v, %v", c, err)
	}
	for i, name := range missedNames {
		if m, err := ParseMissedRuns(name); m != MissedRuns(i) || m.String() != name || m.Validate() != nil ||
			err != nil {
			t.Errorf("ParseMissedRuns(%s) = %v, %v", name, m, err)
		}
	}
	if _, err := ParseMissedRuns("never"); CodeOf(err) != CodeInvalidConfig || missedEnd.Validate() == nil {
		t.Errorf("ParseMissedRuns(never): %v", err)
	}
}

func TestScheduleRefusesDamage(t *testing.T) {
	s := sampleSchedule(t)
	key, value := s.EncodeKey(nil), s.EncodeValue(nil)
	change := func(src []byte, at int, to byte) []byte {
		c := slices.Clone(src)
		c[at] = to
		return c
	}
	for name, tt := range map[string]struct {
		key, value []byte
		code       Code
	}{
		"no name":         {key[:16], value, CodeCorrupt},
		"a bad name":      {change(key, 16, '/'), value, CodeCorrupt},
		"a reserved name": {append(key[:16:16], "__x"...), value, CodeCorrupt},
		"key with more":   {change(key, 3, 1), value, CodeCorrupt},
		"internal topic":  {change(key, 8, 3), value, CodeCorrupt},
		"newer value":     {key, change(value, 0, 2), CodeVersionTooNew},
		"short":           {key, value[:31], CodeCorrupt},
		"level 0":         {key, change(value, 1, 0), CodeCorrupt},
		"policy 3":        {key, change(value, 2, 3), CodeCorrupt},
		"zero at 3":       {key, change(value, 3, 1), CodeCorrupt},
		"partition":       {key, change(value, 7, 0x80), CodeCorrupt},
		"start":           {key, change(value, 23, 0x80), CodeCorrupt},
		"spec too long":   {key, change(value, 25, 2), CodeCorrupt},
		"zone too long":   {key, change(value, 26, 65), CodeCorrupt},
		"zero at 28":      {key, change(value, 28, 1), CodeCorrupt},
		"padding":         {key, change(value, 32+10+13, 1), CodeCorrupt},
		"half a record":   {key, value[:len(value)-8], CodeCorrupt},
	} {
		_, err := DecodeDelayRecord(&Record{Key: tt.key, Value: tt.value})
		if CodeOf(err) != tt.code || err == nil {
			t.Errorf("%s: %v, want code %d", name, err, tt.code)
		}
	}
}

// TestNextRun: which run is next depends on what was missed and on the policy.
func TestNextRun(t *testing.T) {
	const minute = int64(60_000)
	start := timeOf(t, "2026-11-26T00:00:00Z").UnixMilli()
	for _, tt := range []struct {
		name      string
		missed    MissedRuns
		last, now int64 // minutes and milliseconds from start
		want      int64 // minutes
		skipped   bool
	}{
		{"in time", MissedSkip, 4 * minute, 4*minute + 1, 5, false},
		{"a clock that was set back", MissedAll, 4 * minute, 1 * minute, 5, false},
		{"a little late, skip", MissedSkip, 4 * minute, 5*minute + 10_000, 5, false},
		{"skip", MissedSkip, 4 * minute, 5*minute + 10_001, 6, true},
		{"skip more", MissedSkip, 4 * minute, 9*minute + 1, 10, true},
		{"once", MissedOnce, 4 * minute, 5*minute + 10_001, 5, false},
		{"once of more", MissedOnce, 4 * minute, 9*minute + 1, 9, true},
		{"all", MissedAll, 4 * minute, 9*minute + 1, 5, false},
		{"all of 1,001", MissedAll, 4 * minute, 1005*minute + 1, 6, true},
	} {
		s := sampleSchedule(t)
		s.Spec, s.Zone, s.Start, s.Missed = "* * * * *", "UTC", start*1e6, tt.missed
		c, err := s.Cron()
		if err != nil {
			t.Fatal(err)
		}
		due, skipped, found := s.NextRun(&c, start+tt.last, start+tt.now)
		if due != start+tt.want*minute || skipped != tt.skipped || !found {
			t.Errorf("%s: minute %g, skipped %v, %v; want %d, %v", tt.name, float64(due-start)/float64(minute),
				skipped, found, tt.want, tt.skipped)
		}
	}
	// @every keeps its step, whatever the nanoseconds of its start.
	s := Schedule{Spec: "@every 90s", Zone: "UTC", Start: start*1e6 + 999_999}
	c, err := s.Cron()
	if err != nil {
		t.Fatal(err)
	}
	for i, last := int64(1), start; i < 4; i++ {
		due, _, _ := s.NextRun(&c, last, start)
		if due != start+i*90_000 {
			t.Errorf("run %d of @every 90s after %d ms", i, due-start)
		}
		last = due
	}
}

func TestScheduledRecord(t *testing.T) {
	record := encodedRecord(t, []byte("k"), []byte("v"), Header{"h", []byte("x")})
	if err := CheckScheduled(record, len(record)+200); err != nil {
		t.Errorf("CheckScheduled: %v", err)
	}
	r := decodedRecord(t, AppendScheduled(nil, record, 1_774_742_400_250))
	headers, err := new(HeaderDecoder).Decode(r.RawHeaders, nil)
	if err != nil || len(headers) != 2 || headers[0].Key != ScheduledTimeHeader ||
		string(headers[0].Value) != "2026-03-29T00:00:00.250Z" || headers[1].Key != "h" ||
		string(r.Value) != "v" {
		t.Errorf("headers %v, value %q, %v", headers, r.Value, err)
	}
	large := encodedRecord(t, nil, make([]byte, 800))
	for most := len(large); most < len(large)+200; most += 8 {
		handle := DelayHandle{1<<64 - 1, 9999, 1<<63 - 1, 1}
		fired := AppendFired(nil, AppendScheduled(nil, large, 0), handle.String())
		if err := CheckScheduled(large, most); err == nil && len(fired) > most {
			t.Errorf("a record of %d bytes where %d fit", len(fired), most)
		}
	}
	many := make([]Header, MaxHeaders-1)
	for i := range many {
		many[i].Key = "h"
	}
	if err := CheckScheduled(encodedRecord(t, nil, nil, many[1:]...), MaxRecordBytes); err != nil {
		t.Errorf("%d headers: %v", len(many)-1, err)
	}
	err = CheckScheduled(encodedRecord(t, nil, nil, many...), MaxRecordBytes)
	if err == nil || CodeOf(err) != CodeInvalidRecord {
		t.Errorf("%d headers: %v", len(many), err)
	}
}

// FuzzSchedule: nothing panics, and what decodes encodes to what it was.
func FuzzSchedule(f *testing.F) {
	s := sampleSchedule(f)
	f.Add(s.EncodeKey(nil), s.EncodeValue(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		d, err := DecodeDelayRecord(&Record{Key: key, Value: value})
		if err != nil || d.Kind != DelaySchedule {
			return
		}
		if got := d.Schedule.EncodeKey(nil); !bytes.Equal(got, key) {
			t.Errorf("key %x became %x", key, got)
		}
		if got := d.Schedule.EncodeValue(nil); value != nil && !bytes.Equal(got, value) {
			t.Errorf("value %x became %x", value, got)
		}
		_, _ = d.Schedule.Cron() // it may be wrong, but does not panic
	})
}
