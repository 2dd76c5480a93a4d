package mmaplog

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/leatbus/leat/core"
)

// Behind the last frame of a log lies the rest of its segment, up to 64 MiB for each of maybe thousands of
// logs. Recovery looks at every byte of it that may not be zero, but it asks the file system for those.

// data gives the first range at pos or behind that may hold something else than zeros; both ends are behind
// b.end if there is none.
func (b *scanBuf) data(pos int64) (lo, hi int64, err error) {
	if !b.sparse {
		return pos, math.MaxInt64, nil
	}
	if pos < b.asked || pos >= b.hi {
		if b.lo, b.hi, err = b.f.Data(pos); err != nil {
			return 0, 0, err
		}
		b.asked = pos
		if b.lo == b.hi {
			b.lo, b.hi = math.MaxInt64, math.MaxInt64
		}
	}
	return max(pos, b.lo&^7), b.hi, nil
}

// lastNonZero is the position behind the last byte of [from, b.end) that is not zero, or from.
func (b *scanBuf) lastNonZero(from int64) (int64, error) {
	last := from
	for pos := from; ; {
		lo, hi, err := b.data(pos)
		if err != nil {
			return 0, err
		}
		if pos = lo; pos >= b.end {
			return last, nil
		}
		p, err := b.view(pos, min(64<<10, hi-pos, b.end-pos))
		if err != nil {
			return 0, err
		}
		if !allZero(p) {
			i := len(p)
			for p[i-1] == 0 {
				i--
			}
			last = pos + int64(i)
		}
		pos += int64(len(p))
	}
}

// nextHeader searches [pos, b.end) in steps of 8 for the header of a frame of this segment that is not older
// than the frame with the given index, and gives its position, or b.end. Nothing but its checksum was looked
// at.
func (b *scanBuf) nextHeader(pos int64, seed uint32, index uint64) (int64, error) {
	for pos+core.FrameHeaderSize <= b.end {
		if pos < b.at || pos+core.FrameHeaderSize > b.at+b.n {
			lo, _, err := b.data(pos)
			if err != nil {
				return 0, err
			}
			if lo > b.end-core.FrameHeaderSize {
				break
			}
			pos = lo
			if _, err := b.view(pos, core.FrameHeaderSize); err != nil {
				return 0, err
			}
		}
		window := b.buf[pos-b.at : b.n]
		i := findHeader(window, seed, index)
		pos += int64(i)
		if len(window)-i >= core.FrameHeaderSize {
			return pos, nil
		}
	}
	return b.end, nil
}

// findHeader is the index in window of the first header, at a multiple of 8; less than a header is behind it
// if there is none.
func findHeader(window []byte, seed uint32, index uint64) int {
	const most = core.MaxSegmentBytes - core.FrameHeaderSize // of any frame, and of a filler
	i := 0
	for ; i+core.FrameHeaderSize <= len(window); i += 8 {
		head := window[i : i+core.FrameHeaderSize : i+core.FrameHeaderSize]
		if binary.LittleEndian.Uint32(head)-core.FrameHeaderSize > most ||
			binary.LittleEndian.Uint64(head[8:]) < index {
			continue
		}
		if core.IsFrameHeader(head, seed) {
			break
		}
	}
	return i
}

// durableAfter searches [from, b.end) for frames of this segment younger than next and gives the
// highest frame index one of them says was durable when it was written; 0 if none says so. Frames
// that were copied into a payload are older than next and do not count.
func (b *scanBuf) durableAfter(from int64, seed uint32, next *logState) (uint64, error) {
	durable := uint64(0)
	for pos := from; ; {
		var err error
		if pos, err = b.nextHeader(pos, seed, next.index); err != nil || pos >= b.end {
			return durable, err
		}
		h, err := b.frameAt(pos, seed)
		if unreadable(err) {
			return 0, err
		}
		if err != nil {
			pos += 8
			continue
		}
		durable = max(durable, knownDurable(&h))
		pos += h.Size()
	}
}

// headersEnd searches [from, b.end) for headers of frames of this segment younger than next and gives the
// position behind the last such frame, whether its payload is right or not; from if there is none.
func (b *scanBuf) headersEnd(from int64, seed uint32, next *logState) (int64, error) {
	end := from
	for pos := from; ; pos += 8 {
		var err error
		if pos, err = b.nextHeader(pos, seed, next.index); err != nil || pos >= b.end {
			return end, err
		}
		head, err := b.view(pos, core.FrameHeaderSize)
		if err != nil {
			return 0, err
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
}
