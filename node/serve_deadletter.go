package node

import (
	"context"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// maxSettleRuns is how many runs one request may name; with the next it goes on.
const maxSettleRuns = core.MaxBatchRecords

// answerMore is answer for dead letters.
func (c *session) answerMore(op wire.Op, payload []byte) (any, error) {
	n := c.node
	switch op {
	case wire.OpDeadLetters:
		return n.answerDeadLetters(c.ctx)
	case wire.OpReadDeadLetters:
		return handle(c.ctx, payload, n.answerReadDeadLetters)
	case wire.OpSettleDeadLetters:
		return handle(c.ctx, payload, n.answerSettleDeadLetters)
	}
	return nil, core.Errorf(core.CodeUnsupported, "request", "operation %d", op)
}

func (n *Node) answerDeadLetters(ctx context.Context) (wire.DeadLettersAnswer, error) {
	var answer wire.DeadLettersAnswer
	list, err := n.DeadLetters(ctx)
	for i := range list {
		t := &list[i]
		body := wire.DeadLettersBody{Name: t.Name, Topic: t.Topic, Group: t.Group}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			body.Placement = append(body.Placement, p.Node)
			if p.Node != n.id() {
				continue
			}
			local := wire.DeadLetterPartitionBody{Partition: p.Partition, Start: p.Start, End: p.End,
				Pending: p.Pending, Redriven: p.Redriven, Dropped: p.Dropped}
			if p.Err != nil {
				code, text := wire.ErrorOf(outward(p.Err))
				local.Code, local.Error = uint16(code), &text
			}
			body.Local = append(body.Local, local)
		}
		answer.Topics = append(answer.Topics, body)
	}
	return answer, err
}

func (n *Node) answerReadDeadLetters(
	ctx context.Context, q *wire.DeadLetterReadBody,
) (answer wire.DeadLetterPageBody, err error) {
	if q.Limit < 1 || q.Limit > core.MaxBatchRecords {
		return answer, core.Errorf(core.CodeInvalidConfig, "read dead letters of topic "+core.Quote(q.Topic),
			"limit %d: want 1 to %d", q.Limit, core.MaxBatchRecords)
	}
	filter := core.DeadLetterFilter{Code: core.Code(q.Filter.Code), Since: q.Filter.Since, Until: q.Filter.Until}
	if q.Filter.Key != nil {
		filter.Key = append([]byte{}, *q.Filter.Key...)
	}
	for _, h := range q.Filter.Headers {
		filter.Headers = append(filter.Headers, core.Header(h))
	}
	page, err := n.ReadDeadLetters(ctx, q.Topic, leat.DeadLetterRead{Partition: q.Partition, From: q.From,
		To: q.To, Limit: q.Limit, Bare: q.Bare, Filter: filter, Job: q.Job})
	answer.Next, answer.End = page.Next, page.End
	for i := range page.Letters {
		answer.Letters = append(answer.Letters, letterBody(&page.Letters[i]))
	}
	return answer, err
}

func letterBody(l *leat.DeadLetter) wire.DeadLetterBody {
	body := wire.DeadLetterBody{Offset: l.Offset, Died: l.Died.UnixNano(), Size: l.Size}
	if l.Key != nil {
		body.Key = &l.Key
	}
	if l.Value != nil {
		body.Value = &l.Value
	}
	for _, h := range l.Headers {
		body.Headers = append(body.Headers, wire.HeaderBody(h))
	}
	if o := &l.Origin; l.Known {
		body.Origin = &wire.DeadLetterOriginBody{Topic: o.Topic, Partition: o.Partition, Offset: o.Offset,
			Time: o.Time, Attempts: o.Attempts, Code: uint16(o.Code), Reason: []byte(o.Reason), Group: o.Group}
	}
	return body
}

func (n *Node) answerSettleDeadLetters(
	ctx context.Context, q *wire.DeadLetterSettleBody,
) (answer wire.DeadLetterSettled, err error) {
	if len(q.Runs) > maxSettleRuns {
		return answer, core.Errorf(core.CodeInvalidConfig, "settle dead letters of topic "+core.Quote(q.Topic),
			"%d runs: want %d at most", len(q.Runs), maxSettleRuns)
	}
	answer.Settled, err = n.SettleDeadLetters(ctx, q.Topic, leat.DeadLetterSettle{Partition: q.Partition,
		Job: q.Job, Runs: q.Runs, Dropped: q.Dropped, Done: q.Done})
	return answer, err
}
