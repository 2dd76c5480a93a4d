package leat

import (
	"slices"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// handle does what a frame of the node says. An error ends the stream.
func (m *remoteMember) handle(h wire.Header, payload []byte) error {
	switch h.Type {
	case wire.Assign:
		generation, err := wire.DecodeAssign(payload)
		if err != nil {
			return err
		}
		m.signal() // calls may have waited for it
		return m.assign(int32(h.Aux), int64(h.Arg), generation)
	case wire.Revoke:
		return m.revoke(int32(h.Aux), int32(h.Arg))
	case wire.Committed:
		return m.committed(h, payload)
	case wire.Fenced:
		var body wire.ErrorBody
		if err := wire.Unmarshal(h.Type, payload, &body); err != nil {
			return err
		}
		return body.Error(core.Code(h.Aux))
	case wire.Left:
		if !m.parting {
			return unexpected(h)
		}
		m.gone = true
		m.mu.Lock()
		defer m.mu.Unlock()
		if h.Aux != 0 {
			m.leftErr = core.NewError(core.Code(h.Aux), m.sub.topic.op("leave the group on"), nil)
		}
		return core.NewError(core.CodeClosed, m.sub.topic.op("leave the group on"), nil)
	}
	return unexpected(h)
}

// setCursor replaces one entry of byPart. Only the member's goroutine changes it.
func (s *remoteSubscription) setCursor(partition int32, c *remoteCursor) {
	list := slices.Clone(*s.byPart.Load())
	list[partition] = c
	s.byPart.Store(&list)
}

// assign takes a partition. One that was suspended goes on behind what was delivered of it, unless the group
// has come further meanwhile.
func (m *remoteMember) assign(partition int32, committed int64, generation int32) error {
	s := m.sub
	if int(partition) >= s.topic.cfg.Partitions || committed < -1 {
		return wire.Errorf("ASSIGN of partition %d at offset %d", partition, committed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.cursorOf(partition)
	if old != nil {
		at := slices.Index(m.suspended, old)
		if at < 0 {
			return wire.Errorf("ASSIGN of partition %d, which is assigned", partition)
		}
		m.suspended = slices.Delete(m.suspended, at, at+1)
		if place := old.delivered.Load(); old.resolved && committed <= place || !old.resolved && committed < 0 {
			m.giveBackLocked(old, committed, generation)
			return nil
		}
		s.releaseLocked(old)
	}
	c := &remoteCursor{sub: s, number: partition, generation: generation, restart: -1}
	c.source = s.sourceLocked(s.topic.nodeOf(partition))
	if committed >= 0 {
		c.initial = true
		c.startLocked(committed)
	} else if c.at = s.options.From; c.at.Kind == core.PositionDefault {
		c.at = core.Earliest
	}
	if old != nil { // another member had it
		s.changeLocked(partition, true)
	}
	s.changeLocked(partition, false)
	s.setCursor(partition, c)
	s.startLocked()
	c.source.addLocked(c)
	return nil
}

// giveBackLocked ends the suspension of a cursor.
func (m *remoteMember) giveBackLocked(c *remoteCursor, committed int64, generation int32) {
	c.generation = generation
	if c.resolved {
		c.committed.Store(max(committed, 0))
		c.reported.Store(max(committed, 0))
		for acked := c.acked.Load(); acked < committed && !c.acked.CompareAndSwap(acked, committed); {
			acked = c.acked.Load()
		}
		if c.acked.Load() > c.reported.Load() {
			m.touch()
		}
	}
	c.revoking.Store(false)
	if !c.queued {
		c.queued = true
		m.sub.ready = append(m.sub.ready, c)
	}
	m.sub.rouse()
}

// revoke stops delivery of a partition, and gives it back when nothing of it is in flight.
func (m *remoteMember) revoke(partition, generation int32) error {
	c := m.sub.cursorOf(partition)
	if c == nil || c.generation != generation || slices.Contains(m.suspended, c) {
		return wire.Errorf("REVOKE of partition %d, generation %d, which is not this member's", partition,
			generation)
	}
	c.revoking.Store(true)
	if !slices.Contains(m.draining, c) {
		m.draining = append(m.draining, c)
	}
	m.urgent.Store(true)
	return m.drain()
}

// drain gives back what has nothing in flight any more.
func (m *remoteMember) drain() error {
	s := m.sub
	if len(m.draining) == 0 {
		return nil
	}
	var done []*remoteCursor
	for _, c := range m.draining {
		// A message that is being taken is not delivered after all, or moved delivered before.
		if c.delivered.Load() <= c.acked.Load() {
			done = append(done, c)
		}
	}
	if len(done) == 0 {
		return nil
	}
	if err := m.report(); err != nil {
		return err
	}
	for _, c := range done {
		m.draining = slices.DeleteFunc(m.draining, func(other *remoteCursor) bool { return other == c })
		m.release(c)
		h := wire.Header{Type: wire.Drained, Aux: uint16(c.number), Arg: uint64(c.generation)}
		if err := m.lane.Queue(h.Append(m.frame[:0])); err != nil {
			return err
		}
	}
	if len(m.draining) == 0 {
		m.urgent.Store(false)
	}
	s.rouse()
	return nil
}

// release takes a partition out.
func (m *remoteMember) release(c *remoteCursor) {
	s := m.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setCursor(c.number, nil)
	s.releaseLocked(c)
	s.changeLocked(c.number, true)
}

// expire gives up what was suspended and not assigned again.
func (m *remoteMember) expire() {
	if len(m.suspended) == 0 || m.sub.client.clock.Mono() < m.until {
		return
	}
	lost := slices.ContainsFunc(m.suspended, unreported)
	for _, c := range m.suspended {
		m.release(c)
	}
	m.suspended = m.suspended[:0]
	m.signal() // calls may have waited for them
	if !lost {
		return
	}
	m.mu.Lock()
	commits := m.commits
	m.commits = nil
	m.mu.Unlock()
	for _, done := range commits {
		done <- core.Errorf(core.CodeFenced, m.sub.topic.op("commit on"),
			"a partition was not assigned to this member again")
	}
}

// appendAcks appends an entry for each partition whose acked position moved since the last call.
func (m *remoteMember) appendAcks(dst []byte) []byte {
	m.touched.Store(false) // before looking, so that a later ack is folded again
	for number, c := range *m.sub.byPart.Load() {
		if c == nil || slices.Contains(m.suspended, c) {
			continue
		}
		if acked := c.acked.Load(); acked > c.reported.Load() {
			c.reported.Store(acked)
			entry := wire.AckedEntry{Partition: int32(number), Generation: c.generation, Offset: acked}
			dst = entry.Append(dst)
		}
	}
	return dst
}

// sendAcks sends a frame whose payload is what was acked.
func (m *remoteMember) sendAcks(h wire.Header, evenEmpty bool) error {
	m.frame = m.appendAcks(append(m.frame[:0], make([]byte, wire.HeaderSize)...))
	h.Length = uint32(len(m.frame) - wire.HeaderSize)
	if h.Length == 0 && !evenEmpty {
		return nil
	}
	h.Put(m.frame)
	return m.lane.Queue(m.frame)
}

func (m *remoteMember) report() error { return m.sendAcks(wire.Header{Type: wire.MemberAck}, false) }

// attend looks at what calls have left.
func (m *remoteMember) attend() error {
	if err := m.drain(); err != nil {
		return err
	}
	if slices.ContainsFunc(m.suspended, unreported) {
		return nil // calls wait until it is known whose the acks are
	}
	m.mu.Lock()
	commits, leaving := m.commits, m.leaving && !m.parting
	m.commits = nil
	m.mu.Unlock()
	if len(commits) > 0 {
		m.sequence++
		m.sent[m.sequence] = commits
		if err := m.sendAcks(wire.Header{Type: wire.Commit, Arg: m.sequence}, true); err != nil {
			return err
		}
		for _, c := range *m.sub.byPart.Load() {
			if c != nil {
				c.asked = c.reported.Load()
			}
		}
	}
	if !leaving {
		return nil
	}
	if err := m.report(); err != nil {
		return err
	}
	m.parting = true
	leave := wire.Header{Type: wire.Leave}
	return m.lane.Queue(leave.Append(m.frame[:0]))
}

// committed answers the calls of one COMMIT.
func (m *remoteMember) committed(h wire.Header, payload []byte) error {
	waiting, ok := m.sent[h.Arg]
	if !ok {
		return wire.Errorf("COMMITTED %d, which was not asked for", h.Arg)
	}
	delete(m.sent, h.Arg)
	var err error
	if h.Aux != 0 {
		var body wire.ErrorBody
		if err := wire.Unmarshal(h.Type, payload, &body); err != nil {
			return err
		}
		err = body.Error(core.Code(h.Aux))
	}
	for _, c := range *m.sub.byPart.Load() {
		if c != nil && err == nil && h.Arg == m.sequence {
			c.committed.Store(max(c.asked, c.committed.Load()))
		}
	}
	for _, done := range waiting {
		done <- err
	}
	return nil
}

// changeLocked leaves an assignment to the loop.
func (s *remoteSubscription) changeLocked(partition int32, revoked bool) {
	if s.options.OnAssign != nil {
		s.changes = append(s.changes, assignment{partition, revoked})
	}
	s.changed.Store(true)
	s.rouse()
}
