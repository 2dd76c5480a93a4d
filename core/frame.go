package core

import (
	"encoding/binary"
	"fmt"

	"github.com/leatbus/leat/internal/crc32c"
)

// FrameHeaderSize is the fixed header of a frame: one cache line.
const FrameHeaderSize = 64

// FrameVersion is the version byte this build writes and the newest it reads.
const FrameVersion = 1

// FrameType is the kind of a frame, the low four bits of its attrs byte.
type FrameType uint8

// Frame types. Fillers stand outside the chain and have neither index nor records.
const (
	FrameData   FrameType = iota // records in payload format N
	FrameKafka                   // one Kafka RecordBatch v2, verbatim
	FrameConfig                  // a membership change of the replicas
	FrameEmpty                   // no records: marks a new leader epoch
	FrameFiller                  // unused rest of a segment
	frameTypes
)

// FrameHeader is the decoded header of a frame: the unit of append, checksum, replication and
// network send. docs/format.md has the layout; all integers are little endian.
type FrameHeader struct {
	Length        uint32 // header and payload in bytes, padding left out; 0 means nothing here
	HeaderCRC     uint32 // CRC32C of the rest of the header, seeded with the segment id
	Index         uint64 // ordinal of the frame in its log, from 1; fillers have 0
	BaseOffset    int64  // offset of the first record
	Time          int64  // append time, nanoseconds since 1970, never falling within a log
	ProducerID    int64  // 0 for anonymous producers in the process
	Term          uint32 // leader epoch
	PrevCRC       uint32 // PayloadCRC of the frame before: the chain
	PayloadCRC    uint32 // CRC32C of the payload without padding
	BaseSeq       int32  // producer sequence of the first record
	ProducerEpoch int16
	Records       uint16
	DurableLag    uint16 // frames between this one and the last known synced, saturating; local
	Attrs         uint8  // type in bits 0 to 3, compression in bits 4 to 6, AttrIDs
	Version       uint8
}

// Type is the frame's kind.
func (h *FrameHeader) Type() FrameType { return FrameType(h.Attrs & attrsTypeMask) }

const attrsTypeMask = 0x0f

// AttrIDs, in attrs, says that records of the frame have ids, so that a node which opens the log finds them
// without reading everything.
const AttrIDs = 1 << 7

// KeepsState reports whether a node derives state from the frame that it saves: of a producer, or of ids.
func (h *FrameHeader) KeepsState() bool { return h.ProducerID != 0 || h.Attrs&AttrIDs != 0 }

// PayloadBytes is the length of the payload without padding.
func (h *FrameHeader) PayloadBytes() int { return int(h.Length) - FrameHeaderSize }

// NextOffset is the offset after the frame's last record.
func (h *FrameHeader) NextOffset() int64 { return h.BaseOffset + int64(h.Records) }

// Size is what the frame takes in a segment: its length and the padding to a multiple of 8.
func (h *FrameHeader) Size() int64 { return int64(Align8(int(h.Length))) }

// Align8 rounds n up to a multiple of 8.
func Align8(n int) int { return (n + 7) &^ 7 }

// Checksum is CRC32C (Castagnoli), the checksum of every format of Leat.
func Checksum(p []byte) uint32 { return crc32c.Checksum(p) }

// HeaderSeed is the state header checksums of a segment start from. It is derived from the segment
// id, so that a stale frame of a recycled segment never passes.
func HeaderSeed(segmentID uint64) uint32 {
	var id [8]byte
	binary.LittleEndian.PutUint64(id[:], segmentID)
	return crc32c.Checksum(id[:])
}

// Words are the fields of the header as they are stored, without its checksum.
func (h *FrameHeader) Words() crc32c.Words {
	return crc32c.Words{
		uint64(h.Length),
		h.Index,
		uint64(h.BaseOffset),
		uint64(h.Time),
		uint64(h.ProducerID),
		uint64(h.Term) | uint64(h.PrevCRC)<<32,
		uint64(h.PayloadCRC) | uint64(uint32(h.BaseSeq))<<32,
		uint64(uint16(h.ProducerEpoch)) | uint64(h.Records)<<16 | uint64(h.DurableLag)<<32 |
			uint64(h.Attrs)<<48 | uint64(h.Version)<<56,
	}
}

