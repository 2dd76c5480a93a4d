package mmaplog

import (
	"maps"

	"github.com/leatbus/leat/core"
)

// What a follower does to its log, and what compaction does, in a model run.

// copyFrames appends a few frames as another replica's log may have them, in one batch, and tries some that
// do not fit.
func (m *modelRun) copyFrames() {
	for range 1 + m.next()%6 {
		next := m.log.w.next
		payload, n := m.records()
		h := core.FrameHeader{
			Length: uint32(core.FrameHeaderSize + len(payload)), Index: next.index, BaseOffset: next.offset,
			Time: next.time + int64(m.next()%3), Term: next.term + uint32(m.next()%8/7), PrevCRC: next.prevCRC,
			PayloadCRC: core.Checksum(payload), Records: uint16(n), Version: core.FrameVersion,
		}
		if m.next()%2 == 0 {
			h.ProducerID, h.ProducerEpoch, h.BaseSeq = int64(1+m.next()%3), int16(m.next()%3), int32(m.next()%1000)
		}
		if m.next()%4 == 0 {
			m.refuseCopy(h, payload)
		}
		if err := m.log.AppendFrame(&h, payload); err != nil {
			m.fail("AppendFrame(%+v): %v", h, err)
		}
		m.copies[h.BaseOffset] = h
		for range n {
			m.times, m.terms = append(m.times, h.Time), append(m.terms, h.Term)
		}
		m.now = max(m.now, h.Time)
	}
	if end, err := m.log.Publish(); err != nil || end != int64(len(m.values)) {
		m.fail("Publish = %d, %v; want %d", end, err, len(m.values))
	}
}

// refuseCopy spoils a frame in some way.
func (m *modelRun) refuseCopy(h core.FrameHeader, payload []byte) {
	want := core.CodeInvalidRecord
	switch m.next() % 6 {
	case 0:
		h.Index++
	case 1:
		h.BaseOffset++
	case 2:
		h.PrevCRC ^= 1
	case 3:
		h.Time = m.log.w.next.time - 1
	case 4:
		h.Term = m.log.w.next.term - 1
		if h.Term > m.log.w.next.term {
			return // there is no lower one
		}
	default:
		h.PayloadCRC ^= 1
		want = core.CodeCorrupt
	}
	if err := m.log.AppendFrame(&h, payload); core.CodeOf(err) != want {
		m.fail("AppendFrame(%+v): %v, want code %v", h, err, want)
	}
}

// truncate drops the records from some offset on. Of a log that compacts it leaves what a round may have
// looked at: what was dropped in favour of a truncated record would be missing.
func (m *modelRun) truncate() {
	from, term := m.pick(), m.log.w.next.term+uint32(m.next()%2)
	if m.compact {
		if list := m.log.segs.recent(); len(list) > 0 {
			from = max(from, list[len(list)-1].header.base.offset)
		}
	}
	begins := from == int64(len(m.values))
	if !begins {
		r := m.log.Reader(from)
		run, err := r.Next(m.log.End())
		if err != nil || run == nil {
			m.fail("read at %d: %v", from, err)
		}
		begins = core.ParseFrameHeader(run).BaseOffset == from
		_ = r.Close()
	}
	before := m.log.Reader(m.start)
	defer before.Close()
	switch err := m.log.TruncateSuffix(from, term); {
	case !begins && core.CodeOf(err) != core.CodeInvalidRecord || begins && err != nil:
		m.fail("TruncateSuffix(%d, %d) of [%d, %d): %v", from, term, m.start, len(m.values), err)
	case begins:
		m.values, m.keys, m.times, m.terms = m.values[:from], m.keys[:from], m.times[:from], m.terms[:from]
		for _, frames := range []map[int64]core.FrameHeader{m.frames, m.copies} {
			maps.DeleteFunc(frames, func(base int64, _ core.FrameHeader) bool { return base >= from })
		}
	}
	if m.log.End() != int64(len(m.values)) || begins && m.log.w.next.term != term {
		m.fail("truncated at %d the log ends at %d, term %d, want %d", from, m.log.End(), m.log.w.next.term, term)
	}
	if _, err := before.Next(m.log.End()); err != nil {
		m.fail("a reader before the truncation at %d: %v", from, err)
	}
}

// compactAll leaves the last segment and does a round, if the log compacts.
func (m *modelRun) compactAll() {
	if !m.compact {
		return
	}
	if err := m.log.Roll(); err != nil {
		m.fail("Roll: %v", err)
	}
	syncNow(m.log)
	drainJanitor(m.store)
	m.log.compact()
	if m.log.compaction.failed.Load() {
		m.fail("a round met damage")
	}
	m.readAll()
}
