package wire

import (
	"encoding/binary"
	"math/bits"

	"github.com/leatbus/leat/core"
)

// GrantHead begins the payload of a GRANT, whose records are those of the bits of Grant.Left, in order. A
// node may send the records of one grant in several frames, each with other bits. The layout is
//
//	0 left u64 │ 8 epoch i64 │ 16 slot u32 │ 20 attempt u32 │ 24 checksum u32 │ 28 zero u32
//
// with the CRC32C of what follows. Offset and partition are in the header of the frame.
type GrantHead struct {
	Partition int32
	Grant     core.QueueGrant
	Attempt   int32 // 1 the first time
}

// GrantRun is neighbours of one log frame among the records of a GRANT. The layout is
//
//	0 time i64 │ 8 length u32 │ 12 records u32 │ records in payload format N, each padded to 8
type GrantRun struct {
	Time    int64 // when the log frame was appended, nanoseconds since 1970
	Count   int32
	Records []byte
}

// BeginGrant appends header and head of a GRANT to dst. The runs are appended behind it; EndGrant ends it.
func BeginGrant(dst []byte) []byte { return append(dst, make([]byte, HeaderSize+GrantHeadSize)...) }

// BeginGrantRun appends the beginning of a run.
func BeginGrantRun(dst []byte, time int64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(time))
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
}

// EndGrantRun completes the run that begins at dst[at], with so many records appended since.
func EndGrantRun(dst []byte, at, count int) {
	binary.LittleEndian.PutUint32(dst[at+8:], uint32(len(dst)-at-GrantRunSize))
	binary.LittleEndian.PutUint32(dst[at+12:], uint32(count))
}

// EndGrant completes the frame that begins at dst[at] and gives its header.
func EndGrant(dst []byte, at int, g *GrantHead) Header {
	frame, le := dst[at:], binary.LittleEndian
	h := Header{Type: Grant, Aux: uint16(g.Partition), Arg: uint64(g.Grant.Lo),
		Length: uint32(len(frame) - HeaderSize)}
	h.Put(frame)
	head := frame[HeaderSize:]
	le.PutUint64(head[0:], g.Grant.Left)
	le.PutUint64(head[8:], uint64(g.Grant.Epoch))
	le.PutUint32(head[16:], uint32(g.Grant.Slot))
	le.PutUint32(head[20:], uint32(g.Attempt))
	le.PutUint32(head[24:], core.Checksum(head[GrantHeadSize:]))
	le.PutUint32(head[28:], 0)
	return h
}

// DecodeGrant reads the payload of a GRANT and checks its runs, which NextGrantRun gives then, from runs on.
// What does not fit its checksum is core.CodeCorrupt. The records themselves are not looked at.
func DecodeGrant(h *Header, payload []byte) (g GrantHead, runs []byte, err error) {
	if len(payload) < GrantHeadSize {
		return g, nil, Errorf("GRANT of %d bytes", len(payload))
	}
	le := binary.LittleEndian
	g = GrantHead{Partition: int32(h.Aux), Attempt: int32(le.Uint32(payload[20:])), Grant: core.QueueGrant{
		Lo: int64(h.Arg), Left: le.Uint64(payload), Epoch: int64(le.Uint64(payload[8:])),
		Slot: int32(le.Uint32(payload[16:]))}}
	if err := checkGrant(g.Partition, &g.Grant); err != nil {
		return g, nil, err
	}
	if g.Attempt < 1 || le.Uint32(payload[28:]) != 0 {
		return g, nil, Errorf("GRANT of attempt %d, flags %#x", g.Attempt, le.Uint32(payload[28:]))
	}
	runs = payload[GrantHeadSize:]
	if core.Checksum(runs) != le.Uint32(payload[24:]) {
		return g, nil, core.Errorf(core.CodeCorrupt, "read grant", "partition %d, offset %d: the checksum is wrong",
			g.Partition, g.Grant.Lo)
	}
	count := int64(0)
	for rest := runs; len(rest) > 0; {
		run, n, ok := splitGrantRun(rest)
		if !ok {
			return g, nil, Errorf("GRANT with a wrong run, %d bytes before its end", len(rest))
		}
		count += int64(run.Count)
		rest = rest[n:]
	}
	if count != int64(bits.OnesCount64(g.Grant.Left)) {
		return g, nil, Errorf("GRANT of records %#x has %d", g.Grant.Left, count)
	}
	return g, runs, nil
}

// NextGrantRun takes the first run off what DecodeGrant gave; runs must not be empty.
func NextGrantRun(runs []byte) (run GrantRun, rest []byte) {
	run, n, ok := splitGrantRun(runs)
	if !ok {
		panic("wire: runs that were not checked")
	}
	return run, runs[n:]
}

func splitGrantRun(src []byte) (run GrantRun, n int, ok bool) {
	if len(src) < GrantRunSize {
		return run, 0, false
	}
	le := binary.LittleEndian
	length, count := le.Uint32(src[8:]), le.Uint32(src[12:])
	if length == 0 || length%8 != 0 || uint64(length) > uint64(len(src)-GrantRunSize) || count == 0 ||
		count > 64 {
		return run, 0, false
	}
	n = GrantRunSize + int(length)
	return GrantRun{Time: int64(le.Uint64(src)), Count: int32(count), Records: src[GrantRunSize:n:n]}, n, true
}
