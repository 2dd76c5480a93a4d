package filter

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/leatbus/leat/core"
)

// operand is a part of an expression that was compiled.
type operand struct {
	kind  kind
	fixed *value // what it always gives, or nil
	eval  func(*Matcher) value
}

func fixed(v value) operand {
	return operand{kind: v.kind, fixed: &v, eval: func(*Matcher) value { return v }}
}

// yes makes an operand of a question.
func yes(ask func(*Matcher) bool) operand {
	return operand{kind: kindBool, eval: func(m *Matcher) value { return boolOf(ask(m)) }}
}

// names are what an expression knows of a record, beside headers.
var names = map[string]operand{
	"topic":     {kind: kindText, eval: func(m *Matcher) value { return textOf(m.topic) }},
	"partition": {kind: kindInt, eval: func(m *Matcher) value { return intOf(m.partition) }},
	"offset":    {kind: kindInt, eval: func(m *Matcher) value { return intOf(m.offset) }},
	"time":      {kind: kindTime, eval: func(m *Matcher) value { return value{kind: kindTime, n: m.time} }},
	"size":      {kind: kindInt, eval: func(m *Matcher) value { return intOf(m.size) }},
	"key":       {kind: kindText, eval: func(m *Matcher) value { return textOrNil(m.key) }},
	"id":        {kind: kindText, eval: func(m *Matcher) value { return textOrNil(m.id) }},
	"tombstone": yes(func(m *Matcher) bool { return m.tombstone }),
}

const knownNames = "header(…), headers, key, id, size, time, topic, partition, offset or tombstone"

func textOrNil(b []byte) value {
	if b == nil {
		return value{}
	}
	return textOf(b)
}

