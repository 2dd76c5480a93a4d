package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/leatbus/leat"
)

// messageDoc is one message of leat sub -o json; the keys are stable. What is not UTF-8 is in the field
// with _base64; a null key or value is in neither.
type messageDoc struct {
	Topic       string      `json:"topic"`
	Partition   int32       `json:"partition"`
	Offset      int64       `json:"offset"`
	Time        string      `json:"time"` // RFC 3339, UTC
	Key         *string     `json:"key,omitempty"`
	KeyBase64   *string     `json:"key_base64,omitempty"`
	Value       *string     `json:"value,omitempty"`
	ValueBase64 *string     `json:"value_base64,omitempty"`
	Headers     []headerDoc `json:"headers,omitempty"`
	TTLMillis   int64       `json:"ttl_ms,omitempty"` // 0 if it has none of its own
	ID          string      `json:"id,omitempty"`
	Snapshot    bool        `json:"snapshot,omitempty"` // of the snapshot of --last-per-key
}

type headerDoc struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

func describeMessage(m *leat.Message) messageDoc {
	at := m.Time.UTC().Format(timeLayout)
	doc := messageDoc{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Time: at,
		TTLMillis: m.TTL.Milliseconds(), ID: m.ID, Snapshot: m.Snapshot}
	doc.Key, doc.KeyBase64 = textOrBase64(m.Key)
	doc.Value, doc.ValueBase64 = textOrBase64(m.Value)
	for _, h := range m.Headers {
		header := headerDoc{Key: h.Key}
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

// appendMessageJSON writes one line.
func appendMessageJSON(dst []byte, m *leat.Message, escape bool) ([]byte, error) {
	return appendJSON(dst, describeMessage(m), escape)
}

// appendJSON writes a document as one line; escape keeps what a terminal might obey out of it.
func appendJSON(dst []byte, document any, escape bool) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return dst, err
	}
	if !escape {
		return append(dst, line.Bytes()...), nil
	}
	// JSON escapes only what is below a space.
	for _, r := range string(bytes.TrimSuffix(line.Bytes(), []byte("\n"))) {
		if isControl(r) && r <= 0xffff {
			dst = fmt.Appendf(dst, `\u%04x`, r)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '\n'), nil
}

// appendMessageYAML writes one document of a stream of documents.
func appendMessageYAML(dst []byte, m *leat.Message) ([]byte, error) {
	return appendYAML(dst, describeMessage(m))
}

func appendYAML(dst []byte, document any) ([]byte, error) {
	text, err := yaml.Marshal(document)
	if err != nil {
		return dst, err
	}
	return append(append(dst, "---\n"...), text...), nil
}
