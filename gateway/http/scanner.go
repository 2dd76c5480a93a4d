package httpdoor

import (
	"bytes"
	"fmt"

	"github.com/leatbus/leat/core"
)

// scanner finds the fields of an object of JSON and hands them out as they stand. It looks only at what it
// needs to find their ends: whoever takes a field checks it.
type scanner struct {
	text []byte
	at   int
}

// object calls field for each field: its name, and the text of its value, which is not empty.
func (s *scanner) object(field func(name, raw []byte) error) error {
	if !s.take('{') {
		return s.want("{")
	}
	if s.take('}') {
		return nil
	}
	for {
		s.space()
		name, err := s.value()
		if err != nil {
			return err
		}
		if name, err = textOf(name); err != nil {
			return fmt.Errorf("name of a field: %w", err)
		}
		if !s.take(':') {
			return s.want(":")
		}
		s.space()
		raw, err := s.value()
		if err != nil {
			return err
		}
		if err := field(name, raw); err != nil {
			return err
		}
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return s.want(", or }")
		}
	}
}

// list calls item for each item of a list: its text, which is not empty.
func (s *scanner) list(item func(raw []byte) error) error {
	if !s.take('[') {
		return s.want("[")
	}
	if s.take(']') {
		return nil
	}
	for {
		s.space()
		raw, err := s.value()
		if err == nil {
			err = item(raw)
		}
		if err != nil {
			return err
		}
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.want(", or ]")
		}
	}
}

// end wants nothing more.
func (s *scanner) end() error {
	if s.space(); s.at < len(s.text) {
		return s.want("the end")
	}
	return nil
}

func (s *scanner) want(what string) error {
	if s.at >= len(s.text) {
		return fmt.Errorf("byte %d: it ends, want %s", s.at, what)
	}
	rest := s.text[s.at:]
	return fmt.Errorf("byte %d: found %s, want %s", s.at, core.Quote(string(rest[:min(len(rest), 10)])), what)
}

func (s *scanner) space() {
	for s.at < len(s.text) && isSpace(s.text[s.at]) {
		s.at++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// take skips spaces, and c if it is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

// value skips the value that is next and gives its text.
func (s *scanner) value() ([]byte, error) {
	start := s.at
	if start >= len(s.text) {
		return nil, s.want("a value")
	}
	switch s.text[start] {
	case '"':
		if !s.skipString() {
			return nil, s.want(`"`)
		}
	case '{', '[':
		if !s.skipNested() {
			return nil, s.want("the end of what begins at byte " + fmt.Sprint(start))
		}
	default:
		for s.at < len(s.text) && !isSpace(s.text[s.at]) && bytes.IndexByte([]byte(`,:]}"`), s.text[s.at]) < 0 {
			s.at++
		}
		if s.at == start {
			return nil, s.want("a value")
		}
	}
	return s.text[start:s.at:s.at], nil
}

// skipString skips a string that begins here.
func (s *scanner) skipString() bool {
	for from := s.at + 1; ; {
		n := bytes.IndexByte(s.text[from:], '"')
		if n < 0 {
			s.at = len(s.text)
			return false
		}
		end := from + n
		escapes := 0
		for s.text[end-1-escapes] == '\\' { // ends at the quote that begins the string, at the latest
			escapes++
		}
		from = end + 1
		if escapes%2 == 0 {
			s.at = from
			return true
		}
	}
}

// skipNested skips an object or a list that begins here.
func (s *scanner) skipNested() bool {
	depth := 0
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case '"':
			if !s.skipString() {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.at++
		if depth == 0 {
			return true
		}
	}
	return false
}