// compile compiles a node and all below it.
func (c *compiler) compile(n ast.Node) (operand, error) {
	if c.nodes++; c.nodes > MaxNodes {
		return operand{}, c.refuse("more than %d parts", MaxNodes)
	}
	switch n := n.(type) {
	case *ast.NilNode:
		return fixed(value{}), nil
	case *ast.BoolNode:
		return fixed(boolOf(n.Value)), nil
	case *ast.IntegerNode:
		return fixed(intOf(int64(n.Value))), nil
	case *ast.FloatNode:
		return fixed(floatOf(n.Value)), nil
	case *ast.StringNode:
		return fixed(textOf([]byte(n.Value))), nil
	case *ast.IdentifierNode:
		if o, known := names[n.Value]; known {
			return o, nil
		}
		if n.Value == "headers" {
			return c.bad(n, `headers are asked one by one: headers["name"], or "name" in headers`)
		}
		return c.bad(n, "there is no %s: want %s", core.Quote(n.Value), knownNames)
	case *ast.ChainNode:
		return c.compile(n.Node)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.CallNode:
		return c.call(n)
	case *ast.BuiltinNode:
		return c.builtin(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	}
	return c.bad(n, "this is no part of a filter")
}

// bad is the error of a node.
func (c *compiler) bad(n ast.Node, format string, args ...any) (operand, error) {
	return operand{}, c.refuseAt(n.Location().From, format, args...)
}

// isHeaders reports whether a node is the name headers.
func isHeaders(n ast.Node) bool {
	name, ok := n.(*ast.IdentifierNode)
	return ok && name.Value == "headers"
}

// member compiles headers.name and headers["name"].
func (c *compiler) member(n *ast.MemberNode) (operand, error) {
	if !isHeaders(n.Node) {
		return c.bad(n, "only headers have parts")
	}
	return c.header(n, n.Property)
}

// call compiles header("name"); functions that expr has itself are builtins.
func (c *compiler) call(n *ast.CallNode) (operand, error) {
	if callee, ok := n.Callee.(*ast.IdentifierNode); ok && callee.Value == "header" {
		if len(n.Arguments) != 1 {
			return c.bad(n, "header has one name, not %d", len(n.Arguments))
		}
		return c.header(n, n.Arguments[0])
	}
	return c.bad(n, "there is no such function: want header, int, float, len, lower, upper, trim or date")
}

func (c *compiler) header(at, name ast.Node) (operand, error) {
	text, ok := name.(*ast.StringNode)
	if !ok {
		return c.bad(at, "the name of a header is a text in quotes")
	}
	c.nodes++
	wanted := text.Value
	return operand{kind: kindText, eval: func(m *Matcher) value {
		if found, ok := core.HeaderNamed(m.headers, wanted); ok {
			return textOf(found)
		}
		return value{}
	}}, nil
}

func (c *compiler) unary(n *ast.UnaryNode) (operand, error) {
	o, err := c.compile(n.Node)
	if err != nil {
		return o, err
	}
	switch n.Operator {
	case "not", "!":
		if o.kind != kindBool {
			return c.bad(n, "%s of %v: want true or false", n.Operator, o.kind)
		}
		return yes(func(m *Matcher) bool { return o.eval(m).n == 0 }), nil
	case "-", "+":
		if !o.kind.number() {
			return c.bad(n, "%s of %v: want a number", n.Operator, o.kind)
		}
		if n.Operator == "+" {
			return o, nil
		}
		if o.fixed != nil {
			return fixed(negative(*o.fixed)), nil
		}
		return operand{kind: o.kind, eval: func(m *Matcher) value { return negative(o.eval(m)) }}, nil
	}
	return c.bad(n, "there is no operator %s in filters", n.Operator)
}

func negative(v value) value {
	switch v.kind {
	case kindInt:
		return intOf(-v.n)
	case kindFloat:
		return floatOf(-v.float())
	}
	return value{}
}

// binary compiles what has two sides.
func (c *compiler) binary(n *ast.BinaryNode) (operand, error) {
	if n.Operator == "in" {
		return c.in(n)
	}
	l, err := c.compile(n.Left)
	if err != nil {
		return l, err
	}
	r, err := c.compile(n.Right)
	if err != nil {
		return r, err
	}
	switch n.Operator {
	case "and", "&&", "or", "||":
		return c.logic(n, l, r)
	case "==", "!=", "<", "<=", ">", ">=":
		return c.compare(n, l, r)
	case "contains", "startsWith", "endsWith", "matches":
		return c.search(n, l, r)
	case "+", "-", "*", "/", "%":
		return c.arithmetic(n, l, r)
	case "??":
		kind, ok := common(l.kind, r.kind)
		if !ok {
			return c.bad(n, "%v ?? %v: want the same on both sides", l.kind, r.kind)
		}
		return operand{kind: kind, eval: func(m *Matcher) value {
			if v := l.eval(m); v.kind != kindNil {
				return v
			}
			return r.eval(m)
		}}, nil
	}
	return c.bad(n, "there is no operator %s in filters", n.Operator)
}

// common is the kind of what may be either.
func common(a, b kind) (kind, bool) {
	switch {
	case a == b || b == kindNil:
		return a, a != kindNil && (b != kindNil || a != kindBool)
	case a == kindNil:
		return b, b != kindBool
	case a.number() && b.number():
		return kindFloat, true
	}
	return kindNil, false
}

func (c *compiler) logic(n *ast.BinaryNode, l, r operand) (operand, error) {
	for _, o := range []operand{l, r} {
		if o.kind != kindBool {
			return c.bad(n, "%s of %v: want true or false on both sides", n.Operator, o.kind)
		}
	}
	if n.Operator == "and" || n.Operator == "&&" {
		return yes(func(m *Matcher) bool { return l.eval(m).n != 0 && r.eval(m).n != 0 }), nil
	}
	return yes(func(m *Matcher) bool { return l.eval(m).n != 0 || r.eval(m).n != 0 }), nil
}

func (c *compiler) conditional(n *ast.ConditionalNode) (operand, error) {
	var parts [3]operand
	for i, part := range []ast.Node{n.Cond, n.Exp1, n.Exp2} {
		var err error
		if parts[i], err = c.compile(part); err != nil {
			return operand{}, err
		}
	}
	ask, then, otherwise := parts[0], parts[1], parts[2]
	kind, ok := common(then.kind, otherwise.kind)
	switch {
	case ask.kind != kindBool:
		return c.bad(n.Cond, "a choice by %v: want true or false before the ?", ask.kind)
	case !ok:
		return c.bad(n.Exp2, "a choice between %v and %v: want the same", then.kind, otherwise.kind)
	}
	return operand{kind: kind, eval: func(m *Matcher) value {
		if ask.eval(m).n != 0 {
			return then.eval(m)
		}
		return otherwise.eval(m)
	}}, nil
}

// in compiles left in [a, b], left in 1..9 and "name" in headers.
func (c *compiler) in(n *ast.BinaryNode) (operand, error) {
	if isHeaders(n.Right) {
		c.nodes++
		name, ok := n.Left.(*ast.StringNode)
		if !ok {
			return c.bad(n, "the name of a header is a text in quotes")
		}
		return yes(func(m *Matcher) bool {
			_, found := core.HeaderNamed(m.headers, name.Value)
			return found
		}), nil
	}
	l, err := c.compile(n.Left)
	if err != nil {
		return l, err
	}
	switch right := n.Right.(type) {
	case *ast.BinaryNode:
		if right.Operator == ".." {
			return c.within(right, l)
		}
	case *ast.ArrayNode:
		return c.oneOf(right, l)
	}
	return c.bad(n, "in: want headers, a list as in [1, 2], or a range as in 1..9")
}

// within compiles a range of whole numbers, both ends belong to.
func (c *compiler) within(n *ast.BinaryNode, l operand) (operand, error) {
	from, err := c.compile(n.Left)
	if err != nil {
		return from, err
	}
	to, err := c.compile(n.Right)
	if err != nil {
		return to, err
	}
	if from.fixed == nil || from.kind != kindInt || to.fixed == nil || to.kind != kindInt || !l.kind.number() {
		return c.bad(n, "a range is for numbers, and has two whole ones, as in 1..9")
	}
	low, high := *from.fixed, *to.fixed
	return yes(func(m *Matcher) bool {
		v := l.eval(m)
		whole := v.kind == kindInt || v.kind == kindFloat && v.float() == float64(int64(v.float()))
		return whole && order(&v, &low) >= 0 && order(&v, &high) <= 0
	}), nil
}

// manyTexts is how long a list of texts is that is looked up rather than compared one by one.
const manyTexts = 8

func (c *compiler) oneOf(n *ast.ArrayNode, l operand) (operand, error) {
	list := make([]value, 0, len(n.Nodes))
	for _, part := range n.Nodes {
		o, err := c.compile(part)
		if err != nil {
			return o, err
		}
		if _, ok := common(l.kind, o.kind); o.fixed == nil || o.kind == kindNil || !ok {
			return c.bad(part, "the list behind in has constants of one kind, here %v", l.kind)
		}
		list = append(list, *o.fixed)
	}
	if l.kind != kindText || len(list) < manyTexts {
		return yes(func(m *Matcher) bool {
			v := l.eval(m)
			return slices.ContainsFunc(list, func(other value) bool { return equal(&v, &other) })
		}), nil
	}
	set := make(map[string]bool, len(list))
	for i := range list {
		set[string(list[i].text)] = true
	}
	return yes(func(m *Matcher) bool {
		v := l.eval(m)
		return v.kind == kindText && set[string(v.text)]
	}), nil
}

// compare compiles comparisons. What is nil is equal to nil only, and neither less nor greater than anything.
func (c *compiler) compare(n *ast.BinaryNode, l, r operand) (operand, error) {
	equality := n.Operator == "==" || n.Operator == "!="
	none := l.kind == kindNil || r.kind == kindNil
	alike := l.kind == r.kind || l.kind.number() && r.kind.number()
	switch {
	case !alike && !(equality && none):
		hint := ""
		if l.kind == kindText && r.kind.number() || l.kind.number() && r.kind == kindText {
			hint = ": int(…) and float(…) read numbers from texts"
		} else if l.kind == kindTime || r.kind == kindTime {
			hint = `: want a time, as in date("2026-01-31")`
		}
		return c.bad(n, "%v %s %v%s", l.kind, n.Operator, r.kind, hint)
	case !equality && (l.kind == kindBool || none):
		return c.bad(n, "%v %s %v: neither is the lesser", l.kind, n.Operator, r.kind)
	case !equality:
		return inOrder(n.Operator, l, r), nil
	}
	same := func(m *Matcher) bool {
		a, b := l.eval(m), r.eval(m)
		return equal(&a, &b)
	}
	if r.fixed != nil { // the usual case
		want := *r.fixed
		same = func(m *Matcher) bool {
			a := l.eval(m)
			return equal(&a, &want)
		}
	}
	if n.Operator == "==" {
		return yes(same), nil
	}
	return yes(func(m *Matcher) bool { return !same(m) }), nil
}

func inOrder(operator string, l, r operand) operand {
	less := strings.HasPrefix(operator, "<")
	orEqual := strings.HasSuffix(operator, "=")
	return yes(func(m *Matcher) bool {
		a, b := l.eval(m), r.eval(m)
		if a.kind == kindNil || b.kind == kindNil {
			return false
		}
		way := order(&a, &b)
		return way == 0 && orEqual || way < 0 && less || way > 0 && !less
	})
}
