package messagedoc

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"github.com/leatbus/leat"
)

// Append appends a message as one line of JSON, without the newline.
func Append(dst []byte, m *leat.Message) []byte {
	dst = AppendText(append(dst, `{"topic":`...), m.Topic)
	dst = appendNumber(dst, `,"partition":`, int64(m.Partition))
	dst = appendNumber(dst, `,"offset":`, m.Offset)
	dst = append(dst, `,"time":"`...)
	dst = m.Time.UTC().AppendFormat(dst, TimeLayout)
	dst = append(dst, '"')
	dst = appendBytes(dst, `,"key`, m.Key)
	dst = appendBytes(dst, `,"value`, m.Value)
	for i, h := range m.Headers {
		if i == 0 {
			dst = append(dst, `,"headers":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = AppendText(append(dst, `{"key":`...), ValidText(h.Key))
		dst = append(appendBytes(dst, `,"value`, h.Value), '}')
	}
	if len(m.Headers) > 0 {
		dst = append(dst, ']')
	}
	if ttl := m.TTL.Milliseconds(); ttl != 0 {
		dst = appendNumber(dst, `,"ttl_ms":`, ttl)
	}
	if m.ID != "" {
		dst = AppendText(append(dst, `,"id":`...), ValidText(m.ID))
	}
	if m.Snapshot {
		dst = append(dst, `,"snapshot":true`...)
	}
	if m.Attempt != 0 {
		dst = appendNumber(dst, `,"attempt":`, int64(m.Attempt))
	}
	return append(dst, '}')
}

func appendNumber(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(dst, name...), n, 10)
}

// appendBytes writes a field under the name that fits: name is cut off behind its last letter.
func appendBytes(dst []byte, name string, b []byte) []byte {
	if b == nil {
		return dst
	}
	dst = append(dst, name...)
	if utf8.Valid(b) {
		return AppendText(append(dst, `":`...), b)
	}
	dst = append(dst, `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, b), '"')
}

const hexDigits = "0123456789abcdef"

// AppendText appends a string of JSON. s is UTF-8.
func AppendText[T string | []byte](dst []byte, s T) []byte {
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
		case '\t':
			dst = append(dst, `\t`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}
