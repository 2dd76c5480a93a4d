package wire

// FeatureDelays says that a node takes messages that are to be delivered later, and OpDelayed,
// OpCancelDelayed and OpReschedule.
const FeatureDelays uint64 = 1 << 10

// The requests about delayed messages.
const (
	OpDelayed       Op = 15 // DelayedBody → DelayedAnswer: what waits on the answering node
	OpCancelDelayed Op = 16 // HandleBody → DelayOutcomeBody; the node that has the target
	OpReschedule    Op = 17 // RescheduleBody → DelayOutcomeBody; the node that has the target
)

// MaxDelayedBytes is how many bytes of keys one DelayedAnswer has at most, but for those of the last message.
const MaxDelayedBytes = 1 << 20

// DelayedBody asks for messages that wait, by due time.
type DelayedBody struct {
	Topic string  `json:"topic,omitempty"` // empty: of all topics
	Key   *[]byte `json:"key,omitempty"`   // missing: of all keys
	From  int64   `json:"from"`            // due at or after, nanoseconds since 1970
	To    int64   `json:"to"`              // due before
	Limit int     `json:"limit"`
	After string  `json:"after,omitempty"` // a core.DelayPlace of any node; empty: from the first on
}

// DelayedAnswer has the messages that fit, by place.
type DelayedAnswer struct {
	Messages []DelayedMessageBody `json:"messages,omitempty"`
	// Next is the core.DelayPlace up to which the node has looked; empty: there are no more behind the last.
	Next string `json:"next,omitempty"`
}

// DelayedMessageBody is leat.DelayedMessage.
type DelayedMessageBody struct {
	Place     string  `json:"at"` // a core.DelayPlace
	Handle    string  `json:"h"`
	Topic     string  `json:"t"`
	Partition int32   `json:"p"`
	Due       int64   `json:"due"`    // nanoseconds since 1970
	Stored    int64   `json:"stored"` // nanoseconds since 1970
	Key       *[]byte `json:"key,omitempty"`
	Bytes     int     `json:"n"` // of the record that will be delivered
}

// HandleBody names a delayed message.
type HandleBody struct {
	Handle string `json:"handle"`
}

// RescheduleBody makes it due at another time.
type RescheduleBody struct {
	Handle string `json:"handle"`
	Due    int64  `json:"due"` // nanoseconds since 1970
}

// DelayOutcomeBody says what became of it.
type DelayOutcomeBody struct {
	Outcome uint8  `json:"outcome"`          // a core.DelayOutcome
	Handle  string `json:"handle,omitempty"` // the new one of a message that was rescheduled
	// Mine says that the node has the target. Of the messages for a topic that was deleted each node knows
	// its own.
	Mine bool `json:"mine,omitempty"`
}
