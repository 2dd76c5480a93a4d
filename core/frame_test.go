package core

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// sampleHeader has another value in every field.
func sampleHeader() FrameHeader {
	return FrameHeader{
		Length: 100, Index: 0x0102030405060708, BaseOffset: 0x1112131415161718,
		Time: 0x2122232425262728, ProducerID: 0x3132333435363738, Term: 0x41424344,
		PrevCRC: 0x51525354, PayloadCRC: 0x61626364, BaseSeq: 0x71727374,
		ProducerEpoch: 0x0102, Records: 0x0304, DurableLag: 0x0506, Attrs: uint8(FrameKafka), Version: 1,
	}
}

func TestFrameHeaderGolden(t *testing.T) {
	h := sampleHeader()
	buf := make([]byte, FrameHeaderSize)
	h.Encode(buf, HeaderSeed(42))
	goldenHex(t, "frame-v1.hex", buf)
	if got, err := DecodeFrameHeader(buf, HeaderSeed(42)); err != nil || got != h {
		t.Errorf("DecodeFrameHeader = %+v, %v; want %+v", got, err, h)
	}
	if got := ParseFrameHeader(buf); got != h {
		t.Errorf("ParseFrameHeader = %+v, want %+v", got, h)
	}
}

func TestFrameHeaderParts(t *testing.T) {
	h := sampleHeader()
	if h.Type() != FrameKafka || h.PayloadBytes() != 36 || h.Size() != 104 {
		t.Errorf("type %d, payload %d, size %d; want 1, 36, 104", h.Type(), h.PayloadBytes(), h.Size())
	}
	if got := h.NextOffset(); got != h.BaseOffset+0x0304 {
		t.Errorf("NextOffset = %d", got)
	}
	for n, want := range map[int]int{0: 0, 1: 8, 7: 8, 8: 8, 9: 16} {
		if got := Align8(n); got != want {
			t.Errorf("Align8(%d) = %d, want %d", n, got, want)
		}
	}
}

// TestChecksumVector pins the polynomial: the check value of CRC-32C is in RFC 3720 §B.4.
func TestChecksumVector(t *testing.T) {
	if got := Checksum([]byte("123456789")); got != 0xe3069283 {
		t.Errorf("Checksum = %08x, want e3069283", got)
	}
	if got := Checksum(make([]byte, 32)); got != 0x8a9136aa {
		t.Errorf("Checksum of 32 zeros = %08x, want 8a9136aa", got)
	}
}

func TestDecodeFrameHeaderBounds(t *testing.T) {
	longest := uint32(FrameHeaderSize + MaxBatchBytes + MaxRecordBytes)
	tests := []struct {
		what   string
		change func(*FrameHeader)
		want   Code
	}{
		{"as it is", func(*FrameHeader) {}, 0},
		{"no records", func(h *FrameHeader) { h.Records = 0 }, 0},
		{"header only", func(h *FrameHeader) { h.Length = FrameHeaderSize }, 0},
		{"shorter than a header", func(h *FrameHeader) { h.Length = FrameHeaderSize - 1 }, CodeCorrupt},
		{"nothing there", func(h *FrameHeader) { h.Length = 0 }, CodeCorrupt},
		{"longest", func(h *FrameHeader) { h.Length = longest }, 0},
		{"too long", func(h *FrameHeader) { h.Length = longest + 1 }, CodeCorrupt},
		{"filler of a segment", func(h *FrameHeader) {
			h.Attrs, h.Length = uint8(FrameFiller), MaxSegmentBytes
		}, 0},
		{"filler beyond a segment", func(h *FrameHeader) {
			h.Attrs, h.Length = uint8(FrameFiller), MaxSegmentBytes+1
		}, CodeCorrupt},
		{"negative length", func(h *FrameHeader) { h.Length = math.MaxUint32 }, CodeCorrupt},
		{"version 0", func(h *FrameHeader) { h.Version = 0 }, CodeCorrupt},
		{"version 2", func(h *FrameHeader) { h.Version = 2 }, CodeVersionTooNew},
		{"last type", func(h *FrameHeader) { h.Attrs = uint8(frameTypes) - 1 }, 0},
		{"unknown type", func(h *FrameHeader) { h.Attrs = uint8(frameTypes) }, CodeCorrupt},
		{"compressed", func(h *FrameHeader) { h.Attrs = 1 << 4 }, CodeVersionTooNew},
		{"reserved bit", func(h *FrameHeader) { h.Attrs = 1 << 6 }, CodeVersionTooNew},
		{"negative offset", func(h *FrameHeader) { h.BaseOffset = -1 }, CodeCorrupt},
		{"last offset", func(h *FrameHeader) { h.BaseOffset = math.MaxInt64 - 0x0304 }, 0},
		{"offset overflow", func(h *FrameHeader) { h.BaseOffset = math.MaxInt64 }, CodeCorrupt},
		{"most records", func(h *FrameHeader) { h.Records = MaxBatchRecords }, 0},
		{"too many records", func(h *FrameHeader) { h.Records = MaxBatchRecords + 1 }, CodeCorrupt},
	}
	for _, tt := range tests {
		h := sampleHeader()
		tt.change(&h)
		buf := make([]byte, FrameHeaderSize)
		h.Encode(buf, 7)
		_, err := DecodeFrameHeader(buf, 7)
		wantCode(t, tt.what, err, tt.want)
	}
	_, err := DecodeFrameHeader(make([]byte, FrameHeaderSize-1), 7)
	wantCode(t, "63 bytes", err, CodeCorrupt)
}

