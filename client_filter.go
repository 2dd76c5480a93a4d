package leat

import (
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// checkFilter has a node say what is wrong with a filter, for a stream that is refused ends with the number
// of the error only.
func (c *client) checkFilter(t *clientTopic, expression string) error {
	if expression == "" {
		return nil
	}
	ctx, cancel := c.patient(c.ctx)
	defer cancel()
	err := c.askWith(ctx, c.node(t.nodeOf(0)), true, wire.FeatureFilters, wire.OpCheckFilter,
		wire.FilterBody{Filter: expression, Topic: t.name}, &wire.Empty{})
	if ctx.Err() != nil && c.ctx.Err() == nil {
		return core.Errorf(core.CodeUnavailable, t.op("subscribe to"), "no answer within %v",
			c.options.unreachableAfter)
	}
	return err
}

// filters says why a node cannot be asked for what passes a filter.
func (c *clientConn) filters(op, expression string) error {
	if expression != "" && c.welcome.Features&wire.FeatureFilters == 0 {
		return core.Errorf(core.CodeUnsupported, op, "the node at %s is of version %q, which has no filters",
			c.address, c.welcome.Server)
	}
	return nil
}

// mismatch gives the words for what a node refused with ErrConfigMismatch, if it is about the filter.
func (f *queueSource) mismatch(err error) error {
	q := f.queue
	ctx, cancel := q.client.patient(q.ctx)
	defer cancel()
	asked := q.client.askWith(ctx, f.node, true, wire.FeatureFilters, wire.OpCheckFilter,
		wire.FilterBody{Filter: q.options.Filter, Topic: q.topic.name, Group: q.options.Group}, &wire.Empty{})
	if core.CodeOf(asked) == core.CodeConfigMismatch {
		return asked
	}
	return err
}
