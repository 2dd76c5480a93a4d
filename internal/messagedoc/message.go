package messagedoc

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/leatbus/leat"
)

// TimeLayout is RFC 3339 with all nine digits, so that times compare as text. Times are in UTC.
const TimeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// Message is a message as it was delivered. What is not UTF-8 is in the field with _base64; a null key or
// value is in neither.
type Message struct {
	Topic       string   `json:"topic"`
	Partition   int32    `json:"partition"`
	Offset      int64    `json:"offset" doc:"Number of the message in its partition, from 0"`
	Time        string   `json:"time" format:"date-time" doc:"When the bus appended it, UTC"`
	Key         *string  `json:"key,omitempty"`
	KeyBase64   *string  `json:"key_base64,omitempty" doc:"The key, where it is not UTF-8"`
	Value       *string  `json:"value,omitempty" doc:"Absent, with value_base64, for a tombstone"`
	ValueBase64 *string  `json:"value_base64,omitempty" doc:"The value, where it is not UTF-8"`
	Headers     []Header `json:"headers,omitempty" doc:"In order; names may repeat"`
	TTLMillis   int64    `json:"ttl_ms,omitempty" doc:"How long it is delivered; absent: as its topic says"`
	ID          string   `json:"id,omitempty" doc:"By which a message published twice is recognised"`
	Snapshot    bool     `json:"snapshot,omitempty" doc:"It is of the snapshot that a subscription begins with"`
	Attempt     int32    `json:"attempt,omitempty" doc:"Which delivery it is, from 1 on, in a queue group"`
}

// Header is one header of a message.
type Header struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

// Of copies a message.
func Of(m *leat.Message) Message {
	doc := Message{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset,
		Time: m.Time.UTC().Format(TimeLayout), TTLMillis: m.TTL.Milliseconds(), ID: ValidText(m.ID),
		Snapshot: m.Snapshot, Attempt: m.Attempt}
	doc.Key, doc.KeyBase64 = TextOrBase64(m.Key)
	doc.Value, doc.ValueBase64 = TextOrBase64(m.Value)
	for _, h := range m.Headers {
		header := Header{Key: ValidText(h.Key)}
		header.Value, header.ValueBase64 = TextOrBase64(h.Value)
		doc.Headers = append(doc.Headers, header)
	}
	return doc
}

// TextOrBase64 gives bytes as a text, or where they are none in base64; neither for nil.
func TextOrBase64(b []byte) (text, encoded *string) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		return new(string(b)), nil
	}
	return nil, new(base64.StdEncoding.EncodeToString(b))
}

// ValidText makes what is not UTF-8 visible, where a text has no other form, as the names of headers.
func ValidText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