// Encode writes the header into dst, at least 64 bytes, and sets h.HeaderCRC. The header of a
// frame that is being appended is encoded beside the log and published by its length word.
func (h *FrameHeader) Encode(dst []byte, seed uint32) {
	dst = dst[:FrameHeaderSize]
	w := h.Words()
	w.Seal(seed)
	h.HeaderCRC = uint32(w[0] >> 32)
	for i, word := range w {
		binary.LittleEndian.PutUint64(dst[8*i:], word)
	}
}

// headerChecksum covers the length word and everything after the checksum itself.
func headerChecksum(header []byte, seed uint32) uint32 {
	return crc32c.Header(seed, (*[FrameHeaderSize]byte)(header))
}

// ParseFrameHeader reads a header without judging it: fields of damaged bytes are garbage. Use
// DecodeFrameHeader for bytes that were not checked before. src holds at least 64 bytes.
func ParseFrameHeader(src []byte) FrameHeader {
	_ = src[FrameHeaderSize-1]
	le := binary.LittleEndian
	return FrameHeader{
		Length:        le.Uint32(src[0:]),
		HeaderCRC:     le.Uint32(src[4:]),
		Index:         le.Uint64(src[8:]),
		BaseOffset:    int64(le.Uint64(src[16:])),
		Time:          int64(le.Uint64(src[24:])),
		ProducerID:    int64(le.Uint64(src[32:])),
		Term:          le.Uint32(src[40:]),
		PrevCRC:       le.Uint32(src[44:]),
		PayloadCRC:    le.Uint32(src[48:]),
		BaseSeq:       int32(le.Uint32(src[52:])),
		ProducerEpoch: int16(le.Uint16(src[56:])),
		Records:       le.Uint16(src[58:]),
		DurableLag:    le.Uint16(src[60:]),
		Attrs:         src[62],
		Version:       src[63],
	}
}

// DecodeFrameHeader reads and checks a header: its checksum under seed, its version and its bounds.
// It does not look at the payload. A frame of a newer version is CodeVersionTooNew, everything else
// wrong is CodeCorrupt.
func DecodeFrameHeader(src []byte, seed uint32) (FrameHeader, error) {
	if len(src) < FrameHeaderSize {
		return FrameHeader{}, corruptFrame("%d bytes, a header has %d", len(src), FrameHeaderSize)
	}
	h := ParseFrameHeader(src)
	longest := uint32(FrameHeaderSize + MaxBatchBytes + MaxRecordBytes)
	if h.Type() == FrameFiller {
		longest = MaxSegmentBytes
	}
	switch {
	case h.Length < FrameHeaderSize || h.Length > longest:
		return h, corruptFrame("length %d", h.Length)
	case headerChecksum(src, seed) != h.HeaderCRC:
		return h, corruptFrame("header checksum %08x, computed %08x", h.HeaderCRC, headerChecksum(src, seed))
	case h.Version > FrameVersion:
		return h, Errorf(CodeVersionTooNew, "read frame", "version %d, this build reads up to %d",
			h.Version, FrameVersion)
	case h.Version != 0 && h.Attrs&^(attrsTypeMask|AttrIDs) != 0:
		return h, Errorf(CodeVersionTooNew, "read frame", "attrs %#02x: this build reads no compression", h.Attrs)
	case h.Version == 0 || h.Type() >= frameTypes:
		return h, corruptFrame("version %d, type %d", h.Version, h.Type())
	case h.BaseOffset < 0 || h.BaseOffset > h.NextOffset() || h.Records > MaxBatchRecords:
		return h, corruptFrame("base offset %d, %d records", h.BaseOffset, h.Records)
	}
	return h, nil
}

// IsFrameHeader reports whether the checksum of src, 64 bytes at least, is that of a header under seed.
// DecodeFrameHeader, which says what is wrong, takes many times as long where it is not.
func IsFrameHeader(src []byte, seed uint32) bool {
	return binary.LittleEndian.Uint32(src[4:]) == headerChecksum(src, seed)
}

// CheckPayload compares the payload's checksum with the header's.
func (h *FrameHeader) CheckPayload(payload []byte) error {
	if got := Checksum(payload); got != h.PayloadCRC {
		return corruptFrame("payload checksum %08x, computed %08x, at offset %d", h.PayloadCRC, got, h.BaseOffset)
	}
	return nil
}

func corruptFrame(format string, args ...any) error {
	return NewError(CodeCorrupt, "read frame", fmt.Errorf(format, args...))
}
