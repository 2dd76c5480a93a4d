package node

import (
	"context"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
	"github.com/leatbus/leat/transport/wire"
)

// readFilter compiles the filter that a reader asks for; nil for none.
func readFilter(source string) (*filter.Filter, error) {
	if source == "" {
		return nil, nil
	}
	return filter.Compile(source)
}

// matcherFor asks a filter, or none, about the records of a partition.
func matcherFor(f *filter.Filter, p *partition) *filter.Matcher {
	if f == nil {
		return nil
	}
	return f.Matcher(p.topic.name, p.number)
}

// newCursor makes a cursor whose reader is given what the filter of the subscription lets through.
func (s *subscription) newCursor(p *partition) *cursor {
	return &cursor{part: p, filter: matcherFor(s.filter, p)}
}

// passes reports whether the filter, if there is one, lets the next record through.
func (c *cursor) passes(r *core.Record) bool {
	return c.filter == nil || c.filter.Match(r, c.next, c.time.UnixNano())
}

// leavesOf is what a run of a partition asks about its records; it is good for one goroutine at a time.
func (s *subscription) leavesOf(p *partition) func(r *core.Record, offset, appended int64) bool {
	m := matcherFor(s.filter, p)
	return func(r *core.Record, offset, appended int64) bool {
		return s.topic.leaves(r, appended, s.node.clock) || m != nil && !m.Match(r, offset, appended)
	}
}

// agreesOn says why a member cannot join with another filter than that of the members. The lock must be held.
func (g *queueGroup) agreesOn(asked string) error {
	has := ""
	if g.filter != nil {
		has = g.filter.String()
	}
	if has == asked {
		return nil
	}
	name := func(source string) string {
		if source == "" {
			return "none"
		}
		return filter.Quote(source)
	}
	err := core.Errorf(core.CodeConfigMismatch, g.op("join"), "the filter of its members is %s, not %s",
		name(has), name(asked))
	err.Hint = "the filter of a queue group is that of the group: give all members the same"
	return err
}

// answerCheckFilter says what is wrong with a filter, and whether a queue group that has members on this node
// has another one. The streams that a filter is asked for on end with the number of the error only.
func (n *Node) answerCheckFilter(_ context.Context, q *wire.FilterBody) (wire.Empty, error) {
	if _, err := readFilter(q.Filter); err != nil {
		return wire.Empty{}, err
	}
	if q.Group == "" {
		return wire.Empty{}, nil
	}
	t, err := n.topicFor("join a queue group on", q.Topic)
	if err != nil {
		return wire.Empty{}, err
	}
	g := n.queueGroup(t, q.Group)
	if g == nil {
		return wire.Empty{}, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.members) == 0 {
		return wire.Empty{}, nil
	}
	return wire.Empty{}, g.agreesOn(q.Filter)
}
