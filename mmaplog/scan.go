package mmaplog

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/leatbus/leat/core"
)

// scanBuf is a window onto a file, read by system calls: recovery never touches a map. The bytes
// behind the file's end read as zero.
type scanBuf struct {
	f     File
	end   int64 // nothing is read from here on
	chunk int64 // read at once
	buf   []byte
	at    int64 // buf holds [at, at+n)
	n     int64

	sparse bool  // nobody writes to the file meanwhile: what it tells of holes stays true
	asked  int64 // where it was asked: [asked, lo) is zeros, [lo, hi) may be something else
	lo, hi int64
}

const scanChunk = 1 << 20

// scanBufs lends windows: a node that opens a thousand logs reads them through a few.
var scanBufs = sync.Pool{New: func() any { return &scanBuf{sparse: true} }}

// reset starts at a file whose interesting part ends at end.
func (b *scanBuf) reset(f File, end int64) {
	b.f, b.end, b.chunk, b.at, b.n = f, end, scanChunk, 0, 0
	b.asked, b.lo, b.hi = 0, 0, 0
}

// view gives the bytes [pos, pos+size), which lie before b.end, until the next call.
func (b *scanBuf) view(pos, size int64) ([]byte, error) {
	if pos < b.at || pos+size > b.at+b.n {
		if err := b.load(pos, size); err != nil {
			return nil, err
		}
	}
	return b.buf[pos-b.at:][:size:size], nil
}

func (b *scanBuf) load(pos, size int64) error {
	want := min(max(size, b.chunk), b.end-pos)
	lo, hi, err := b.data(pos)
	if err != nil {
		return err
	}
	read := int64(0)
	if lo < pos+want {
		want = max(size, min(want, hi-pos))
		read = want
	}
	if int64(len(b.buf)) < want {
		b.buf = make([]byte, want)
	}
	n, err := b.f.ReadAt(b.buf[:read], pos)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	clear(b.buf[n:want])
	b.at, b.n = pos, want
	return nil
}

// frameAt gives the frame at pos if it is whole and undamaged: the header decoded, the payload
// compared with its checksum. The error is CodeCorrupt, CodeVersionTooNew or one of reading.
func (b *scanBuf) frameAt(pos int64, seed uint32) (core.FrameHeader, error) {
	if pos+core.FrameHeaderSize > b.end {
		return core.FrameHeader{}, errNoFrame
	}
	head, err := b.view(pos, core.FrameHeaderSize)
	if err != nil {
		return core.FrameHeader{}, err
	}
	if binary.LittleEndian.Uint32(head) == 0 {
		return core.FrameHeader{}, errNoFrame
	}
	h, err := core.DecodeFrameHeader(head, seed)
	if err != nil {
		return h, err
	}
	if pos+h.Size() > b.end {
		return h, core.Errorf(core.CodeCorrupt, "read frame", "%d bytes, %d left", h.Length, b.end-pos)
	}
	whole, err := b.view(pos, h.Size())
	if err != nil {
		return h, err
	}
	if err := h.CheckPayload(whole[core.FrameHeaderSize:h.Length]); err != nil {
		return h, err
	}
	if !allZero(whole[h.Length:]) {
		return h, core.Errorf(core.CodeCorrupt, "read frame", "pad bytes are not zero")
	}
	return h, nil
}

// errNoFrame is answered where the length word is 0: the end, or a hole.
var errNoFrame = errors.New("no frame here")

// unreadable reports whether err says that the disk, not the content, is the problem.
func unreadable(err error) bool {
	return err != nil && !errors.Is(err, errNoFrame) && !errors.Is(err, core.ErrCorrupt) &&
		!errors.Is(err, core.ErrVersionTooNew)
}

func allZero(p []byte) bool {
	for len(p) >= 8 {
		if binary.LittleEndian.Uint64(p) != 0 {
			return false
		}
		p = p[8:]
	}
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}

// knownDurable is the index of the last frame that was durable when h was written, 0 if h does not
// tell because the distance did not fit.
func knownDurable(h *core.FrameHeader) uint64 {
	if h.DurableLag == 1<<16-1 || h.Index < 1+uint64(h.DurableLag) {
		return 0
	}
	return h.Index - 1 - uint64(h.DurableLag)
}

// nextFrame finds a good frame of this segment, at pos or behind, that is not before next and has an offset
// below limit. Without one it gives b.end.
func (b *scanBuf) nextFrame(pos int64, seed uint32, next *logState, limit int64) (int64, *core.FrameHeader,
	error) {
	for ; ; pos += 8 {
		var err error
		if pos, err = b.nextHeader(pos, seed, next.index); err != nil || pos >= b.end {
			return pos, nil, err
		}
		h, err := b.frameAt(pos, seed)
		if unreadable(err) {
			return 0, nil, err
		}
		if err == nil && h.Type() != core.FrameFiller && h.BaseOffset >= next.offset &&
			h.BaseOffset < limit && h.Time >= next.time && h.Term >= next.term {
			return pos, &h, nil
		}
	}
}
