package mill

import (
	"fmt"

	"github.com/leatbus/leat/core"
)

// publish stores a message that is to be delivered later.
func (s *delayShell) publish() {
	w := s.w
	if w.healed || w.numbers >= w.records*3 {
		return
	}
	for n := 1 + w.dice.IntN(4); n > 0; n-- {
		s.publishOne()
	}
	w.inLife(w.until(5*w.spacing), s.publish)
}

func (s *delayShell) publishOne() {
	w := s.w
	w.numbers++
	m := &delayedMessage{number: w.numbers, target: w.dice.Int32N(int32(len(s.lanes))),
		key: core.DelayKey{Random: w.seed, Number: uint64(w.numbers)}}
	if m.level = s.plan.levels[m.target]; w.chance(3) {
		m.level = core.AckDisk
	}
	m.stored = core.Delayed{Topic: dueTopic, Partition: m.target, Level: m.level, Replaces: -1,
		Record: encodeRecord(nil, fmt.Append(nil, m.number))}
	delay := s.someDelay()
	if m.stored.Due = delay; w.chance(2) {
		m.stored.Relative = true
	} else {
		m.stored.Due += w.wall + w.mono
	}
	s.oracle.messages = append(s.oracle.messages, m)
	w.counts.delayed++
	s.send(m)
}

// someDelay is a delay, from one millisecond to an hour.
func (s *delayShell) someDelay() int64 {
	w := s.w
	switch w.dice.IntN(8) {
	case 0:
		return ms
	case 1, 2:
		return ms + w.until(50*ms)
	case 3: // several in one millisecond
		return max(ms, w.until(second)/(500*ms)*(500*ms)+(w.mono/second+1)*second-w.mono-ms/2)
	case 4:
		return ms + w.until(3600*second)
	}
	return ms + w.until(w.duration*int64(s.plan.lives)/8)
}

// send has the message of a publish stored, or again if the node ended before it was acknowledged and has
// nothing of it: so do clients.
func (s *delayShell) send(m *delayedMessage) {
	w := s.w
	offset, ok := s.append(encodeRecord(m.key.Encode(nil), m.stored.Encode(nil)))
	if !ok {
		m.refused = true
		return
	}
	m.refused, m.offset = false, offset
	m.dues = []int64{m.stored.DueAt(w.wall + w.mono)}
	m.ever = append(m.ever, m.dues[0])
	s.pending++
	w.disk.delay.storedAt(m.level, func() {
		s.pending--
		m.acked = true
		m.ackedAt = w.mono
		m.handle = core.DelayHandle{Topic: dueTopic, Partition: m.target, Offset: offset, Tag: m.key.Tag()}
		w.say("message %d is stored at %d, due in %d ms", m.number, offset, (m.dues[0]-w.wall-w.mono)/ms)
	})
	s.wake()
}

// change cancels or reschedules a message, also one that is gone.
func (s *delayShell) change() {
	w := s.w
	if w.healed {
		return
	}
	w.inLife(w.until(8*w.spacing), s.change)
	list := s.oracle.messages
	if len(list) == 0 {
		return
	}
	m := list[w.dice.IntN(len(list))]
	for range w.dice.IntN(16) { // rather one that is due soon
		other := list[w.dice.IntN(len(list))]
		if other.waits() && (!m.waits() || other.soonest() < m.soonest()) {
			m = other
		}
	}
	h := m.handle
	if len(m.old) > 0 && w.chance(4) {
		h = m.old[w.dice.IntN(len(m.old))]
	}
	switch {
	case h == (core.DelayHandle{}):
		return
	case w.chance(10):
		h.Offset += w.dice.Int64N(5) - 2
	case w.chance(20):
		h.Tag++
	}
	due := int64(0)
	if w.chance(2) {
		due = w.wall + w.mono + s.someDelay()
	}
	s.pending++
	// The record of the handle is read before the loop is asked, and things happen between the two.
	d, _, found := s.recordAt(h.Offset)
	found = found && d.Kind == core.DelayMessage && d.Key.Tag() == h.Tag
	w.inLife(w.until(ms), func() {
		s.do(func() { s.hold(h, d, found, due) })
	})
}

// hold takes a message out to reschedule it, or to cancel it if due is 0.
func (s *delayShell) hold(h core.DelayHandle, d core.DelayRecord, found bool, due int64) {
	w := s.w
	before := s.state.State(h.Offset)
	e, held, outcome, busy := s.state.Hold(h.Offset, h.Tag, found)
	if s.plan.plant == outcomeMixed && outcome == core.DelayCancelled {
		outcome = core.DelayFired
	}
	w.say("a call about %v: held %v, %v, busy %v", h, held, outcome, busy)
	if !held {
		s.pending--
		s.oracle.answered(h, outcome, busy)
		return
	}
	m := s.oracle.message(d.Key)
	if m == nil || before != core.DelayWaiting {
		w.broken("unsaid", "a call took %v out, state %d", h, before)
		return
	}
	record := encodeRecord(d.Key.Encode(nil), nil,
		core.DelayedEnd{Offset: h.Offset, Outcome: core.DelayCancelled}.Headers()...)
	if due > 0 {
		again := d.Message
		again.Relative, again.Due, again.Replaces = false, due, h.Offset
		if s.plan.plant == dueKept {
			again.Due = m.dues[0]
		}
		if s.plan.plant == replacedKept {
			again.Replaces = -1
		}
		record = encodeRecord(d.Key.Encode(nil), again.Encode(nil))
	}
	offset, ok := s.append(record)
	if !ok {
		m.tried = true
		w.inLife(w.until(ms), func() {
			s.do(func() {
				s.pending--
				if s.state.Release(e); s.plan.plant == releaseMissing {
					s.state.Hold(h.Offset, h.Tag, true)
				}
			})
		})
		return
	}
	m.changing(due)
	stored := func() {
		s.do(func() {
			s.pending--
			s.state.Replaced(h.Offset)
			s.oracle.changed(m, h, offset, due)
		})
	}
	if s.plan.plant == changeUnstored {
		w.inLife(0, stored)
	} else {
		w.disk.delay.storedAt(max(d.Message.Level, core.AckPage), stored)
	}
	s.wake()
}
