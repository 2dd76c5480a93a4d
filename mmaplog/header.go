package mmaplog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"

	"github.com/leatbus/leat/core"
)

const (
	headerSize     = 4096
	segmentMagic   = "LEATSEGM"
	segmentVersion = 1
	// knownFeatures are the incompatible features this build reads; a segment with others is refused.
	knownFeatures = featureGap

	// featureGap: the segment begins behind a gap.
	featureGap = uint32(1)

	// featureProduced is a compatible feature, which a build that does not know it may ignore.
	featureProduced = uint32(1)
	// featureRecycled is another one.
	featureRecycled = uint32(2)
	// featureCompacted is another one: the header tells up to where the segment is clean.
	featureCompacted = uint32(4)

	indexEntrySize = 16       // reserved at the end of a segment: one per indexEvery bytes,
	indexEvery     = 16 << 10 // then
	footerSize     = 512      // and all that rounded up to
	pageSize       = 4096
)

// segmentHeader is the first page of a segment file. docs/format.md has the layout.
type segmentHeader struct {
	topic      uint64 // log id: topic and partition
	partition  int32
	id         uint64 // of this segment, never used again; seeds the header checksums of its frames
	previousID uint64 // of the segment before; 0 in the first segment of a log
	ordinal    uint64 // rises from segment to segment, may skip
	base       segmentBase
	size       int64 // of the file
	dataEnd    int64 // frames lie in [4096, dataEnd)
	created    int64 // append time: no frame in it is older
	produced   bool  // segments before it, or gone, may hold frames of producers
	compacted  bool  // what was superseded is removed; the rest of the file takes no room
	recycled   bool  // the file was an earlier segment: what is behind the last frame means nothing
	durable    mark  // what was known durable when the segment was started
	gap        bool  // no record has the offsets [gapFrom, base.offset)
	gapFrom    int64
}

// segmentBase is the state of the log where a segment starts.
type segmentBase struct {
	offset  int64
	index   uint64 // of the segment's first frame
	term    uint32
	prevCRC uint32 // payload checksum of the frame before
}

// mark is a place in the log: everything before end, which is up to and with frame index.
type mark struct {
	end   int64
	index uint64
}

// classDataEnd is where the room for index and footer starts in a segment file of size bytes.
func classDataEnd(size int64) int64 {
	return size - alignPage(size/indexEvery*indexEntrySize+footerSize)
}

func alignPage(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// classFor is the smallest size of a segment, a power of two from want on, whose frames can take
// need bytes.
func classFor(want, need int64) int64 {
	size := want
	for classDataEnd(size)-headerSize < need {
		size *= 2
	}
	return size
}

// features gives the compatible features; setFeatures takes those it knows.
func (h *segmentHeader) features() uint32 {
	features := uint32(0)
	if h.produced {
		features |= featureProduced
	}
	if h.recycled {
		features |= featureRecycled
	}
	if h.compacted {
		features |= featureCompacted
	}
	return features
}

func (h *segmentHeader) setFeatures(features uint32) {
	h.produced, h.recycled = features&featureProduced != 0, features&featureRecycled != 0
	h.compacted = features&featureCompacted != 0
}

// encode writes the header into page, headerSize zero bytes.
func (h *segmentHeader) encode(page []byte) {
	le := binary.LittleEndian
	copy(page, segmentMagic)
	le.PutUint32(page[8:], segmentVersion)
	le.PutUint32(page[20:], h.features())
	le.PutUint64(page[24:], h.topic)
	le.PutUint32(page[32:], uint32(h.partition))
	le.PutUint32(page[36:], h.base.term)
	le.PutUint64(page[40:], h.id)
	le.PutUint64(page[48:], h.previousID)
	le.PutUint64(page[56:], h.ordinal)
	le.PutUint64(page[64:], uint64(h.base.offset))
	le.PutUint64(page[72:], h.base.index)
	le.PutUint32(page[80:], h.base.prevCRC)
	le.PutUint64(page[88:], uint64(h.size))
	le.PutUint64(page[96:], uint64(h.dataEnd))
	le.PutUint64(page[104:], uint64(h.created))
	le.PutUint64(page[112:], uint64(h.durable.end))
	le.PutUint64(page[120:], h.durable.index)
	if h.gap {
		le.PutUint32(page[16:], featureGap)
		le.PutUint64(page[128:], uint64(h.gapFrom))
	}
	le.PutUint32(page[12:], headerPageCRC(page))
}

// follows reports whether a segment with this header continues the log at s.
func (h *segmentHeader) follows(s *logState) bool {
	return h.from() == s.offset && h.base.index == s.index && h.base.prevCRC == s.prevCRC
}

// from is where the frames before the segment end.
func (h *segmentHeader) from() int64 {
	if h.gap {
		return h.gapFrom
	}
	return h.base.offset
}

func headerPageCRC(page []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(page[:12], table), table, page[16:headerSize])
}

