package node

import (
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// leaves reports whether readers of the topic are not given a record, because its time to live is over, and
// counts it. It looks at the clock only where there is a time to live.
func (t *topic) leaves(r *core.Record, appended int64, c clock.Clock) bool {
	ttl := t.changed.Load().TTL
	if ttl == 0 && r.TTL == 0 || !r.Expired(appended, c.Now(), ttl) {
		return false
	}
	t.expired.Add(1)
	return true
}

// pick gives a run of the log as it is sent: in place of records that are left out are stubs, as compaction
// leaves them, so that offsets stay. Runs of which nothing is left out are not copied. from is the offset
// that is wanted first.
func (s *sender) pick(c *sendCursor, run []byte, from int64) []byte {
	if c.filter != nil {
		return s.thin(c, run, from)
	}
	p := c.part
	if cap(s.picked) > sendKept {
		s.picked = nil
	}
	s.picked = s.picked[:0]
	sent := 0 // run[:sent] is in picked, if anything is
	for at := 0; at < len(run); {
		h := core.ParseFrameHeader(run[at:])
		frame := run[at : at+int(h.Size())]
		if p.topic.mayLeave(&h, frame) {
			before := len(s.picked)
			s.picked = append(s.picked, run[sent:at]...)
			if s.pickFrame(p, &h, frame) {
				sent = at + len(frame)
			} else {
				s.picked = s.picked[:before]
			}
		}
		at += len(frame)
	}
	if sent == 0 {
		return run
	}
	s.picked = append(s.picked, run[sent:]...)
	return s.picked
}

// mayLeave reports whether a frame may have records that are left out.
func (t *topic) mayLeave(h *core.FrameHeader, frame []byte) bool {
	if h.Type() != core.FrameData {
		return false
	}
	return t.changed.Load().TTL != 0 || core.RecordsFlags(frame[core.FrameHeaderSize:h.Length])&core.FlagTTL != 0
}

// pickFrame appends a frame without what is left out. If that is nothing, or a record does not decode, it
// reports false, and what it appended means nothing.
func (s *sender) pickFrame(p *partition, h *core.FrameHeader, frame []byte) bool {
	begin, left := len(s.picked), false
	s.picked = append(s.picked, frame[:core.FrameHeaderSize]...)
	for rest := frame[core.FrameHeaderSize:h.Length]; len(rest) > 0; {
		r, n, err := core.DecodeRecord(rest)
		if err != nil {
			return false // the reader finds it too, and tells
		}
		if !r.Removed() && p.topic.leaves(&r, h.Time, p.shard.clock) {
			left = true
			s.picked = append(s.picked, make([]byte, core.RecordHeaderSize)...)
			core.PutRemoved(s.picked[len(s.picked)-core.RecordHeaderSize:], r.DeltaTime)
		} else {
			s.picked = append(s.picked, rest[:n]...)
		}
		rest = rest[n:]
	}
	picked := *h
	payload := s.picked[begin+core.FrameHeaderSize:]
	picked.Length, picked.PayloadCRC = uint32(core.FrameHeaderSize+len(payload)), core.Checksum(payload)
	picked.Encode(s.picked[begin:], 0)
	return left
}
