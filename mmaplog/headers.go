package mmaplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/leatbus/leat/core"
)

// headerChunk is read at once where only headers are wanted: many small frames, or the beginning of one
// that is skipped.
const headerChunk = 16 << 10

// start is the state of the log where the segment begins.
func (s *segment) start() logState {
	b := &s.header.base
	return logState{offset: b.offset, index: b.index, prevCRC: b.prevCRC, time: s.header.created, term: b.term}
}

// behind is the offset where the segment after s begins. Behind its last frame s may hold anything.
func (l *Log) behind(s *segment) int64 {
	list := l.segs.recent()
	for i := len(list) - 1; i > 0; i-- {
		if list[i-1] == s {
			return list[i].header.from()
		}
	}
	return math.MaxInt64
}

// walkFrom hands the headers of all frames from offset on to frame, in order.
func (l *Log) walkFrom(offset int64, frame func(*core.FrameHeader)) error {
	list := l.segs.from(offset)
	list = list[findSegment(list, offset):]
	at := list[0].start()
	for i, s := range list {
		if from := s.start(); i > 0 && !s.header.follows(&at) {
			return core.Errorf(core.CodeCorrupt, "read "+l.name(), "segment %s begins at offset %d, frame %d; "+
				"the frames before end at %d, %d", s.path, from.offset, from.index, at.offset, at.index)
		}
		at.offset = s.header.base.offset // behind a gap
		place := checkpoint{pos: headerSize, at: at}
		err := l.walkHeaders(s, &place, func(h *core.FrameHeader) bool {
			if h.BaseOffset >= offset {
				frame(h)
			}
			return true
		})
		if err != nil {
			return err
		}
		at = place.at
	}
	if at.offset != l.End() {
		return core.Errorf(core.CodeCorrupt, "read "+l.name(), "frames end at offset %d, the log at %d",
			at.offset, l.End())
	}
	return nil
}

// walkHeaders hands the headers of the segment's frames from at on to more until that says stop, and moves
// at behind each frame it said yes to. Payloads are not read. The frames are checked as recovery checks them,
// but for their payloads. Errors: CodeCorrupt with segment and position, CodeIO.
func (l *Log) walkHeaders(s *segment, at *checkpoint, more func(*core.FrameHeader) bool) error {
	f, err := l.store.fs.Open(s.path, ReadOnly)
	if err != nil {
		return ioError("read "+l.name(), err)
	}
	defer f.Close()
	buf := &scanBuf{}
	buf.reset(f, s.published.Load())
	buf.chunk = headerChunk
	behind := l.behind(s)
	for at.at.offset < behind {
		if at.pos+core.FrameHeaderSize > buf.end {
			l.overLostEnd(s, at, behind)
			return nil
		}
		head, err := buf.view(at.pos, core.FrameHeaderSize)
		if err != nil {
			return ioError("read "+l.name(), err)
		}
		if binary.LittleEndian.Uint32(head) == 0 {
			if l.overLostEnd(s, at, behind) {
				continue
			}
			return nil
		}
		h, err := core.DecodeFrameHeader(head, s.seed)
		next := at.at
		if err == nil {
			err = next.accept(&h)
		}
		if errors.Is(err, core.ErrVersionTooNew) {
			return err
		}
		if err != nil && l.overHole(s, at) {
			continue
		}
		if err != nil {
			return core.NewError(core.CodeCorrupt, "read "+l.name(),
				fmt.Errorf("segment %s, position %d: %w", s.path, at.pos, err))
		}
		if h.Type() != core.FrameFiller && !more(&h) {
			return nil
		}
		at.at, at.pos = next, at.pos+h.Size()
	}
	return nil
}

// overLostEnd is overHole where the segment seems to end before the next one begins.
func (l *Log) overLostEnd(s *segment, at *checkpoint, behind int64) bool {
	return behind != math.MaxInt64 && l.overHole(s, at)
}