// TestFrameHeaderDetectsEveryFlip also flips the checksum's own bits, and takes another segment's seed.
func TestFrameHeaderDetectsEveryFlip(t *testing.T) {
	h := sampleHeader()
	buf := make([]byte, FrameHeaderSize)
	h.Encode(buf, HeaderSeed(1))
	for bit := range FrameHeaderSize * 8 {
		buf[bit/8] ^= 1 << (bit % 8)
		if _, err := DecodeFrameHeader(buf, HeaderSeed(1)); CodeOf(err) != CodeCorrupt || err == nil {
			t.Errorf("bit %d flipped: error %v, want %v", bit, err, CodeCorrupt)
		}
		buf[bit/8] ^= 1 << (bit % 8)
	}
	_, err := DecodeFrameHeader(buf, HeaderSeed(2))
	wantCode(t, "frame of another segment", err, CodeCorrupt)
	_, err = DecodeFrameHeader(buf, HeaderSeed(1))
	wantCode(t, "frame of its segment", err, 0)
}

func TestCheckPayload(t *testing.T) {
	payload := []byte("some records")
	h := FrameHeader{PayloadCRC: Checksum(payload)}
	wantCode(t, "good payload", h.CheckPayload(payload), 0)
	wantCode(t, "empty payload", (&FrameHeader{}).CheckPayload(nil), 0)
	payload[3] ^= 1
	wantCode(t, "flipped bit", h.CheckPayload(payload), CodeCorrupt)
	wantCode(t, "cut payload", h.CheckPayload(payload[:5]), CodeCorrupt)
}

func TestFrameCodecDoesNotAllocate(t *testing.T) {
	h, buf := sampleHeader(), make([]byte, FrameHeaderSize)
	wantNoAllocs(t, "frame codec", func() {
		h.Encode(buf, 3)
		if got, err := DecodeFrameHeader(buf, 3); err != nil || got.Index != h.Index {
			t.Fatal(err)
		}
	})
}

// FuzzFrame: no input panics; a header that decodes is within its bounds and encodes to the same
// bytes; with its checksum set right, the only other refusals are corrupt and too new.
func FuzzFrame(f *testing.F) {
	h := sampleHeader()
	buf := make([]byte, FrameHeaderSize)
	h.Encode(buf, 9)
	f.Add(buf, uint32(9), true)
	f.Add(buf, uint32(8), false)
	f.Add([]byte{}, uint32(0), false)
	f.Add(bytes.Repeat([]byte{0xff}, 80), uint32(0), true)
	f.Fuzz(func(t *testing.T, src []byte, seed uint32, repair bool) {
		if repair && len(src) >= FrameHeaderSize {
			src = bytes.Clone(src)
			binary.LittleEndian.PutUint32(src[4:], headerChecksum(src, seed))
		}
		h, err := DecodeFrameHeader(src, seed)
		if err != nil {
			if c := CodeOf(err); c != CodeCorrupt && c != CodeVersionTooNew {
				t.Fatalf("DecodeFrameHeader(%x) = %v", src, err)
			}
			return
		}
		if h.PayloadBytes() < 0 || h.NextOffset() < h.BaseOffset || h.BaseOffset < 0 || h.Size()%8 != 0 {
			t.Fatalf("DecodeFrameHeader(%x) = %+v", src, h)
		}
		again := make([]byte, FrameHeaderSize)
		h.Encode(again, seed)
		if !bytes.Equal(again, src[:FrameHeaderSize]) {
			t.Fatalf("encoded again: %x, want %x", again, src[:FrameHeaderSize])
		}
	})
}

func BenchmarkFrameHeader(b *testing.B) {
	h, buf := sampleHeader(), make([]byte, FrameHeaderSize)
	b.ReportAllocs()
	for b.Loop() {
		h.Encode(buf, 3)
		if _, err := DecodeFrameHeader(buf, 3); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

func TestIsFrameHeader(t *testing.T) {
	h := sampleHeader()
	buf := make([]byte, FrameHeaderSize)
	h.Encode(buf, 7)
	if !IsFrameHeader(buf, 7) || IsFrameHeader(buf, 8) {
		t.Error("a header is told by its seed")
	}
	for bit := range 8 * len(buf) {
		buf[bit/8] ^= 1 << (bit % 8)
		if IsFrameHeader(buf, 7) {
			t.Errorf("bit %d flipped: still a header", bit)
		}
		buf[bit/8] ^= 1 << (bit % 8)
	}
}
