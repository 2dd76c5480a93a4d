package node

import "github.com/leatbus/leat/core"

// thinner makes what is sent of runs of the log whose records a filter leaves out: frames of those that pass,
// and in between frames without records for the offsets of the others.
//
//	log   │ 1000 . . . . 1005 . │ . . . │ . 1011 . │      . does not pass
//	sent  │1000│ 1001–1004 │1005│  1006–1010  │1011│ 1012
//
// A few that are left out between two that pass are stubs, as compaction leaves them, which takes less.
type thinner struct {
	out    []byte
	at     int // of out, where the frame under way begins; only with header.Records above 0
	header core.FrameHeader
	lo, hi int64 // offsets that were left out and not told yet: [lo, hi)
	gone   int64 // records that were left out since takeGone
}

// stubsBetween is how many records left out are stubs: more take more than two headers.
const stubsBetween = 2 * core.FrameHeaderSize / core.RecordHeaderSize

// thin gives a run as it is sent. It is good until the next call.
func (s *sender) thin(c *sendCursor, run []byte, from int64) []byte {
	t := &s.thinner
	if cap(t.out) > sendKept {
		t.out = nil
	}
	t.out, t.lo, t.hi, t.header.Records = t.out[:0], from, from, 0
	for len(run) > 0 {
		h := core.ParseFrameHeader(run)
		frame := run[:h.Size()]
		before := *t
		if h.Type() != core.FrameData || !t.frame(c, &h, frame, from) {
			*t = before
			t.tell()
			t.out = append(t.out, frame...)
			t.lo, t.hi = h.NextOffset(), h.NextOffset()
		}
		run = run[len(frame):]
	}
	t.tell()
	return t.out
}

// frame takes the records of a frame from an offset on. It reports false if one does not decode: then the
// frame is sent as it is, and its reader tells.
func (t *thinner) frame(c *sendCursor, h *core.FrameHeader, frame []byte, from int64) bool {
	offset := h.BaseOffset
	for rest := frame[core.FrameHeaderSize:h.Length]; len(rest) > 0; offset++ {
		r, n, err := core.DecodeRecord(rest)
		if err != nil {
			return false
		}
		record := rest[:n]
		rest = rest[n:]
		switch {
		case offset < from:
		case r.Removed() || c.part.topic.leaves(&r, h.Time, c.part.shard.clock) ||
			!c.filter.Match(&r, offset, h.Time):
			t.hi = offset + 1
			t.gone++
		default:
			t.give(h, offset, record)
		}
	}
	t.endFrame()
	t.hi = max(t.hi, h.NextOffset())
	return true
}

// give adds a record that passes.
func (t *thinner) give(h *core.FrameHeader, offset int64, record []byte) {
	switch gap := t.hi - t.lo; {
	case t.header.Records == 0 || gap > stubsBetween:
		t.tell()
		t.at, t.header = len(t.out), *h
		t.header.BaseOffset, t.header.Records = offset, 0
		t.out = append(t.out, make([]byte, core.FrameHeaderSize)...)
	default:
		for range gap {
			t.out = append(t.out, make([]byte, core.RecordHeaderSize)...)
			core.PutRemoved(t.out[len(t.out)-core.RecordHeaderSize:], 0)
			t.header.Records++
		}
	}
	t.out = append(t.out, record...)
	t.header.Records++
	t.lo, t.hi = offset+1, offset+1
}

// endFrame completes the frame under way, if there is one.
func (t *thinner) endFrame() {
	if t.header.Records == 0 {
		return
	}
	payload := t.out[t.at+core.FrameHeaderSize:]
	t.header.Length = uint32(core.FrameHeaderSize + len(payload))
	t.header.PayloadCRC = core.Checksum(payload)
	t.header.Encode(t.out[t.at:], 0)
	t.header.Records = 0
}

// tell adds what was left out.
func (t *thinner) tell() {
	t.endFrame()
	for t.lo < t.hi {
		n := min(t.hi-t.lo, 1<<16-1)
		h := core.FrameHeader{Length: core.FrameHeaderSize, BaseOffset: t.lo, Records: uint16(n),
			PayloadCRC: core.Checksum(nil), Attrs: uint8(core.FrameEmpty), Version: core.FrameVersion}
		t.out = append(t.out, make([]byte, core.FrameHeaderSize)...)
		h.Encode(t.out[len(t.out)-core.FrameHeaderSize:], 0)
		t.lo += n
	}
}

// takeGone gives how many records were left out since it was called last.
func (t *thinner) takeGone() int64 {
	n := t.gone
	t.gone = 0
	return n
}
