package wire

import (
	"encoding/binary"

	"github.com/leatbus/leat/core"
)

// Sizes of the repeated entries.
const (
	AckEntrySize   = 32
	AckedEntrySize = 16
	assignSize     = 8
)

// AckDuplicate says that the records were in the log already; offset and time are the original's.
const AckDuplicate uint16 = 1

// AckEntry answers one PRODUCE frame. The layout is
//
//	0 partition u16 │ 2 code u16 │ 4 records u16 │ 6 flags u16 │ 8 baseSeq i32 │ 12 epoch i16 │ 14 node u16
//	16 offset i64 │ 24 time i64
type AckEntry struct {
	Partition uint16
	Code      core.Code // 0: stored at the level of the stream
	Records   uint16
	Flags     uint16
	BaseSeq   int32
	Epoch     int16
	Node      uint16 // with core.CodeNotLeader: who has the partition, 0 if unknown
	Offset    int64  // of the first record; −1 with a code
	Time      int64  // append time, nanoseconds since 1970
}

// Append appends the entry to dst.
func (e *AckEntry) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(e.Partition)|uint64(e.Code)<<16|uint64(e.Records)<<32|uint64(e.Flags)<<48)
	dst = le.AppendUint64(dst, uint64(uint32(e.BaseSeq))|uint64(uint16(e.Epoch))<<32|uint64(e.Node)<<48)
	dst = le.AppendUint64(dst, uint64(e.Offset))
	return le.AppendUint64(dst, uint64(e.Time))
}

// DecodeAcks checks a payload of AckEntry; At reads from it then.
func DecodeAcks(payload []byte) (AckList, error) {
	if len(payload) == 0 || len(payload)%AckEntrySize != 0 {
		return nil, Errorf("ACKS of %d bytes, want a multiple of %d", len(payload), AckEntrySize)
	}
	return AckList(payload), nil
}

// AckList is a checked payload of AckEntry.
type AckList []byte

// Len is the number of entries.
func (l AckList) Len() int { return len(l) / AckEntrySize }

// At gives entry i.
func (l AckList) At(i int) AckEntry {
	src := l[i*AckEntrySize:][:AckEntrySize]
	le := binary.LittleEndian
	first, second := le.Uint64(src), le.Uint64(src[8:])
	return AckEntry{
		Partition: uint16(first), Code: core.Code(first >> 16), Records: uint16(first >> 32),
		Flags: uint16(first >> 48), BaseSeq: int32(uint32(second)), Epoch: int16(uint16(second >> 32)),
		Node: uint16(second >> 48), Offset: int64(le.Uint64(src[16:])), Time: int64(le.Uint64(src[24:])),
	}
}

// AckedEntry says that a member is done with a partition below an offset. The layout is
//
//	0 partition u32 │ 4 generation u32 │ 8 offset i64
type AckedEntry struct {
	Partition  int32
	Generation int32
	Offset     int64
}

// Append appends the entry to dst.
func (e *AckedEntry) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(uint32(e.Partition))|uint64(uint32(e.Generation))<<32)
	return binary.LittleEndian.AppendUint64(dst, uint64(e.Offset))
}

// DecodeAcked reads a payload of AckedEntry, appending to into. An empty payload is right.
func DecodeAcked(payload []byte, into []AckedEntry) ([]AckedEntry, error) {
	if len(payload)%AckedEntrySize != 0 {
		return into, Errorf("acks of %d bytes, want a multiple of %d", len(payload), AckedEntrySize)
	}
	for ; len(payload) > 0; payload = payload[AckedEntrySize:] {
		first := binary.LittleEndian.Uint64(payload)
		e := AckedEntry{Partition: int32(uint32(first)), Generation: int32(uint32(first >> 32)),
			Offset: int64(binary.LittleEndian.Uint64(payload[8:]))}
		if e.Partition < 0 || e.Partition >= core.MaxPartitions || e.Generation < 0 || e.Offset < 0 {
			return into, Errorf("ack of partition %d, generation %d, offset %d", e.Partition, e.Generation, e.Offset)
		}
		into = append(into, e)
	}
	return into, nil
}

// AppendAssign appends the payload of an ASSIGN frame.
func AppendAssign(dst []byte, generation int32) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(uint32(generation)))
}

// DecodeAssign reads the payload of an ASSIGN frame.
func DecodeAssign(payload []byte) (generation int32, err error) {
	if len(payload) != assignSize {
		return 0, Errorf("ASSIGN of %d bytes, want %d", len(payload), assignSize)
	}
	generation = int32(binary.LittleEndian.Uint32(payload))
	if generation < 0 {
		return 0, Errorf("ASSIGN of generation %d", generation)
	}
	return generation, nil
}
