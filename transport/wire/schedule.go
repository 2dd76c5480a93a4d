package wire

// FeatureSchedules says that a node knows OpPutSchedule, OpDeleteSchedule and OpSchedules.
const FeatureSchedules uint64 = 1 << 15

// The requests about schedules. A node has those whose messages go to partitions that it has.
const (
	OpPutSchedule    Op = 19 // ScheduleBody → Empty; the node that has the partition
	OpDeleteSchedule Op = 20 // ScheduleNameBody → ScheduleDeleted; each node
	OpSchedules      Op = 21 // SchedulesBody → SchedulesAnswer: those of the answering node
)

// MaxSchedulesBytes is how many bytes of messages one SchedulesAnswer has at most, but for the last one.
const MaxSchedulesBytes = 1 << 20

// ScheduleBody is leat.Schedule.
type ScheduleBody struct {
	Topic   string       `json:"topic"`
	Name    string       `json:"name"`
	Cron    string       `json:"cron"`
	Zone    string       `json:"zone"`
	Missed  uint8        `json:"missed,omitempty"` // a core.MissedRuns
	Key     *[]byte      `json:"key,omitempty"`
	Value   *[]byte      `json:"value,omitempty"`
	Headers []HeaderBody `json:"headers,omitempty"`
	TTL     int64        `json:"ttl,omitempty"` // nanoseconds
	// The following is in answers.
	Partition int32 `json:"p,omitempty"`
	Next      int64 `json:"next,omitempty"` // nanoseconds since 1970; 0: no run is due
}

// ScheduleNameBody names a schedule.
type ScheduleNameBody struct {
	Topic string `json:"topic"`
	Name  string `json:"name"`
}

// ScheduleDeleted says whether the node had it.
type ScheduleDeleted struct {
	Deleted bool `json:"deleted"`
}

// SchedulesBody asks for schedules, by topic and name.
type SchedulesBody struct {
	Topic string `json:"topic,omitempty"` // empty: of all topics
	// After is the last one of the answer before; missing: from the first on.
	After *ScheduleNameBody `json:"after,omitempty"`
}

// SchedulesAnswer lists schedules.
type SchedulesAnswer struct {
	Schedules []ScheduleBody `json:"schedules,omitempty"`
	More      bool           `json:"more,omitempty"` // behind the last one
}
