package node

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// answerPull lends of what this node has.
func (n *Node) answerPull(ctx context.Context, q *wire.PullBody) (answer wire.PulledAnswer, err error) {
	op := "pull from topic " + core.Quote(q.Topic)
	p := leat.Pull{Group: q.Group, Mode: core.GroupMode(q.Mode), Queue: queuePolicy(&q.Config), Max: q.Max,
		From: core.Position{Kind: core.PositionKind(q.From.Kind), Value: q.From.Value}}
	if err := core.ValidateName("group", p.Group); err != nil {
		return answer, err
	}
	if p.Mode > core.GroupKeyShared || p.From.Kind > core.PositionTime || p.Max < 1 || p.Max > leat.PullMost {
		return answer, core.Errorf(core.CodeInvalidConfig, op, "mode %d, position of kind %d, %d messages: want "+
			"a mode up to %d, a kind up to %d, 1 to %d messages", p.Mode, p.From.Kind, p.Max, core.GroupKeyShared,
			core.PositionTime, leat.PullMost)
	}
	if err := p.Queue.Validate(p.Group); err != nil {
		return answer, err
	}
	t, err := n.topicFor("pull from", q.Topic)
	if err != nil {
		return answer, err
	}
	list, err := n.pullHere(ctx, t, &p)
	if err != nil {
		return answer, err
	}
	for i := range list {
		answer.Messages = append(answer.Messages, lentBody(&list[i]))
	}
	return answer, nil
}

func lentBody(l *leat.Lent) wire.LentBody {
	body := wire.LentBody{Loan: wire.LoanBody(l.Loan), Attempt: l.Attempt, Time: l.Time.UnixNano(),
		TTL: int64(l.TTL), ID: []byte(l.ID)}
	if l.Key != nil {
		body.Key = &l.Key
	}
	if l.Value != nil {
		body.Value = &l.Value
	}
	for _, h := range l.Headers {
		body.Headers = append(body.Headers, wire.HeaderBody(h))
	}
	return body
}

// answerLoans takes what is said of messages that were lent so.
func (n *Node) answerLoans(ctx context.Context, q *wire.LoansBody) (answer wire.LoansAnswer, err error) {
	op := "answer on topic " + core.Quote(q.Topic)
	if q.Kind < wire.SettleAck || q.Kind > wire.SettleExtend || len(q.Loans) > leat.PullMost {
		return answer, core.Errorf(core.CodeInvalidConfig, op, "kind %d, %d loans: want a kind of 1 to 4, at most "+
			"%d loans", q.Kind, len(q.Loans), leat.PullMost)
	}
	a := leat.Answer{Kind: leat.AnswerKind(q.Kind), Delay: max(time.Duration(q.Delay), -1),
		Reason: string(q.Reason)}
	loans := make([]leat.Loan, len(q.Loans))
	for i := range q.Loans {
		loans[i] = leat.Loan(q.Loans[i])
	}
	results, err := n.Answer(ctx, q.Topic, q.Group, a, loans)
	for _, err := range results {
		code := core.Code(0)
		if err != nil {
			code = core.CodeOf(outward(err))
		}
		answer.Codes = append(answer.Codes, uint16(code))
	}
	return answer, err
}
