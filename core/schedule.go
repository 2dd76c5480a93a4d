package core

import (
	"encoding/binary"
	"path"
	"sync"
	"time"
	_ "time/tzdata" // a machine need not have zones
)

// MissedRuns says what becomes of runs of a schedule that could not be delivered when they were due, as while
// the node was down. Its numbers are stored.
type MissedRuns uint8

// The policies.
const (
	MissedOnce MissedRuns = iota // the newest of them is delivered, late
	MissedSkip                   // none is
	MissedAll                    // each is, late, but for more than MaxMissedRuns
	missedEnd
)

var missedNames = [...]string{"once", "skip", "all"}

// String gives the policy as commands print it.
func (m MissedRuns) String() string {
	if m < missedEnd {
		return missedNames[m]
	}
	return "unknown"
}

// ParseMissedRuns reads what String gives.
func ParseMissedRuns(text string) (MissedRuns, error) {
	for i, name := range missedNames {
		if name == text {
			return MissedRuns(i), nil
		}
	}
	return 0, Errorf(CodeInvalidConfig, "read policy "+Quote(text), "want once, skip or all")
}

// Validate is CodeInvalidConfig for one that does not exist.
func (m MissedRuns) Validate() error {
	if m >= missedEnd {
		return Errorf(CodeInvalidConfig, "check policy", "missed runs %d: want once, skip or all", uint8(m))
	}
	return nil
}

// MissedAfter is how late a run is that counts as missed, with all that are due by then.
const MissedAfter = 10 * time.Second

// MaxMissedRuns is how many missed runs MissedAll delivers: the newest.
const MaxMissedRuns = 1000

// most is how many missed runs are delivered.
func (m MissedRuns) most() int {
	switch m {
	case MissedSkip:
		return 0
	case MissedAll:
		return MaxMissedRuns
	}
	return 1
}

// delayKindSchedule is the kind of keys of schedules in __delay.
const delayKindSchedule = 3

const (
	scheduleKey  = 16 // before the name
	scheduleHead = 32 // before the texts
)

// Schedule is a message that is delivered again and again: a record of __delay. Its runs are delayed messages
// whose keys have its Random, and the milliseconds at which they are due as Number. The layout is in
// docs/format.md.
type Schedule struct {
	Topic     uint64 // id of the target
	Name      string // within the topic
	Partition int32
	Level     Ack
	Missed    MissedRuns
	Random    uint64 // another one each time the schedule is set
	Start     int64  // nanoseconds since 1970: there are no runs before
	Spec      string // as ParseCron reads it
	Zone      string // IANA name
	Record    []byte // that is delivered
	Removed   bool   // the value was null
}

// EncodeKey appends the key of the schedule's record to dst.
func (s *Schedule) EncodeKey(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, DelayVersion, delayKindSchedule, 0, 0, 0, 0, 0, 0)
	dst = le.AppendUint64(dst, s.Topic)
	return append(dst, s.Name...)
}

// EncodeValue appends the value of the schedule's record to dst.
func (s *Schedule) EncodeValue(dst []byte) []byte {
	le, start := binary.LittleEndian, len(dst)
	dst = append(dst, DelayVersion, byte(s.Level), byte(s.Missed), 0)
	dst = le.AppendUint32(dst, uint32(s.Partition))
	dst = le.AppendUint64(dst, s.Random)
	dst = le.AppendUint64(dst, uint64(s.Start))
	dst = le.AppendUint16(dst, uint16(len(s.Spec)))
	dst = le.AppendUint16(dst, uint16(len(s.Zone)))
	dst = append(append(append(dst, 0, 0, 0, 0), s.Spec...), s.Zone...)
	for (len(dst)-start)%8 != 0 {
		dst = append(dst, 0)
	}
	return append(dst, s.Record...)
}

// MaxScheduleRecordBytes bounds the record that a schedule delivers: a copy of it is stored for each run.
const MaxScheduleRecordBytes = 64 << 10

// ScheduledTimeHeader is the header that a run has: when it was due, by the calendar, as ScheduledTime has
// it.
const ScheduledTimeHeader = "leat-scheduled-time"

// ScheduledTime is RFC 3339 in milliseconds and UTC.
const ScheduledTime = "2006-01-02T15:04:05.000Z"

// AppendScheduled appends to dst the record of a run that is due then, in milliseconds since 1970.
func AppendScheduled(dst, record []byte, due int64) []byte {
	at := time.UnixMilli(due).UTC().Format(ScheduledTime)
	return appendWithHeader(dst, record, ScheduledTimeHeader, at)
}

// CheckScheduled is CheckDelayed for the record of a schedule: there is room for both headers.
func CheckScheduled(record []byte, maxRecordBytes int) error {
	if err := CheckDelayed(record, maxRecordBytes); err != nil {
		return err
	}
	return checkFiredRoom(AppendScheduled(nil, record, 0), maxRecordBytes)
}

