package filter

import (
	"bytes"
	"cmp"
	"math"
	"strconv"
)

// kind is what a part of an expression gives. Whatever it is, it may give nil instead, but for true and
// false.
type kind uint8

const (
	kindNil kind = iota
	kindBool
	kindInt
	kindFloat
	kindText
	kindTime
)

var kindNames = [...]string{"nil", "true or false", "a number", "a number", "a text", "a time"}

// String is the kind for messages.
func (k kind) String() string { return kindNames[k] }

func (k kind) number() bool { return k == kindInt || k == kindFloat }

// value is one of them. The zero value is nil.
type value struct {
	kind kind
	n    int64 // kindBool: 0 or 1; kindInt; kindFloat: its bits; kindTime: nanoseconds since 1970
	text []byte
}

func intOf(n int64) value   { return value{kind: kindInt, n: n} }
func textOf(b []byte) value { return value{kind: kindText, text: b} }

func boolOf(b bool) value {
	if b {
		return value{kind: kindBool, n: 1}
	}
	return value{kind: kindBool}
}

// floatOf gives nil for what is no number.
func floatOf(f float64) value {
	if math.IsNaN(f) {
		return value{}
	}
	return value{kind: kindFloat, n: int64(math.Float64bits(f))}
}

// float is a number as a float.
func (v *value) float() float64 {
	if v.kind == kindFloat {
		return math.Float64frombits(uint64(v.n))
	}
	return float64(v.n)
}

// equal compares values of any kinds.
func equal(a, b *value) bool {
	switch {
	case a.kind.number() && b.kind.number():
		return order(a, b) == 0
	case a.kind != b.kind:
		return false
	case a.kind == kindText:
		return bytes.Equal(a.text, b.text)
	}
	return a.n == b.n
}

// order is below, at or above 0 as a is less than, equal to or greater than b; both are numbers, texts or
// times.
func order(a, b *value) int {
	switch {
	case a.kind == kindText:
		return bytes.Compare(a.text, b.text)
	case a.kind == kindFloat || b.kind == kindFloat:
		return cmp.Compare(a.float(), b.float())
	}
	return cmp.Compare(a.n, b.n)
}

const maxDigits = 32 // bytes of a text that may be a number

// parseFloat gives nil for a text that is no number.
func parseFloat(text []byte) value {
	if len(text) > maxDigits {
		return value{}
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return value{}
	}
	return floatOf(f)
}

// parseInt gives nil for a text that is no whole number in decimal digits.
func parseInt(text []byte) value {
	if len(text) > maxDigits {
		return value{}
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return value{}
	}
	return intOf(n)
}
