package core

import (
	"math"
	"strconv"
	"strings"
)

// DelayPlace is the place of a delayed message in a list of several nodes: by due time, then by node, then by
// offset. Its text is what a page of a list says about the next one.
type DelayPlace struct {
	Due    int64 // milliseconds since 1970
	Node   uint16
	Offset int64 // in __delay of the node
}

// Compare orders places.
func (p DelayPlace) Compare(other DelayPlace) int {
	if p.Due == other.Due && p.Node != other.Node {
		return int(p.Node) - int(other.Node)
	}
	return DelayEntry{Due: p.Due, Offset: p.Offset}.Compare(DelayEntry{Due: other.Due, Offset: other.Offset})
}

// String is what ParseDelayPlace reads.
func (p DelayPlace) String() string {
	dst := strconv.AppendInt(nil, p.Due, 10)
	dst = strconv.AppendUint(append(dst, '.'), uint64(p.Node), 10)
	return string(strconv.AppendInt(append(dst, '.'), p.Offset, 10))
}

// ParseDelayPlace reads what String gave, and nothing else: CodeInvalidConfig. The empty text is the place
// before all.
func ParseDelayPlace(text string) (DelayPlace, error) {
	if text == "" {
		return DelayPlace{Due: -1}, nil
	}
	parts := strings.Split(text, ".")
	if len(parts) == 3 {
		due, err1 := strconv.ParseUint(parts[0], 10, 63)
		node, err2 := strconv.ParseUint(parts[1], 10, 16)
		offset, err3 := strconv.ParseUint(parts[2], 10, 63)
		p := DelayPlace{int64(due), uint16(node), int64(offset)}
		if err1 == nil && err2 == nil && err3 == nil && p.String() == text {
			return p, nil
		}
	}
	return DelayPlace{}, Errorf(CodeInvalidConfig, "list delayed messages",
		"page %s: want what the page before said about the next one", Quote(text))
}

// On gives what every message of a node that was listed by this place is not behind.
func (p DelayPlace) On(node uint16) DelayEntry {
	switch {
	case node == p.Node:
		return DelayEntry{Due: p.Due, Offset: p.Offset}
	case node < p.Node:
		return DelayEntry{Due: p.Due, Offset: math.MaxInt64}
	}
	return DelayEntry{Due: p.Due, Offset: -1}
}