// NextRun gives when the run behind the one of last is due: the next by the calendar, or, where that was
// missed by now, the first that is delivered all the same. skipped says that others before it are not. All
// times are milliseconds since 1970; found is false where no more run comes.
//
// It depends on nothing else, so that it is the same after a restart.
func (s *Schedule) NextRun(c *Cron, last, now int64) (due int64, skipped, found bool) {
	start, behind := time.UnixMilli(s.Start/1e6), time.UnixMilli(last)
	at, found := c.Next(start, behind)
	if found && now-at.UnixMilli() > MissedAfter.Milliseconds() {
		behind = c.Behind(start, behind, time.UnixMilli(now), s.Missed.most())
		skipped = !at.After(behind)
		at, found = c.Next(start, behind)
	}
	if !found {
		return 0, skipped, false
	}
	return at.UnixMilli(), skipped, true
}

// Cron reads the schedule's text.
func (s *Schedule) Cron() (Cron, error) {
	zone, err := LoadZone(s.Zone)
	if err != nil {
		return Cron{}, err
	}
	return ParseCron(s.Spec, zone)
}

// MaxZoneBytes bounds the name of a time zone.
const MaxZoneBytes = 64

// zones keeps the time zones that were found, each once: there are a few hundred, for a file system, which
// knows many spellings of one, is asked for that without dots and empty parts only.
var zones sync.Map

// LoadZone finds a time zone by its IANA name. Local is none: nodes may be in different places.
func LoadZone(name string) (*time.Location, error) {
	if zone, known := zones.Load(name); known {
		return zone.(*time.Location), nil
	}
	op := "find time zone " + Quote(name[:min(len(name), MaxZoneBytes)])
	if name == "Local" || name == "" || len(name) > MaxZoneBytes || path.Clean(name) != name {
		return nil, Errorf(CodeInvalidConfig, op, "want a name such as UTC or Europe/Berlin")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, &Error{Code: CodeInvalidConfig, Op: op, Err: err,
			Hint: "want an IANA name such as UTC or Europe/Berlin"}
	}
	zones.Store(name, zone)
	return zone, nil
}

// decodeSchedule reads a record whose key is that of a schedule.
func decodeSchedule(r *Record) (DelayRecord, error) {
	le := binary.LittleEndian
	if len(r.Key) <= scheduleKey || le.Uint64(r.Key)>>16 != 0 {
		return DelayRecord{}, corruptDelay("key of %d bytes for a schedule", len(r.Key))
	}
	s := Schedule{Topic: le.Uint64(r.Key[8:]), Name: string(r.Key[scheduleKey:]), Removed: r.Value == nil}
	if s.Topic < FirstTopicID || ValidateName("schedule", s.Name) != nil {
		return DelayRecord{}, corruptDelay("schedule %s of topic id %d", Quote(s.Name), s.Topic)
	}
	if !s.Removed {
		if err := s.decodeValue(r.Value); err != nil {
			return DelayRecord{}, err
		}
	}
	return DelayRecord{Kind: DelaySchedule, Schedule: s}, nil
}

func (s *Schedule) decodeValue(value []byte) error {
	le := binary.LittleEndian
	if len(value) > 0 && value[0] > DelayVersion {
		return tooNewDelay(value[0])
	}
	if len(value) < scheduleHead || value[0] != DelayVersion || value[3] != 0 || le.Uint32(value[28:]) != 0 {
		return corruptDelay("value of %d bytes for a schedule", len(value))
	}
	s.Level, s.Missed, s.Partition = Ack(value[1]), MissedRuns(value[2]), int32(le.Uint32(value[4:]))
	s.Random, s.Start = le.Uint64(value[8:]), int64(le.Uint64(value[16:]))
	spec, zone := int(le.Uint16(value[24:])), int(le.Uint16(value[26:]))
	texts := Align8(scheduleHead + spec + zone)
	if texts > len(value) || spec > MaxCronBytes || zone > MaxZoneBytes || s.Level < AckNone ||
		s.Level > AckQuorum || s.Missed >= missedEnd || s.Partition < 0 || s.Partition >= MaxPartitions ||
		s.Start < 0 {
		return corruptDelay("schedule %s for partition %d at level %d", Quote(s.Name), s.Partition, s.Level)
	}
	for _, b := range value[scheduleHead+spec+zone : texts] {
		if b != 0 {
			return corruptDelay("schedule %s with other padding than 0", Quote(s.Name))
		}
	}
	s.Spec = string(value[scheduleHead : scheduleHead+spec])
	s.Zone = string(value[scheduleHead+spec : scheduleHead+spec+zone])
	s.Record = value[texts:]
	record, size, err := DecodeRecord(s.Record)
	if err != nil {
		return err
	}
	if size != len(s.Record) || record.Removed() {
		return corruptDelay("record of %d bytes in %d", size, len(s.Record))
	}
	return nil
}
