package node

import (
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// read takes what the client says until it leaves, or its stream ends.
func (m *memberStream) read(r *transport.Reader) (left bool, err error) {
	var entries []wire.AckedEntry
	for {
		h, err := nextFrame(r)
		if err != nil {
			return false, err
		}
		switch h.Type {
		case wire.MemberAck, wire.Commit:
			if entries, err = m.readAcks(r, entries[:0]); err == nil && h.Type == wire.Commit {
				err = m.commit(h.Arg)
			}
		case wire.Drained:
			m.gaveBack(int32(h.Aux), h.Arg)
		case wire.Leave:
			return true, nil
		default:
			err = unexpected(&h, "on a member stream")
		}
		if err != nil {
			return false, err
		}
	}
}

// readAcks notes how far the client is done with partitions.
func (m *memberStream) readAcks(r *transport.Reader, entries []wire.AckedEntry) ([]wire.AckedEntry, error) {
	payload, err := r.Small()
	if err != nil {
		return entries, err
	}
	if entries, err = wire.DecodeAcked(payload, entries); err != nil {
		return entries, err
	}
	if m.ack(entries) {
		m.member.Touch()
	}
	return entries, nil
}

// ack takes acks of the generation that the partition was assigned with; any other is late. It reports
// whether there is something to commit.
func (m *memberStream) ack(entries []wire.AckedEntry) (moved bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range entries {
		e := &entries[i]
		p := m.parts[e.Partition]
		if p == nil || p.generation != e.Generation {
			continue
		}
		start := int64(0)
		if log := m.topic.partitions[e.Partition].log; log != nil {
			e.Offset = min(e.Offset, log.End()) // beyond it nothing was delivered
			start = log.Start()
		}
		if e.Offset > p.acked {
			m.count(p.acked, e.Offset, start)
			p.acked, moved = e.Offset, true
		}
	}
	return moved
}

// count counts messages that were acked. Where nothing was acked before, the member may have begun anywhere
// behind the start of the log; it has acked no more than it got.
func (m *memberStream) count(from, to, start int64) {
	n := to - max(from, start)
	if from < 0 {
		n = min(n, m.counted.delivered.Load()-m.counted.acked.Load())
	}
	addSome(&m.counted.acked, max(n, 0))
}

// gaveBack notes that the client has nothing of a partition in flight any more.
func (m *memberStream) gaveBack(partition int32, generation uint64) {
	m.mu.Lock()
	p := m.parts[partition]
	mine := p != nil && p.revoked && uint64(uint32(p.generation)) == generation
	if mine {
		p.drained = true
		m.tellDrainedLocked()
	}
	m.mu.Unlock()
	if mine {
		m.commitSoon(func() { m.forced = true }) // it moves at once
	}
}

// commit answers a COMMIT when everything acked so far is stored.
func (m *memberStream) commit(sequence uint64) error {
	m.mu.Lock()
	full := len(m.waiting) >= maxWaiting
	m.mu.Unlock()
	if full {
		return core.Errorf(core.CodeLimited, "commit", "%d commits wait for their answer", maxWaiting)
	}
	m.commitSoon(func() { m.waiting = append(m.waiting, sequence) })
	return nil
}

// commitSoon makes the committer run once more. One commit is on the way at a time; what comes meanwhile
// goes with the next.
func (m *memberStream) commitSoon(ask func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ask()
	if !m.committing {
		m.committing = true
		m.committer.Go(m.commitAll)
	}
}

func (m *memberStream) commitAll() {
	for {
		m.mu.Lock()
		waiting := m.waiting
		if len(waiting) == 0 && !m.forced {
			m.committing = false
			m.mu.Unlock()
			return
		}
		m.waiting, m.forced = nil, false
		m.mu.Unlock()
		err := m.member.Commit(m.session.ctx)
		var frames []byte
		for _, sequence := range waiting {
			h := wire.Header{Type: wire.Committed, Arg: sequence}
			if err != nil {
				frames = errorFrame(frames, h, err, false)
			} else {
				frames = h.Append(frames)
			}
		}
		if len(frames) > 0 {
			m.say(frames)
		}
	}
}
