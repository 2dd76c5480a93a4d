package filter

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/leatbus/leat/core"
)

// Bounds of an expression.
const (
	MaxSource  = 4096 // bytes
	MaxNodes   = 256  // names, constants, operators and calls
	MaxPattern = 512  // instructions of the patterns behind matches, as package regexp compiles them
	maxMatched = 1024 // bytes of a text that a pattern is tried on
)

// Filter is a compiled expression.
type Filter struct {
	source string
	decide func(*Matcher) value
}

// Compile reads an expression that gives true or false: CodeInvalidConfig if it does not, or is none, with
// the column where.
func Compile(source string) (f *Filter, err error) {
	c := compiler{source: source}
	switch {
	case len(source) > MaxSource:
		return nil, c.refuse("%d bytes: want at most %d", len(source), MaxSource)
	case strings.TrimSpace(source) == "" || !utf8.ValidString(source):
		return nil, c.refuse("want an expression in UTF-8, such as %s", `header("region") == "eu"`)
	}
	defer func() {
		if cause := recover(); cause != nil { // the parser is not ours, and the text may be anybody's
			f, err = nil, c.refuse("the parser gave up: %v", cause)
		}
	}()
	tree, err := parser.Parse(source)
	if err != nil {
		if at := (*file.Error)(nil); errors.As(err, &at) {
			from := at.Location.From
			if strings.HasSuffix(at.Message, "EOF") {
				from = len(source)
			}
			return nil, c.refuseAt(from, "%s", at.Message)
		}
		return nil, c.refuse("%v", err)
	}
	root, err := c.compile(tree.Node)
	if err != nil {
		return nil, err
	}
	if root.kind != kindBool {
		return nil, c.refuseAt(tree.Node.Location().From, "this gives %v: want true or false", root.kind)
	}
	return &Filter{source: source, decide: root.eval}, nil
}

// String is the expression as it was given.
func (f *Filter) String() string { return f.source }

// Matcher asks a filter about one record of a partition after the other.
type Matcher struct {
	filter    *Filter
	topic     []byte
	partition int64

	// The following is of the record that is asked about.
	offset, time int64
	size         int64
	key, id      []byte // nil for none
	headers      []byte
	tombstone    bool
}

// Matcher makes one for a partition of a topic.
func (f *Filter) Matcher(topic string, partition int32) *Matcher {
	return &Matcher{filter: f, topic: []byte(topic), partition: int64(partition)}
}

// Match reports whether a record passes. Its offset and the time of its append, in nanoseconds since 1970,
// are not in it. It does not keep r.
func (m *Matcher) Match(r *core.Record, offset, appended int64) bool {
	m.offset, m.time = offset, appended
	m.size = int64(len(r.Key) + len(r.Value))
	m.key, m.headers, m.tombstone = r.Key, r.RawHeaders, r.Value == nil
	m.id = nil
	if len(r.ID) > 0 {
		m.id = r.ID
	}
	return m.filter.decide(m).n != 0
}

// compiler compiles one expression.
type compiler struct {
	source  string
	nodes   int
	pattern int // instructions so far
}

// refuse is the error of an expression as a whole.
func (c *compiler) refuse(format string, args ...any) error {
	err := core.Errorf(core.CodeInvalidConfig, "filter "+Quote(c.source), format, args...)
	err.Hint = "docs/filters.md has the names, operators and functions of filters"
	return err
}

// refuseAt is the error of what begins at a rune of the expression.
func (c *compiler) refuseAt(at int, format string, args ...any) error {
	runes := []rune(c.source)
	at = min(max(at, 0), len(runes))
	where := "at the end"
	if at < len(runes) {
		where = fmt.Sprintf("column %d, at %s", at+1, Quote(string(runes[at:])))
	}
	return c.refuse("%s: %w", where, fmt.Errorf(format, args...))
}

// Quote is an expression, or a part of one, for messages.
func Quote(source string) string {
	const shown = 120
	if runes := []rune(source); len(runes) > shown {
		return fmt.Sprintf("%q…", string(runes[:shown]))
	}
	return fmt.Sprintf("%q", source)
}
