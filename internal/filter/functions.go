package filter

import (
	"bytes"
	"math"
	"regexp"
	"regexp/syntax"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"github.com/leatbus/leat/core"
)

// search compiles the operators that look into texts; with nil on a side they are false.
func (c *compiler) search(n *ast.BinaryNode, l, r operand) (operand, error) {
	if l.kind != kindText || r.kind != kindText {
		return c.bad(n, "%v %s %v: want texts on both sides", l.kind, n.Operator, r.kind)
	}
	if n.Operator == "matches" {
		return c.matches(n, l, r)
	}
	find := map[string]func(text, part []byte) bool{
		"contains": bytes.Contains, "startsWith": bytes.HasPrefix, "endsWith": bytes.HasSuffix,
	}[n.Operator]
	return yes(func(m *Matcher) bool {
		a, b := l.eval(m), r.eval(m)
		return a.kind == kindText && b.kind == kindText && find(a.text, b.text)
	}), nil
}

// matches compiles a pattern. Its time is bounded by its length and that of the text it is tried on.
func (c *compiler) matches(n *ast.BinaryNode, l, r operand) (operand, error) {
	if r.fixed == nil {
		return c.bad(n.Right, "the pattern behind matches is a text in quotes")
	}
	source := string(r.fixed.text)
	parsed, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return c.bad(n.Right, "%v", err)
	}
	if written(parsed) > maxWritten {
		return c.bad(n.Right, "a pattern of far more than %d instructions: want at most %d", MaxPattern, MaxPattern)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return c.bad(n.Right, "%v", err)
	}
	if c.pattern += len(program.Inst); c.pattern > MaxPattern {
		return c.bad(n.Right, "patterns of %d instructions: want at most %d", c.pattern, MaxPattern)
	}
	pattern, err := regexp.Compile(source)
	if err != nil {
		return c.bad(n.Right, "%v", err)
	}
	return yes(func(m *Matcher) bool {
		v := l.eval(m)
		return v.kind == kindText && len(v.text) <= maxMatched && pattern.Match(v.text)
	}), nil
}

// maxWritten is how large a pattern may be that is compiled to count its instructions. One that is within
// MaxPattern is smaller, unless most of it does nothing.
const maxWritten = 8 * MaxPattern

// written is the size of a pattern with its repetitions written out, which takes long and much memory where
// it is large; what is beyond maxWritten is not counted on.
func written(re *syntax.Regexp) int {
	size := 1
	if re.Op == syntax.OpLiteral {
		size = len(re.Rune)
	}
	for _, sub := range re.Sub {
		size = min(size+written(sub), maxWritten+1)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, maxWritten+1)
}

// arithmetic compiles + - * / and %. What cannot be computed is nil.
func (c *compiler) arithmetic(n *ast.BinaryNode, l, r operand) (operand, error) {
	whole := l.kind == kindInt && r.kind == kindInt
	if !l.kind.number() || !r.kind.number() || n.Operator == "%" && !whole {
		return c.bad(n, "%v %s %v: want numbers, whole ones for %%", l.kind, n.Operator, r.kind)
	}
	kind := kindFloat
	if whole && n.Operator != "/" {
		kind = kindInt
	}
	operator := n.Operator[0]
	return operand{kind: kind, eval: func(m *Matcher) value {
		a, b := l.eval(m), r.eval(m)
		switch {
		case a.kind == kindNil || b.kind == kindNil:
			return value{}
		case kind == kindInt:
			return computeInt(operator, a.n, b.n)
		}
		return computeFloat(operator, a.float(), b.float())
	}}, nil
}

func computeInt(operator byte, a, b int64) value {
	switch operator {
	case '+':
		return intOf(a + b)
	case '-':
		return intOf(a - b)
	case '*':
		return intOf(a * b)
	}
	if b == 0 {
		return value{}
	}
	return intOf(a % b)
}

func computeFloat(operator byte, a, b float64) value {
	switch operator {
	case '+':
		return floatOf(a + b)
	case '-':
		return floatOf(a - b)
	case '*':
		return floatOf(a * b)
	}
	return floatOf(a / b)
}

// builtin compiles the functions of expr that filters have.
func (c *compiler) builtin(n *ast.BuiltinNode) (operand, error) {
	convert, known := conversions[n.Name]
	if !known && n.Name != "date" {
		return c.bad(n,
			"there is no function %s in filters: want header, int, float, len, lower, upper, trim or date",
			core.Quote(n.Name))
	}
	if len(n.Arguments) != 1 {
		return c.bad(n, "%s takes one value, not %d", n.Name, len(n.Arguments))
	}
	o, err := c.compile(n.Arguments[0])
	if err != nil {
		return o, err
	}
	if n.Name == "date" {
		return c.date(n, o)
	}
	if o.kind != kindText && !(convert.numbers && o.kind.number()) {
		return c.bad(n, "%s of %v", n.Name, o.kind)
	}
	return operand{kind: convert.gives, eval: func(m *Matcher) value {
		v := o.eval(m)
		if v.kind == kindNil {
			return v
		}
		return convert.do(v)
	}}, nil
}

// conversion makes a value of another, which is not nil.
type conversion struct {
	gives   kind
	numbers bool // it takes numbers, too
	do      func(value) value
}

var conversions = map[string]conversion{
	"int":   {kindInt, true, toInt},
	"float": {kindFloat, true, toFloat},
	"len":   {kindInt, false, func(v value) value { return intOf(int64(utf8.RuneCount(v.text))) }},
	"lower": {kindText, false, func(v value) value { return textOf(bytes.ToLower(v.text)) }},
	"upper": {kindText, false, func(v value) value { return textOf(bytes.ToUpper(v.text)) }},
	"trim":  {kindText, false, func(v value) value { return textOf(bytes.TrimSpace(v.text)) }},
}

func toInt(v value) value {
	switch v.kind {
	case kindInt:
		return v
	case kindText:
		return parseInt(v.text)
	}
	if f := math.Trunc(v.float()); f >= -1<<63 && f < 1<<63 {
		return intOf(int64(f))
	}
	return value{}
}

func toFloat(v value) value {
	if v.kind == kindText {
		return parseFloat(v.text)
	}
	return floatOf(v.float())
}

// dateForms are the spellings of a time; without a zone it is UTC.
var dateForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05",
	time.DateOnly}

// date compiles a time that is written in the expression.
func (c *compiler) date(n *ast.BuiltinNode, o operand) (operand, error) {
	if o.fixed != nil && o.kind == kindText {
		for _, form := range dateForms {
			at, err := time.Parse(form, string(o.fixed.text))
			if err == nil && at.Year() >= 1700 && at.Year() < 2262 { // what nanoseconds in 64 bits can hold
				return fixed(value{kind: kindTime, n: at.UnixNano()}), nil
			}
		}
	}
	return c.bad(n, `date: want a time in quotes, as in date("2026-01-31T12:00:00Z") or date("2026-01-31")`)
}
