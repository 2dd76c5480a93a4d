package mmaplog

import (
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
