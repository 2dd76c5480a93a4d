package node

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// briefMost bounds what a pull that does not wait waits for what is under way.
const briefMost = time.Second

// Pull implements leat.Backend: what this node has of the topic.
func (n *Node) Pull(ctx context.Context, topic string, p leat.Pull) ([]leat.Lent, error) {
	t, err := n.topicFor("pull from", topic)
	if err != nil {
		return nil, err
	}
	if err := n.subscribable(t, p.Group); err != nil {
		return nil, err
	}
	return n.pullHere(ctx, t, &p)
}

// pullHere lends of the partitions of this node.
func (n *Node) pullHere(ctx context.Context, t *topic, p *leat.Pull) ([]leat.Lent, error) {
	waiting, cancel := context.WithTimeout(ctx, cmp.Or(p.Wait, briefMost))
	defer cancel()
	for {
		l, err := n.lender(ctx, t, p)
		if err != nil {
			return nil, err
		}
		runs, retired, err := l.pull(waiting, p.Max, p.Wait == 0)
		if err != nil {
			return nil, err
		}
		if retired {
			if t.deleted.Load() {
				return nil, core.NewError(core.CodeTopicNotFound, t.op("pull from"), nil)
			}
			continue
		}
		if ctx.Err() != nil { // nobody is there to get them
			l.putBack(runs)
			return nil, ctx.Err()
		}
		if len(runs) == 0 {
			return nil, nil
		}
		// What was handed out may be gone from the log, or its time to live over; then there may be more.
		if list, err := l.read(runs); len(list) > 0 || err != nil || waiting.Err() != nil {
			return list, err
		}
	}
}

// lender gives the lender of a group, and makes it the group's member if there is none.
func (n *Node) lender(ctx context.Context, t *topic, p *leat.Pull) (*queueLender, error) {
	o := leat.SubscribeOptions{Group: p.Group, Mode: p.Mode, Queue: p.Queue, From: p.From}
	for {
		l, err := n.lenderThere(t, &o)
		if l != nil || err != nil {
			return l, err
		}
		m, err := n.joinQueue(ctx, t, &o, newSleeper())
		if err != nil {
			return nil, err
		}
		if !m.group.lends(m) {
			o.Mode = p.Mode // another pull was first, and may have begun the group otherwise
		}
	}
}

// lenderThere gives the lender of a group, nil if it has none, and says why a pull does not agree with it.
// Where the pull has not said a mode it gets that of the members.
func (n *Node) lenderThere(t *topic, o *leat.SubscribeOptions) (*queueLender, error) {
	g := n.queueGroup(t, o.Group)
	if g != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if o.Mode == leat.GroupStream && len(g.members) > 0 {
			o.Mode = g.mode
		}
	}
	o.Mode = max(o.Mode, leat.GroupQueue)
	if g == nil || g.lender == nil {
		return nil, nil
	}
	return g.lender, g.agrees(o)
}

// lends makes a member that of those who pull, unless there is one, and reports whether it did.
func (g *queueGroup) lends(m *queueMember) bool {
	g.mu.Lock()
	defer g.unlock()
	switch {
	case m.closed.Load():
		return false // the group is over, which the next join says
	case g.lender != nil:
		g.drop(m, core.QueueLeave)
		return false
	}
	m.name = "pull"
	m.lender = &queueLender{member: m, used: g.now()}
	g.lender = m.lender
	return true
}

// lenderDue is when the lender is to be looked at because nobody pulls; 0 while somebody does, or while
// messages are out, whose leases end first. The lock must be held.
func (g *queueGroup) lenderDue() int64 {
	l := g.lender
	if l == nil || len(l.pulls) > 0 || l.member.held > 0 {
		return 0
	}
	return l.used + int64(lenderIdle)
}

// retireLender has the lender leave when it is of no use any more. The lock must be held.
func (g *queueGroup) retireLender(now int64) {
	if g.lender == nil {
		return
	}
	g.harvest(g.lender.member)
	if due := g.lenderDue(); due != 0 && due <= now {
		g.drop(g.lender.member, core.QueueLeave)
	}
}

// Answer implements leat.Backend.
func (n *Node) Answer(
	_ context.Context, topic, group string, a leat.Answer, loans []leat.Loan,
) ([]error, error) {
	t, err := n.topicFor("answer on", topic)
	if err != nil {
		return nil, err
	}
	results := make([]error, len(loans))
	g := n.queueGroup(t, group)
	if g == nil {
		for i := range loans {
			results[i] = staleLoan(t, a.Kind, &loans[i])
		}
		return results, nil
	}
	if a.Kind == leat.AnswerAck {
		g.ackLoans(loans, results)
		return results, nil
	}
	for i := range loans {
		results[i] = g.answerLoan(a, &loans[i])
	}
	return results, nil
}

func staleLoan(t *topic, kind leat.AnswerKind, l *leat.Loan) error {
	return core.Errorf(core.CodeStaleAck, kind.String(), "offset %d of partition %d of topic %s", l.Offset,
		l.Partition, core.Quote(t.name))
}

// ackLoans settles messages that were lent to whoever names the loans.
func (g *queueGroup) ackLoans(loans []leat.Loan, results []error) {
	g.mu.Lock()
	defer g.unlock()
	now := g.now()
	for i := range loans {
		grant, bit := g.lent(&loans[i])
		if grant != nil {
			g.revoke(grant.part, now)
			bit = grant.take(bit)
		}
		if bit == 0 {
			results[i] = staleLoan(g.topic, leat.AnswerAck, &loans[i])
			continue
		}
		g.settle(grant, bit)
		grant.member.sweep = true
	}
	g.feedAll(now)
	g.foldSoon()
	if g.acks >= foldAcks {
		g.nudge = true
	}
}

// answerLoan takes what else is said of one.
func (g *queueGroup) answerLoan(a leat.Answer, l *leat.Loan) error {
	g.mu.Lock()
	grant, bit := g.lent(l)
	g.mu.Unlock()
	if bit == 0 {
		return staleLoan(g.topic, a.Kind, l)
	}
	var err error
	switch a.Kind {
	case leat.AnswerNack:
		err = grant.Nack(l.Offset, a.Delay, a.Reason)
	case leat.AnswerReject:
		err = grant.Reject(l.Offset, a.Reason)
	default:
		err = grant.Extend(l.Offset)
	}
	if core.CodeOf(err) == core.CodeClosed { // of the member that lent it; whoever pulled has none
		return staleLoan(g.topic, a.Kind, l)
	}
	return err
}

// lent finds the grant of a loan, and its bit; none if it is over, or of a member. The lock must be held.
func (g *queueGroup) lent(l *leat.Loan) (*queueGrant, uint64) {
	i := slices.IndexFunc(g.parts, func(p *queuePart) bool { return p.part.number == l.Partition })
	if i < 0 || l.Slot < 0 || int(l.Slot) >= len(g.parts[i].grants) {
		return nil, 0
	}
	grant := g.parts[i].grants[l.Slot]
	if grant == nil || grant.epoch != l.Epoch || grant.member.lender == nil || l.Offset < grant.lo ||
		l.Offset-grant.lo > 63 {
		return nil, 0
	}
	return grant, grant.bit(l.Offset)
}
