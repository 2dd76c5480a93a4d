package mill

import (
	"math/bits"
	"slices"

	"github.com/leatbus/leat/core"
)

// member is one that works on what a group hands it, and does what members do.
type member struct {
	s         *shell
	id        int64
	max       int32
	speed     int64 // how long a record takes, at most
	connected bool
	gone      bool // for ever
	pulls     bool // it is one of those who share the lender's number
	busyUntil int64
	had       []core.QueueEffect // deliveries of old, for answers that come too late
}

// sessionTimeout is how long the node waits for a member that is gone without a word.
const sessionTimeout = 10 * second

// invite has a new member join in a while.
func (s *shell) invite() {
	w := s.w
	w.numbers++
	m := &member{s: s, id: int64(w.numbers), max: 1 + w.dice.Int32N(s.plan.held)}
	m.speed = []int64{0, ms, 10 * ms, 200 * ms, 5 * second}[w.dice.IntN(5)]
	s.members = append(s.members, m)
	w.after(w.until(w.spacing+w.lag), func() { s.join(m) })
}

// reconnect has the members of before come back, with the numbers they had.
func (s *shell) reconnect() {
	for _, m := range s.members {
		s.w.after(s.w.until(second), func() { s.join(m) })
	}
}

func (s *shell) join(m *member) {
	if !s.w.running || m.gone {
		return
	}
	m.connected = true
	most := m.max
	if s.w.plant == windowWide {
		most++
	}
	s.oracle.joined(m.id, m.max)
	s.step(core.QueueInput{Kind: core.QueueJoin, Member: m.id, Max: most})
}

