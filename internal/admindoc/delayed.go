package admindoc

import (
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/messagedoc"
)

// Delayed is a message that waits.
type Delayed struct {
	Handle    string  `json:"handle" doc:"Names it, to cancel or reschedule it"`
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Due       string  `json:"due" format:"date-time" doc:"When it is delivered"`
	Stored    string  `json:"stored" format:"date-time" doc:"When it was published, or rescheduled"`
	Key       *string `json:"key,omitempty"`
	KeyBase64 *string `json:"key_base64,omitempty" doc:"The key, where it is not UTF-8"`
	Bytes     int     `json:"bytes" doc:"Of the record that will be delivered"`
}

// DelayedPage is a page of them.
type DelayedPage struct {
	Messages []Delayed `json:"messages" doc:"By due time"`
	Next     string    `json:"next,omitempty" doc:"Where the next page begins; absent at the end"`
}

// DelayedOutcome is what became of a delayed message.
type DelayedOutcome struct {
	Handle  string `json:"handle" doc:"As it was asked about"`
	Outcome string `json:"outcome" doc:"cancelled, fired, rescheduled, dropped or unknown"`
}

// Rescheduled is a delayed message that got another time, or did not.
type Rescheduled struct {
	DelayedOutcome `yaml:",inline"`
	New            string `json:"new_handle,omitempty" doc:"Its handle from now on; absent: it was too late"`
	Due            string `json:"due,omitempty" format:"date-time" doc:"When it is delivered now"`
}

// DelayedOf describes a message that waits.
func DelayedOf(m *leat.DelayedMessage) Delayed {
	doc := Delayed{Handle: m.Handle, Topic: m.Topic, Partition: m.Partition, Due: timeText(m.Due),
		Stored: timeText(m.Stored), Bytes: m.Bytes}
	doc.Key, doc.KeyBase64 = messagedoc.TextOrBase64(m.Key)
	return doc
}

// DelayedPageOf describes a page.
func DelayedPageOf(page *leat.DelayedPage) DelayedPage {
	doc := DelayedPage{Messages: make([]Delayed, len(page.Messages)), Next: page.Next}
	for i := range page.Messages {
		doc.Messages[i] = DelayedOf(&page.Messages[i])
	}
	return doc
}

// RescheduledOf describes what became of a message that was to get another time, due then in nanoseconds
// since 1970; moved is its new handle, empty where it was too late.
func RescheduledOf(handle, moved string, outcome leat.DelayOutcome, due int64) Rescheduled {
	doc := Rescheduled{DelayedOutcome: DelayedOutcome{Handle: handle, Outcome: outcome.String()}, New: moved}
	if moved != "" {
		doc.Due = timeText(time.Unix(0, due))
	}
	return doc
}