// decodeSegmentHeader reads and checks a header page. Damage is CodeCorrupt; a version or feature of
// a later build is CodeVersionTooNew.
func decodeSegmentHeader(page []byte) (segmentHeader, error) {
	if len(page) < headerSize {
		return segmentHeader{}, corruptHeader("%d bytes, a header page has %d", len(page), headerSize)
	}
	le := binary.LittleEndian
	if string(page[:8]) != segmentMagic {
		return segmentHeader{}, corruptHeader("magic %q, want %q", page[:8], segmentMagic)
	}
	if got, want := headerPageCRC(page), le.Uint32(page[12:]); got != want {
		return segmentHeader{}, corruptHeader("checksum %08x, computed %08x", want, got)
	}
	if v, f := le.Uint32(page[8:]), le.Uint32(page[16:]); v > segmentVersion || f&^knownFeatures != 0 {
		return segmentHeader{}, core.Errorf(core.CodeVersionTooNew, "read segment header",
			"version %d with features %#x, this build reads version %d with %#x", v, f, segmentVersion, knownFeatures)
	}
	h := segmentHeader{
		topic: le.Uint64(page[24:]), partition: int32(le.Uint32(page[32:])),
		id: le.Uint64(page[40:]), previousID: le.Uint64(page[48:]), ordinal: le.Uint64(page[56:]),
		base: segmentBase{
			offset: int64(le.Uint64(page[64:])), index: le.Uint64(page[72:]),
			term: le.Uint32(page[36:]), prevCRC: le.Uint32(page[80:]),
		},
		size: int64(le.Uint64(page[88:])), dataEnd: int64(le.Uint64(page[96:])),
		created: int64(le.Uint64(page[104:])),
		durable: mark{end: int64(le.Uint64(page[112:])), index: le.Uint64(page[120:])},
	}
	h.setFeatures(le.Uint32(page[20:]))
	if h.gap = le.Uint32(page[16:])&featureGap != 0; h.gap {
		h.gapFrom = int64(le.Uint64(page[128:]))
	}
	return h, h.check()
}

// maxSegmentFile bounds what a header may claim: the class of the largest frame there is.
const maxSegmentFile = int64(1) << 30

func (h *segmentHeader) check() error {
	switch {
	case h.size < core.MinSegmentBytes || h.size > maxSegmentFile || h.size%pageSize != 0:
		return corruptHeader("size %d", h.size)
	case h.dataEnd < headerSize || h.dataEnd > h.size || h.dataEnd%8 != 0:
		return corruptHeader("data end %d of %d bytes", h.dataEnd, h.size)
	case h.base.offset < 0 || h.durable.end < 0 || h.durable.end > h.base.offset:
		return corruptHeader("base offset %d, durable end %d", h.base.offset, h.durable.end)
	case h.gapFrom < 0 || h.gapFrom > h.base.offset:
		return corruptHeader("gap from %d to %d", h.gapFrom, h.base.offset)
	case h.base.index == 0 || h.durable.index >= h.base.index:
		return corruptHeader("base index %d, durable index %d", h.base.index, h.durable.index)
	}
	return nil
}

func corruptHeader(format string, args ...any) error {
	return core.Errorf(core.CodeCorrupt, "read segment header", format, args...)
}

// segmentName is the file name of a segment: 20 decimal digits and 16 hexadecimal ones.
func segmentName(base int64, id uint64) string { return fmt.Sprintf("%020d-%016x.seg", base, id) }

// spareName is the name of a segment that is prepared and not yet in use. Such a file holds no data
// and is removed when the log is opened.
func spareName(id uint64) string { return fmt.Sprintf("spare-%016x.tmp", id) }

const (
	segmentNameLen = 20 + 1 + 16 + len(".seg")
	spareNameLen   = len("spare-") + 16 + len(".tmp")
)

// parseSegmentName gives base offset and segment id of a segment's file name.
func parseSegmentName(name string) (base int64, id uint64, ok bool) {
	if len(name) != segmentNameLen {
		return 0, 0, false
	}
	base, err1 := strconv.ParseInt(name[:20], 10, 64)
	id, err2 := strconv.ParseUint(name[21:37], 16, 64)
	ok = err1 == nil && err2 == nil && base >= 0 && name == segmentName(base, id)
	return base, id, ok
}

func isSpareName(name string) bool {
	if len(name) != spareNameLen {
		return false
	}
	id, err := strconv.ParseUint(name[6:22], 16, 64)
	return err == nil && name == spareName(id)
}