func (s *shell) member(id int64) *member {
	for _, m := range s.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

func (s *shell) someMember() *member {
	if len(s.members) == 0 {
		return nil
	}
	return s.members[s.w.dice.IntN(len(s.members))]
}

// part ends a member.
func (m *member) part() {
	m.gone = true
	m.s.members = slices.DeleteFunc(m.s.members, func(o *member) bool { return o == m })
	for range m.s.plan.members - len(m.s.members) {
		m.s.invite()
	}
}

// leave goes in order.
func (m *member) leave() {
	if m.gone || m.vanish() {
		return
	}
	w := m.s.w
	was := m.connected
	m.part()
	w.inLife(w.until(w.lag), func() {
		if was {
			m.s.step(core.QueueInput{Kind: core.QueueLeave, Member: m.id})
		}
	})
}

// crash goes without a word.
func (m *member) crash() {
	if m.gone || m.vanish() {
		return
	}
	w := m.s.w
	was := m.connected
	m.part()
	w.inLife(sessionTimeout, func() {
		if was {
			m.s.step(core.QueueInput{Kind: core.QueueLost, Member: m.id})
		}
	})
}

// vanish ends one who pulls, of which the node hears nothing. It is false for others.
func (m *member) vanish() bool {
	if m.pulls {
		m.gone = true
		m.s.lender.invite()
	}
	return m.pulls
}

// renew has the lease of a delivery begin anew while somebody works on it, as a client does in the
// background.
func (m *member) renew(e core.QueueEffect, work int64) {
	every := int64(m.s.plan.cfg.Lease) / 4
	if m.id%4 != 0 || m.pulls || work < 2*every {
		return
	}
	for at := every; at < min(work, 40*every); at += every {
		m.s.w.after(at, func() { m.say(core.QueueExtend, e.Grant, 0) })
	}
}

// receive begins to work on a delivery, behind those before.
func (m *member) receive(e core.QueueEffect) {
	w := m.s.w
	if m.gone {
		return
	}
	if len(m.had) < 64 {
		m.had = append(m.had, e)
	} else {
		m.had[w.dice.IntN(64)] = e
	}
	work := int64(0)
	if !w.healed {
		for range bits.OnesCount64(e.Grant.Left) {
			work += w.until(m.speed)
		}
	}
	m.busyUntil = max(m.busyUntil, w.mono) + work
	if w.healed {
		m.busyUntil = w.mono
	}
	m.renew(e, m.busyUntil-w.mono)
	w.after(m.busyUntil-w.mono, func() { m.finish(e) })
}

// finish answers a delivery: what fails always is told to have failed, and of the rest most is done.
func (m *member) finish(e core.QueueEffect) {
	if m.gone {
		return
	}
	w := m.s.w
	bad := e.Grant
	bad.Left = m.s.oracle.failing(e.Grant)
	if w.cured {
		bad.Left = 0
	}
	good := e.Grant
	good.Left &^= bad.Left
	if bad.Left != 0 {
		m.fail(bad)
	}
	if good.Left == 0 || m.gone {
		return
	}
	if w.healed || !w.has(badMembers) {
		m.say(core.QueueAck, good, 0)
		return
	}
	m.answer(e, good)
}

// fail answers what always fails, in one of the ways.
func (m *member) fail(g core.QueueGrant) {
	w := m.s.w
	switch n := w.dice.IntN(20); {
	case n == 0 && !w.healed:
		m.crash() // as a poison message makes its worker
	case n == 1 && !w.healed:
		m.say(core.QueueReject, g, 0)
	case n == 2: // the lease ends
	case n < 8:
		m.say(core.QueueNack, g, w.until(2*second))
	default:
		m.say(core.QueueNack, g, -1)
	}
}

// answer does with a delivery what members do.
func (m *member) answer(e core.QueueEffect, g core.QueueGrant) {
	w := m.s.w
	some, rest := g, g
	some.Left &= w.dice.Uint64()
	rest.Left &^= some.Left
	lease := int64(m.s.plan.cfg.Lease)
	switch n := w.dice.IntN(100); {
	case n < 6:
		m.say(core.QueueAck, some, 0)
		w.after(w.until(lease), func() { m.say(core.QueueAck, rest, 0) })
	case n < 11:
		m.say(core.QueueNack, some, w.until(3*second)-1)
		m.say(core.QueueAck, rest, 0)
	case n < 13:
		m.say(core.QueueReject, some, 0)
		m.say(core.QueueAck, rest, 0)
	case n < 18:
		m.say(core.QueueExtend, some, 0)
		w.after(w.until(lease+lease/4), func() { m.finish(e) })
	case n < 22: // too late
		w.after(lease+w.until(lease), func() { m.say(core.QueueAck+core.QueueInputKind(w.dice.IntN(4)), g, 0) })
	case n < 26: // twice
		m.say(core.QueueAck, g, 0)
		w.after(w.until(2*lease), func() { m.say(core.QueueAck, g, 0) })
	case n < 27:
		m.crash()
	case n < 28:
		m.leave()
	case n < 32:
		m.say(core.QueueAck, g, 0)
		m.sayWrong(g)
	default:
		m.say(core.QueueAck, g, 0)
	}
}

// sayWrong answers something it has no right to: what it had before, or what others have.
func (m *member) sayWrong(g core.QueueGrant) {
	w := m.s.w
	if n := len(m.had); n > 0 && !w.chance(4) {
		g = m.had[w.dice.IntN(n)].Grant
	}
	if other := m.s.someMember(); other != nil && len(other.had) > 0 && w.chance(3) {
		g = other.had[w.dice.IntN(len(other.had))].Grant
	}
	switch w.dice.IntN(6) {
	case 0:
		g.Epoch += w.dice.Int64N(7) - 3
	case 1:
		g.Slot += w.dice.Int32N(5) - 2
	case 2:
		g.Left = w.dice.Uint64()
	case 3:
		g.Lo += w.dice.Int64N(5) - 2
	}
	w.after(w.until(5*second), func() { m.say(core.QueueAck+core.QueueInputKind(w.dice.IntN(4)), g, 0) })
}

// say sends an answer to the node. It also arrives if the node was started anew meanwhile.
func (m *member) say(kind core.QueueInputKind, g core.QueueGrant, delay int64) {
	if m.gone || g.Left == 0 {
		return
	}
	m.s.w.after(m.s.w.until(m.s.w.lag), func() {
		if m.connected && !m.gone {
			m.s.answer(m, kind, g, delay)
		}
	})
}
