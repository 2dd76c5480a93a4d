package mmaplog

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// testTail is the end of the segment of testHeader, with a few places.
func testTail() (segmentHeader, segmentFooter, []indexEntry) {
	h := testHeader()
	f := segmentFooter{end: 200_000, created: h.created,
		last: logState{offset: 2345, index: 290, prevCRC: 0xfeedface, time: h.created + 60_000_000_000}}
	var list []indexEntry
	for i := range uint32(10) {
		list = append(list, indexEntry{position: headerSize + (i+1)*indexEvery, offset: 100 * i, index: 7 * i,
			time: h.created + int64(i)*5_000_000_001})
	}
	return h, f, list
}

func TestFooterRoundTrip(t *testing.T) {
	h, want, list := testTail()
	tail := appendTail(nil, &h, &want, list)
	if int64(len(tail)) != h.size-h.dataEnd {
		t.Fatalf("%d bytes, the room has %d", len(tail), h.size-h.dataEnd)
	}
	b, got, err := decodeTail(tail, &h)
	if err != nil || got != want {
		t.Fatalf("decodeTail = %+v, %v; want %+v", got, err, want)
	}
	for i, e := range b.list() {
		unit := int64(1) << got.shift
		if w := list[i]; e.position != w.position || e.offset != w.offset || e.index != w.index ||
			e.time < w.time || e.time >= w.time+unit {
			t.Errorf("place %d = %+v, want %+v, its time up to %d later", i, e, w, unit)
		}
	}
	other := h
	other.id++
	if _, _, err := decodeTail(tail, &other); err != errNoFooter {
		t.Errorf("the footer of a segment that had the file before: %v", err)
	}
	golden(t, "tail-v1.hex", tail)
}

// TestFooterBitFlips flips every bit of index and footer.
func TestFooterBitFlips(t *testing.T) {
	h, f, list := testTail()
	tail := appendTail(nil, &h, &f, list)
	used := len(list) * indexEntrySize
	for at := range tail {
		if at >= used && at < len(tail)-footerSize {
			continue // zeros between them, which have no meaning
		}
		for bit := range 8 {
			tail[at] ^= 1 << bit
			if _, _, err := decodeTail(tail, &h); err == nil {
				t.Fatalf("byte %d, bit %d flipped and nobody noticed", at, bit)
			}
			tail[at] ^= 1 << bit
		}
	}
}

// TestFooterTimes packs times of any distance: what comes back is never below, and at most a unit above.
func TestFooterTimes(t *testing.T) {
	for _, span := range []int64{0, 1, 1<<31 - 1, 1 << 31, 1<<32 + 1, 1 << 45, 1<<62 + 12345} {
		f := segmentFooter{created: 1000, last: logState{time: 1000 + span}}
		f.shift = timeShift(uint64(span))
		for _, d := range []int64{0, 1, span / 3, span - 1, span} {
			at := max(0, d) + f.created
			got := f.created + int64(uint64(packTime(at, &f))<<f.shift)
			if got < at || got-at >= 1<<f.shift {
				t.Errorf("span %d: time %d comes back as %d, unit %d", span, at, got, int64(1)<<f.shift)
			}
		}
	}
}

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	text := []byte(hex.Dump(got))
	if *update {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("%s changed", path)
	}
}

// FuzzFooter: no input makes it panic or take more than the room, and what is accepted is a usable index.
func FuzzFooter(f *testing.F) {
	h, footer, list := testTail()
	f.Add(appendTail(nil, &h, &footer, list))
	f.Add(appendTail(nil, &h, &footer, nil))
	f.Add(make([]byte, h.size-h.dataEnd))
	f.Fuzz(func(t *testing.T, src []byte) {
		b, footer, err := decodeTail(src, &h)
		if err != nil {
			return
		}
		for _, e := range b.list() {
			if int64(e.position) > footer.end || e.position%8 != 0 {
				t.Fatalf("place %+v in a segment that ends at %d", e, footer.end)
			}
		}
		again := footer
		if _, second, err := decodeTail(appendTail(nil, &h, &again, b.list()), &h); err != nil ||
			second.last != footer.last || second.end != footer.end {
			t.Fatalf("encoded again: %+v, %v; was %+v", second, err, footer)
		}
	})
}
