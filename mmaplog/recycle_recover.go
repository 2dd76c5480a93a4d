package mmaplog

import (
	"encoding/binary"
	"errors"

	"github.com/leatbus/leat/core"
)

// endMark is the position behind the zeros that make pos the end of a segment: a length word, or all that is
// left where there is no room for a frame.
func endMark(pos, dataEnd int64) int64 {
	if dataEnd-pos >= core.FrameHeaderSize {
		return pos + 8
	}
	return dataEnd
}

// explainRecycled is explain for the file of an earlier segment. What is behind pos means something only
// where it is a frame of this segment, whole or not; zeroTo is the position behind the last of them.
func (r *recovery) explainRecycled(s *segmentFile, pos int64) error {
	mark := endMark(pos, s.header.dataEnd)
	head, err := r.buf.view(pos, mark-pos)
	if err != nil {
		return err
	}
	s.markLost = !allZero(head)
	s.zeroTo, err = r.buf.headersEnd(pos, core.HeaderSeed(s.header.id), &r.state)
	return err
}

// headersEnd searches [from, b.end) for headers of frames of this segment younger than next and gives the
// position behind the last such frame, whether its payload is right or not; from if there is none.
func (b *scanBuf) headersEnd(from int64, seed uint32, next *logState) (int64, error) {
	end := from
	for pos := from; pos+core.FrameHeaderSize <= b.end; pos += 8 {
		head, err := b.view(pos, core.FrameHeaderSize)
		if err != nil {
			return 0, err
		}
		if binary.LittleEndian.Uint32(head) < core.FrameHeaderSize ||
			binary.LittleEndian.Uint64(head[8:]) < next.index {
			continue
		}
		h, err := core.DecodeFrameHeader(head, seed)
		if errors.Is(err, core.ErrCorrupt) {
			continue
		}
		if err != nil {
			return 0, err
		}
		end = max(end, min(pos+h.Size(), b.end))
	}
	return end, nil
}

// markEnd stores the zeros behind the last accepted frame where a power cut took them and an earlier life of
// the file shows instead. (Segments with a successor end where that begins.)
func (r *recovery) markEnd(s *segmentFile) error {
	if !s.markLost {
		return nil
	}
	f, err := r.log.store.fs.Open(s.path, ReadWrite)
	if err != nil {
		return err
	}
	return errors.Join(writeZeros(f, s.end, endMark(s.end, s.header.dataEnd)), f.Close())
}
