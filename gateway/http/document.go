package httpdoor

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/leatbus/leat"
)

// timeLayout is RFC 3339 with all nine digits, in UTC.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// Message is a message as it is read. What is not UTF-8 is in the field with _base64; a null key or value is
// in neither.
type Message struct {
	Topic       string    `json:"topic"`
	Partition   int32     `json:"partition"`
	Offset      int64     `json:"offset" doc:"Number of the message in its partition, from 0"`
	Time        time.Time `json:"time" doc:"When the bus appended it, UTC"`
	Key         *string   `json:"key,omitempty"`
	KeyBase64   *string   `json:"key_base64,omitempty" doc:"The key, where it is not UTF-8"`
	Value       *string   `json:"value,omitempty" doc:"Absent, with value_base64, for a tombstone"`
	ValueBase64 *string   `json:"value_base64,omitempty" doc:"The value, where it is not UTF-8"`
	Headers     []Header  `json:"headers,omitempty" doc:"In order; names may repeat"`
	ID          string    `json:"id,omitempty" doc:"What it was published under, as Idempotency-Key"`
	TTLMillis   int64     `json:"ttl_ms,omitempty" doc:"How long it is delivered; absent: as its topic has it"`
}

// Header is one header of a message.
type Header struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

// documentOf copies a message.
func documentOf(m *leat.Message) Message {
	doc := Message{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Time: m.Time.UTC(),
		ID: validText(m.ID), TTLMillis: m.TTL.Milliseconds()}
	doc.Key, doc.KeyBase64 = textOrBase64(m.Key)
	doc.Value, doc.ValueBase64 = textOrBase64(m.Value)
	for _, h := range m.Headers {
		header := Header{Key: validText(h.Key)}
		header.Value, header.ValueBase64 = textOrBase64(h.Value)
		doc.Headers = append(doc.Headers, header)
	}
	return doc
}

func textOrBase64(b []byte) (text, encoded *string) {
	switch {
	case b == nil:
		return nil, nil
	case utf8.Valid(b):
		return new(string(b)), nil
	}
	return nil, new(base64.StdEncoding.EncodeToString(b))
}

// appendMessage writes what encoding/json makes of documentOf, but for how characters are escaped.
func appendMessage(dst []byte, m *leat.Message) []byte {
	dst = append(dst, `{"topic":`...)
	dst = appendText(dst, m.Topic)
	dst = append(dst, `,"partition":`...)
	dst = strconv.AppendInt(dst, int64(m.Partition), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendInt(dst, m.Offset, 10)
	dst = append(dst, `,"time":"`...)
	dst = m.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = appendBytes(dst, `,"key`, m.Key)
	dst = appendBytes(dst, `,"value`, m.Value)
	for i, h := range m.Headers {
		if i == 0 {
			dst = append(dst, `,"headers":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"key":`...)
		dst = appendText(dst, validText(h.Key))
		dst = appendBytes(dst, `,"value`, h.Value)
		dst = append(dst, '}')
	}
	if len(m.Headers) > 0 {
		dst = append(dst, ']')
	}
	if m.ID != "" {
		dst = appendText(append(dst, `,"id":`...), validText(m.ID))
	}
	if ttl := m.TTL.Milliseconds(); ttl != 0 {
		dst = strconv.AppendInt(append(dst, `,"ttl_ms":`...), ttl, 10)
	}
	return append(dst, '}')
}

// appendBytes writes a field under the name that fits: name is cut off behind its last letter.
func appendBytes(dst []byte, name string, b []byte) []byte {
	if b == nil {
		return dst
	}
	dst = append(dst, name...)
	if utf8.Valid(b) {
		return appendText(append(dst, `":`...), b)
	}
	dst = append(dst, `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, b), '"')
}

const hexDigits = "0123456789abcdef"

// appendText writes a string of JSON. s is UTF-8.
func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	plain := 0 // what begins here needs no escape
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}

// validText makes what is not UTF-8 visible: names of headers have no other form.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
