package main

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/messagedoc"
)

// layout is a parsed FORMAT of leat sub.
type layout []layoutPart

// layoutPart is a verb of FORMAT, or text if verb is 0.
type layoutPart struct {
	verb byte
	text string
}

const wantLayout = `want %t topic, %p partition, %o offset, %k key, %v value, %T time, %h headers, ` +
	`%a attempt, %%, \n, \t or \\`

// parseLayout reads a FORMAT. The error names the byte, from 0, that it does not understand.
func parseLayout(format string) (layout, error) {
	var parts layout
	var literal []byte
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' && c != '\\' {
			literal = append(literal, c)
			continue
		}
		if i++; i == len(format) {
			return nil, fmt.Errorf("%q ends with %q: %s", format, c, wantLayout)
		}
		switch pair := string([]byte{c, format[i]}); pair {
		case "%%", `\\`:
			literal = append(literal, c)
		case `\n`:
			literal = append(literal, '\n')
		case `\t`:
			literal = append(literal, '\t')
		case "%t", "%p", "%o", "%k", "%v", "%T", "%h", "%a":
			if len(literal) > 0 {
				parts = append(parts, layoutPart{text: string(literal)})
				literal = nil
			}
			parts = append(parts, layoutPart{verb: format[i]})
		default:
			return nil, fmt.Errorf("%q has %q at byte %d: %s", format, pair, i-1, wantLayout)
		}
	}
	if len(literal) > 0 {
		parts = append(parts, layoutPart{text: string(literal)})
	}
	return parts, nil
}

// append writes a message to dst. Keys, values and headers are written as they are, or with control
// characters escaped.
func (l layout) append(dst []byte, m *leat.Message, escape bool) []byte {
	raw := appendRaw
	if escape {
		raw = appendEscaped
	}
	for i := range l {
		switch l[i].verb {
		case 0:
			dst = append(dst, l[i].text...)
		case 't':
			dst = append(dst, m.Topic...)
		case 'p':
			dst = strconv.AppendInt(dst, int64(m.Partition), 10)
		case 'o':
			dst = strconv.AppendInt(dst, m.Offset, 10)
		case 'k':
			dst = raw(dst, m.Key)
		case 'v':
			dst = raw(dst, m.Value)
		case 'T':
			dst = m.Time.UTC().AppendFormat(dst, messagedoc.TimeLayout)
		case 'a':
			dst = strconv.AppendInt(dst, int64(m.Attempt), 10)
		case 'h':
			for j := range m.Headers {
				if j > 0 {
					dst = append(dst, ',')
				}
				dst = raw(dst, []byte(m.Headers[j].Key))
				dst = append(dst, ':')
				dst = raw(dst, m.Headers[j].Value)
			}
		}
	}
	return dst
}

func appendRaw(dst, b []byte) []byte { return append(dst, b...) }

// appendEscaped is printable without a copy where there is nothing to escape.
func appendEscaped(dst, b []byte) []byte {
	for _, c := range b {
		if c < ' ' || c >= utf8.RuneSelf || c == 0x7f {
			return append(dst, printable(string(b))...)
		}
	}
	return append(dst, b...)
}
