package httpdoor

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// Line is one line of an NDJSON body, a message to be published. It is here for /openapi.json: parseLine
// reads lines without it.
type Line struct {
	Key         *string  `json:"key,omitempty"`
	KeyBase64   *string  `json:"key_base64,omitempty"`
	Value       any      `json:"value,omitempty" doc:"A string; or JSON, kept as its text; null: a tombstone"`
	ValueBase64 *string  `json:"value_base64,omitempty"`
	Headers     []Header `json:"headers,omitempty" doc:"Also an object of strings"`
	Partition   *int32   `json:"partition,omitempty" doc:"Goes there whatever the key"`
	ID          *string  `json:"id,omitempty" minLength:"1" maxLength:"128" doc:"As Idempotency-Key"`
	TTLMillis   *int64   `json:"ttl_ms,omitempty" minimum:"1" doc:"How long it is delivered, in ms"`
	DelayMillis *int64   `json:"delay_ms,omitempty" minimum:"1" doc:"Until it is delivered, in ms"`
	DeliverAt   *string  `json:"deliver_at,omitempty" format:"date-time" doc:"When it is delivered"`
}

// line is a message as a line gives it. Its slices point into the line or into memory of their own.
type line struct {
	message   leat.Message
	partition bool // the client chose Message.Partition
}

// parseLine reads a message. A field that is not known is an error, and so is one that comes twice.
func parseLine(text []byte) (line, error) {
	var l line
	seen := fields{}
	s := scanner{text: text}
	err := s.object(func(name []byte, raw []byte) error {
		if err := seen.add(string(name)); err != nil {
			return err
		}
		return l.field(string(name), raw)
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = seen.check()
	}
	if err != nil {
		return line{}, core.NewError(core.CodeInvalidRequest, "read line", err)
	}
	return l, nil
}

// fields are the names that a line has used.
type fields []string

func (f *fields) add(name string) error {
	for _, other := range *f {
		if other == name {
			return fmt.Errorf("%s comes twice", core.Quote(name))
		}
	}
	*f = append(*f, name)
	return nil
}

func (f fields) has(name string) bool {
	for _, other := range f {
		if other == name {
			return true
		}
	}
	return false
}

func (f fields) check() error {
	for _, name := range []string{"key", "value"} {
		if f.has(name) && f.has(name+"_base64") {
			return fmt.Errorf("%s and %s_base64: want one of them", name, name)
		}
	}
	if f.has("delay_ms") && f.has("deliver_at") {
		return fmt.Errorf("delay_ms and deliver_at: want one of them")
	}
	if !f.has("value") && !f.has("value_base64") {
		return fmt.Errorf("value is missing: a tombstone has the value null")
	}
	return nil
}

func (l *line) field(name string, raw []byte) (err error) {
	m := &l.message
	switch name {
	case "key":
		if string(raw) != "null" {
			m.Key, err = textOf(raw)
		}
	case "key_base64":
		m.Key, err = base64Of(raw)
	case "value":
		m.Value, err = valueOf(raw)
	case "value_base64":
		m.Value, err = base64Of(raw)
	case "headers":
		m.Headers, err = headersOf(raw)
	case "partition":
		l.partition = true
		var n int64
		if n, err = strconv.ParseInt(string(raw), 10, 32); err != nil {
			return fmt.Errorf("partition %s: want a number", core.Quote(string(raw)))
		}
		m.Partition = int32(n)
	case "id":
		var id []byte
		if id, err = textOf(raw); err == nil {
			m.ID, err = checkedID(string(id))
		}
	case "ttl_ms":
		m.TTL, err = millisOf(raw)
	case "delay_ms":
		m.Delay, err = millisOf(raw)
	case "deliver_at":
		var text []byte
		if text, err = textOf(raw); err == nil {
			m.DeliverAt, err = deliverAt(string(text))
		}
	default:
		return fmt.Errorf("there is no field %s", core.Quote(name))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// millisOf takes a number of milliseconds.
func millisOf(raw []byte) (time.Duration, error) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 1 || n > core.MaxTTL.Milliseconds() {
		return 0, fmt.Errorf("%s: want milliseconds, 1 to %d", core.Quote(string(raw)), core.MaxTTL.Milliseconds())
	}
	return time.Duration(n) * time.Millisecond, nil
}

// valueOf takes a string as its text, null as a tombstone and other JSON as it stands.
func valueOf(raw []byte) ([]byte, error) {
	switch raw[0] {
	case '"':
		return textOf(raw)
	case 'n':
		if string(raw) == "null" {
			return nil, nil
		}
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%s is not JSON", core.Quote(string(raw)))
	}
	if !utf8.Valid(raw) {
		return nil, errNotUTF8
	}
	return raw, nil
}

var errNotUTF8 = fmt.Errorf("it is not UTF-8: send it as base64")

// textOf gives the text of a string, never nil.
func textOf(raw []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, fmt.Errorf("%s: want a string", core.Quote(string(raw)))
	}
	inner := raw[1 : len(raw)-1]
	if !utf8.Valid(inner) {
		return nil, errNotUTF8
	}
	if bytes.IndexByte(inner, '\\') < 0 {
		for _, c := range inner {
			if c < 0x20 {
				return nil, fmt.Errorf("byte %#02x in a string: want it escaped", c)
			}
		}
		return inner, nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, fmt.Errorf("%s is no string of JSON", core.Quote(string(raw)))
	}
	return []byte(text), nil
}

func base64Of(raw []byte) ([]byte, error) {
	text, err := textOf(raw)
	if err != nil {
		return nil, err
	}
	return decodeBase64(string(text))
}

// decodeBase64 takes the standard alphabet with padding.
func decodeBase64(text string) ([]byte, error) {
	decoded, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64 with padding", core.Quote(text))
	}
	return decoded, nil
}

// headersOf takes an object of strings, or a list that keeps repetitions and bytes.
func headersOf(raw []byte) ([]leat.Header, error) {
	var headers []leat.Header
	s := scanner{text: raw}
	if raw[0] == '{' {
		err := s.object(func(name, raw []byte) error {
			value, err := textOf(raw)
			headers = append(headers, leat.Header{Key: string(name), Value: value})
			return err
		})
		return headers, err
	}
	var list []Header
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&list); err != nil || !utf8.Valid(raw) {
		return nil, fmt.Errorf(`%s: want {"name":"value"} or [{"key":"name","value":"value"}]`,
			core.Quote(string(raw)))
	}
	for _, h := range list {
		header := leat.Header{Key: h.Key, Value: []byte{}}
		switch {
		case h.Value != nil && h.ValueBase64 != nil:
			return nil, fmt.Errorf("value and value_base64: want one of them")
		case h.Value != nil:
			header.Value = []byte(*h.Value)
		case h.ValueBase64 != nil:
			var err error
			if header.Value, err = decodeBase64(*h.ValueBase64); err != nil {
				return nil, err
			}
		}
		headers = append(headers, header)
	}
	return headers, nil
}
