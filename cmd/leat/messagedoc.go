package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/messagedoc"
)

// appendMessageJSON writes one line.
func appendMessageJSON(dst []byte, m *leat.Message, escape bool) []byte {
	if !escape {
		return append(messagedoc.Append(dst, m), '\n')
	}
	return append(appendEscapedJSON(dst, messagedoc.Append(nil, m)), '\n')
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
	return append(appendEscapedJSON(dst, bytes.TrimSuffix(line.Bytes(), []byte("\n"))), '\n'), nil
}

// appendEscapedJSON escapes what a terminal might obey. JSON itself escapes only what is below a space.
func appendEscapedJSON(dst, line []byte) []byte {
	for _, r := range string(line) {
		if isControl(r) && r <= 0xffff {
			dst = fmt.Appendf(dst, `\u%04x`, r)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// appendMessageYAML writes one document of a stream of documents.
func appendMessageYAML(dst []byte, m *leat.Message) ([]byte, error) {
	return appendYAML(dst, messagedoc.Of(m))
}

func appendYAML(dst []byte, document any) ([]byte, error) {
	text, err := yaml.Marshal(document)
	if err != nil {
		return dst, err
	}
	return append(append(dst, "---\n"...), text...), nil
}
