package mill

import (
	"math/bits"
	"slices"

	"github.com/leatbus/leat/core"
)

// lender is the member of a group that those who pull share: it has what was offered to it, in no session.
// What they are lent they answer whenever they like, also to a later life of the node; who goes tells nobody.
type lender struct {
	s     *shell
	id    int64
	pulls []*pull            // that wait, in one life of the node
	loose []core.QueueEffect // handed out, and no pull has them
}

// pull is one call that waits for records.
type pull struct {
	by   *member
	want int32
}

// lend has the group's pullers begin.
func (s *shell) lend() {
	if s.plan.pullers == 0 {
		return
	}
	s.w.numbers++
	s.lender = &lender{s: s, id: int64(s.w.numbers)}
	for range s.plan.pullers {
		s.lender.invite()
	}
}

// invite has somebody more pull now and then.
func (l *lender) invite() {
	w := l.s.w
	m := &member{s: l.s, id: l.id, pulls: true, connected: true, speed: w.until(200 * ms)}
	w.after(w.until(w.spacing), func() { l.pull(m) })
}

// pull asks for records, which come in a while or never.
func (l *lender) pull(m *member) {
	w := l.s.w
	if w.healed || m.gone {
		return
	}
	w.after(w.until(8*w.spacing), func() { l.pull(m) })
	if !w.running {
		return
	}
	if len(l.pulls) == 0 && l.s.oracle.held[l.id] == 0 && w.chance(4) { // idle for long
		l.s.step(core.QueueInput{Kind: core.QueueLeave, Member: l.id})
	}
	p := &pull{by: m, want: 1 + w.dice.Int32N(30)}
	l.pulls = append(l.pulls, p)
	for i := range l.loose { // whoever gets it has a whole lease
		e := &l.loose[i]
		l.answer(core.QueueExtend, e.Grant)
	}
	l.serve()
	w.inLife(w.until(second), func() { l.end(p) })
}

// answer is what the shell itself says about what lies loose.
func (l *lender) answer(kind core.QueueInputKind, g core.QueueGrant) {
	l.s.answer(&member{id: l.id}, kind, g, 0)
}

// end has a pull return.
func (l *lender) end(p *pull) {
	for i, other := range l.pulls {
		if other == p {
			l.pulls = append(l.pulls[:i:i], l.pulls[i+1:]...)
			l.offer()
			return
		}
	}
}

// prune forgets what lies loose and whose lease is over.
func (l *lender) prune() {
	l.loose = slices.DeleteFunc(l.loose, func(e core.QueueEffect) bool { return !l.s.oracle.granted(&e) })
}

// offer has the queue hand out what the pulls want and is not there.
func (l *lender) offer() {
	l.prune()
	n := int32(0)
	for _, p := range l.pulls {
		n += p.want
	}
	for i := range l.loose {
		n -= int32(bits.OnesCount64(l.loose[i].Grant.Left))
	}
	n = max(n, 0)
	l.s.oracle.offered[l.id] = int64(n)
	if l.s.w.plant == offerWide {
		n++
	}
	l.s.q.Offer(l.id, n)
	l.s.step(core.QueueInput{Kind: core.QueueTick})
}

// granted takes what the queue hands out.
func (l *lender) granted(e core.QueueEffect) {
	l.loose = append(l.loose, e)
	l.s.w.inLife(0, l.serve)
}

// serve gives what there is to the pulls that wait.
func (l *lender) serve() {
	w := l.s.w
	l.prune()
	for len(l.pulls) > 0 && len(l.loose) > 0 {
		p := l.pulls[0]
		for len(l.loose) > 0 && p.want > 0 {
			e := l.loose[0]
			lent := e
			for lent.Grant.Left = e.Grant.Left; bits.OnesCount64(lent.Grant.Left) > int(p.want); {
				lent.Grant.Left &= lent.Grant.Left - 1
			}
			p.want -= int32(bits.OnesCount64(lent.Grant.Left))
			w.after(w.until(w.lag), func() { p.by.receive(lent) })
			w.counts.pulled += bits.OnesCount64(lent.Grant.Left)
			if l.loose[0].Grant.Left &^= lent.Grant.Left; l.loose[0].Grant.Left == 0 {
				l.loose = l.loose[1:]
			}
		}
		l.pulls = l.pulls[1:]
	}
	l.offer()
}

// crashed forgets what the node knew; those who pulled do not.
func (l *lender) crashed() {
	l.pulls, l.loose = nil, nil
	clear(l.s.oracle.offered)
}
