package mmaplog

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

var update = flag.Bool("update", false, "write golden files")

func testHeader() segmentHeader {
	return segmentHeader{
		topic: 16, partition: 3, id: 0x0123456789abcdef, previousID: 7, ordinal: 9,
		base: segmentBase{offset: 1000, index: 200, term: 4, prevCRC: 0xdeadbeef},
		size: 256 << 10, dataEnd: classDataEnd(256 << 10), created: 1234567890, durable: mark{end: 900, index: 180},
	}
}

func TestSegmentHeaderRoundTrip(t *testing.T) {
	want := testHeader()
	page := make([]byte, headerSize)
	want.encode(page)
	got, err := decodeSegmentHeader(page)
	if err != nil || got != want {
		t.Fatalf("decode(encode(%+v)) = %+v, %v", want, got, err)
	}
	for bit := range headerSize * 8 {
		page[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeSegmentHeader(page); err == nil {
			t.Fatalf("bit %d flipped and nobody noticed", bit)
		}
		page[bit/8] ^= 1 << (bit % 8)
	}
}

func TestSegmentHeaderRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(h *segmentHeader, page []byte)
		code   core.Code
	}{
		"size":          {func(h *segmentHeader, _ []byte) { h.size = 1 << 40 }, core.CodeCorrupt},
		"data end":      {func(h *segmentHeader, _ []byte) { h.dataEnd = h.size + 8 }, core.CodeCorrupt},
		"offset":        {func(h *segmentHeader, _ []byte) { h.base.offset = -1 }, core.CodeCorrupt},
		"durable":       {func(h *segmentHeader, _ []byte) { h.durable.end = 1001 }, core.CodeCorrupt},
		"index 0":       {func(h *segmentHeader, _ []byte) { h.base.index = 0 }, core.CodeCorrupt},
		"durable index": {func(h *segmentHeader, _ []byte) { h.durable.index = 200 }, core.CodeCorrupt},
		"gap":           {func(h *segmentHeader, _ []byte) { h.gap, h.gapFrom = true, 1001 }, core.CodeCorrupt},
		"version":       {func(_ *segmentHeader, p []byte) { p[8] = 2 }, core.CodeVersionTooNew},
		"feature":       {func(_ *segmentHeader, p []byte) { p[16] = 2 }, core.CodeVersionTooNew},
	} {
		h, page := testHeader(), make([]byte, headerSize)
		tt.change(&h, page)
		h.encode(page)
		tt.change(&h, page)
		setPageCRC(page)
		_, err := decodeSegmentHeader(page)
		wantCode(t, name, err, tt.code)
	}
	_, err := decodeSegmentHeader(make([]byte, 100))
	wantCode(t, "short page", err, core.CodeCorrupt)
}

func setPageCRC(page []byte) {
	crc := headerPageCRC(page)
	page[12], page[13], page[14], page[15] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
}

func TestSegmentNames(t *testing.T) {
	name := segmentName(1000, 0xabc)
	if base, id, ok := parseSegmentName(name); base != 1000 || id != 0xabc || !ok {
		t.Errorf("parseSegmentName(%q) = %d, %d, %v", name, base, id, ok)
	}
	for _, bad := range []string{"", "x.seg", "00000000000000001000-0000000000000ABC.seg",
		"-0000000000000001000-0000000000000abc.seg", "0000000000000000+100-0000000000000abc.seg",
		"00000000000000001000_0000000000000abc.seg", "00000000000000001000-0000000000000abc.sex"} {
		if _, _, ok := parseSegmentName(bad); ok {
			t.Errorf("parseSegmentName(%q) is accepted", bad)
		}
	}
	if !isSpareName(spareName(5)) || isSpareName("spare-5.tmp") || isSpareName("spare-000000000000000G.tmp") {
		t.Error("isSpareName is wrong")
	}
}

func TestClasses(t *testing.T) {
	for _, tt := range []struct{ want, need, size int64 }{
		{256 << 10, 64, 256 << 10},
		{256 << 10, 256<<10 - 8192, 256 << 10},
		{256 << 10, 256<<10 - 8192 + 8, 512 << 10},
		{256 << 10, 16<<20 + 64, 32 << 20},
		{64 << 20, 32<<20 + 64, 64 << 20},
	} {
		if got := classFor(tt.want, tt.need); got != tt.size {
			t.Errorf("classFor(%d, %d) = %d, want %d", tt.want, tt.need, got, tt.size)
		}
	}
}

// goldenSegment is the start of a segment with two frames, made the same way every time.
func goldenSegment(t *testing.T, level core.Ack) []byte {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1_700_000_000_000_000_000)})
	l, err := s.OpenLog(16, 3, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	l.Begin(1_700_000_000_000_000_000)
	for _, v := range []string{"first", "second, and longer"} {
		if _, err := l.Add(encodeRecord(v), 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
	l.Begin(1_700_000_000_000_001_000)
	appendOnly(t, l, "third")
	list := *l.segs.Load()
	f, err := fs.Open(list[0].path, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, l.w.pos+64)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func appendOnly(t *testing.T, l *Log, v string) {
	t.Helper()
	if _, err := l.Add(encodeRecord(v), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenSegment freezes the bytes: both sinks write them, and so did version 1.
func TestGoldenSegment(t *testing.T) {
	path := filepath.Join("testdata", "segment-v1.hex")
	got := goldenSegment(t, core.AckPage)
	if other := goldenSegment(t, core.AckDisk); !bytes.Equal(got, other) {
		t.Fatal("map sink and pwrite sink write different bytes")
	}
	dump := []byte(hex.Dump(got))
	if *update {
		if err := os.WriteFile(path, dump, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(dump, want) {
		t.Fatalf("segment differs from %s (%v):\n%s", path, err, dump)
	}
}

func FuzzSegmentHeader(f *testing.F) {
	h, page := testHeader(), make([]byte, headerSize)
	h.encode(page)
	f.Add(page[:128])
	f.Add([]byte(segmentMagic))
	f.Fuzz(func(t *testing.T, start []byte) {
		page := make([]byte, headerSize)
		copy(page, start)
		setPageCRC(page)
		h, err := decodeSegmentHeader(page)
		if err != nil {
			return
		}
		// Property: what is accepted is within bounds and encodes to the same header.
		again := make([]byte, headerSize)
		h.encode(again)
		if back, err := decodeSegmentHeader(again); err != nil || back != h || h.dataEnd > h.size {
			t.Fatalf("%+v encodes to %+v, %v", h, back, err)
		}
	})
}
