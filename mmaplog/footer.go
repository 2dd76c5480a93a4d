package mmaplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/bits"

	"github.com/leatbus/leat/core"
)

// Index and footer lie in the room behind a segment's dataEnd. docs/format.md has the layout.
const (
	footerMagic   = "LEATFOOT"
	footerVersion = 1
	maxTimeShift  = 33
)

// segmentFooter tells how a segment that was left ended. It is a cache: everything in it follows from the
// frames, and one that does not check is as good as none.
type segmentFooter struct {
	end     int64    // position behind the last frame
	last    logState // what the frame behind the last one continues; its time is that of the last one
	created int64    // of the segment: no frame is older
	entries int
	sum     uint32 // of the index
	shift   uint   // times of the index are in units of 1 << shift ns
}

// appendTail appends the bytes from dataEnd to the end of the file: index, zeros, footer.
func appendTail(dst []byte, h *segmentHeader, f *segmentFooter, list []indexEntry) []byte {
	le := binary.LittleEndian
	start := len(dst)
	f.entries = len(list)
	f.shift = timeShift(uint64(f.last.time) - uint64(f.created))
	for i := range list {
		e := &list[i]
		dst = le.AppendUint32(dst, e.offset)
		dst = le.AppendUint32(dst, e.index)
		dst = le.AppendUint32(dst, e.position)
		dst = le.AppendUint32(dst, packTime(e.time, f))
	}
	f.sum = core.Checksum(dst[start:])
	room := int(h.size - h.dataEnd - footerSize)
	dst = append(dst, make([]byte, room-(len(dst)-start)+footerSize)...)
	f.encode(dst[len(dst)-footerSize:], h.id, h.base.index)
	return dst
}

func (f *segmentFooter) encode(b []byte, id, baseIndex uint64) {
	le := binary.LittleEndian
	copy(b, footerMagic)
	le.PutUint32(b[8:], footerVersion)
	le.PutUint64(b[16:], id)
	le.PutUint64(b[24:], uint64(f.end))
	le.PutUint64(b[32:], uint64(f.last.offset))
	le.PutUint64(b[40:], f.last.index)
	le.PutUint64(b[48:], uint64(f.created))
	le.PutUint64(b[56:], uint64(f.last.time))
	le.PutUint64(b[64:], f.last.index-baseIndex)
	le.PutUint32(b[72:], f.last.prevCRC)
	le.PutUint32(b[76:], uint32(f.entries))
	le.PutUint32(b[80:], f.sum)
	b[84] = byte(f.shift)
	le.PutUint32(b[12:], footerCRC(b))
}

func footerCRC(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:12], table), table, b[16:footerSize])
}

// timeShift is the smallest unit in which span fits 32 bits.
func timeShift(span uint64) uint {
	return uint(max(0, bits.Len64(span)-31)) // one bit is for rounding up
}

// packTime rounds up: what is before a place may only seem younger than it is.
func packTime(t int64, f *segmentFooter) uint32 {
	if t <= f.created {
		return 0
	}
	span := uint64(t) - uint64(f.created)
	return uint32(min((span+1<<f.shift-1)>>f.shift, math.MaxUint32))
}

// decodeFooter reads and checks the last bytes of a segment file.
func decodeFooter(b []byte, h *segmentHeader) (segmentFooter, error) {
	le := binary.LittleEndian
	switch {
	case len(b) != footerSize || string(b[:8]) != footerMagic:
		return segmentFooter{}, errNoFooter
	case footerCRC(b) != le.Uint32(b[12:]):
		return segmentFooter{}, fmt.Errorf("footer checksum %08x, computed %08x", le.Uint32(b[12:]), footerCRC(b))
	case le.Uint32(b[8:]) != footerVersion:
		return segmentFooter{}, fmt.Errorf("footer version %d, this build reads %d", le.Uint32(b[8:]),
			footerVersion)
	case le.Uint64(b[16:]) != h.id:
		return segmentFooter{}, errNoFooter // of another segment, which had this file before
	}
	f := segmentFooter{
		end: int64(le.Uint64(b[24:])),
		last: logState{
			offset: int64(le.Uint64(b[32:])), index: le.Uint64(b[40:]),
			time: int64(le.Uint64(b[56:])), prevCRC: le.Uint32(b[72:]),
		},
		created: int64(le.Uint64(b[48:])), entries: int(le.Uint32(b[76:])), sum: le.Uint32(b[80:]),
		shift: uint(b[84]),
	}
	if f.end < headerSize || f.end > h.dataEnd || f.end%8 != 0 || f.last.offset < h.base.offset ||
		f.last.index < h.base.index || f.last.index-h.base.index != le.Uint64(b[64:]) || f.shift > maxTimeShift ||
		int64(f.entries)*indexEntrySize > h.size-h.dataEnd-footerSize {
		return f, fmt.Errorf("footer %+v does not belong to segment %+v", f, *h)
	}
	return f, nil
}

// errNoFooter is answered for a segment that was not completed.
var errNoFooter = errors.New("no footer")

// decodeTail reads index and footer from the bytes between dataEnd and the end of the file.
func decodeTail(src []byte, h *segmentHeader) (*indexBlock, segmentFooter, error) {
	if int64(len(src)) != h.size-h.dataEnd || len(src) < footerSize {
		return nil, segmentFooter{}, errNoFooter
	}
	f, err := decodeFooter(src[len(src)-footerSize:], h)
	if err != nil {
		return nil, f, err
	}
	src = src[:f.entries*indexEntrySize]
	if got := core.Checksum(src); got != f.sum {
		return nil, f, fmt.Errorf("index checksum %08x, computed %08x", f.sum, got)
	}
	le := binary.LittleEndian
	b := newIndexBlock(f.entries)
	var before indexEntry
	for i := range b.entries {
		s := src[i*indexEntrySize:][:indexEntrySize]
		e := indexEntry{
			offset: le.Uint32(s), index: le.Uint32(s[4:]), position: le.Uint32(s[8:]),
			time: f.created + int64(uint64(le.Uint32(s[12:]))<<f.shift),
		}
		if e.position <= before.position || e.position < headerSize || int64(e.position) > f.end ||
			e.position%8 != 0 || e.offset < before.offset || e.index < before.index || e.time < before.time && i > 0 {
			return nil, f, fmt.Errorf("index entry %d, %+v, after %+v", i, e, before)
		}
		b.entries[i], before = e, e
	}
	b.n.Store(int64(f.entries))
	b.maxTime, b.known = f.last.time, true
	return b, f, nil
}

// readTail reads index and footer of a segment.
func readTail(f File, h *segmentHeader) (*indexBlock, segmentFooter, error) {
	if h.dataEnd+footerSize > h.size {
		return nil, segmentFooter{}, errNoFooter
	}
	src := make([]byte, h.size-h.dataEnd)
	n, err := f.ReadAt(src, h.dataEnd)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, segmentFooter{}, err
	}
	return decodeTail(src[:n], h)
}
