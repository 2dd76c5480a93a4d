package refscan

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"testing"
)

// frame makes a frame by hand.
func frame(id, index, offset uint64, prev uint32, lag uint16, payload string) []byte {
	f := make([]byte, endOfFrame(64+uint64(len(payload))))
	le.PutUint32(f, uint32(64+len(payload)))
	le.PutUint64(f[8:], index)
	le.PutUint64(f[16:], offset)
	le.PutUint64(f[24:], 1000+index)
	le.PutUint32(f[44:], prev)
	le.PutUint32(f[48:], crc32.Checksum([]byte(payload), table))
	le.PutUint16(f[58:], 1)
	le.PutUint16(f[60:], lag)
	f[63] = 1
	copy(f[64:], payload)
	sum := crc32.Update(crc32.Checksum(le.AppendUint64(nil, id), table), table, f[:4])
	le.PutUint32(f[4:], crc32.Update(sum, table, f[8:64]))
	return f
}

// file makes a segment file by hand.
func file(id, previous, base uint64, prev uint32, durable uint64, frames ...[]byte) []byte {
	b := make([]byte, 4096)
	copy(b, "LEATSEGM")
	le.PutUint32(b[8:], 1)
	le.PutUint64(b[40:], id)
	le.PutUint64(b[48:], previous)
	le.PutUint64(b[56:], id)
	le.PutUint64(b[64:], base)
	le.PutUint64(b[72:], base+1)
	le.PutUint32(b[80:], prev)
	le.PutUint64(b[96:], 8192)
	le.PutUint64(b[112:], durable)
	le.PutUint64(b[120:], durable)
	le.PutUint32(b[12:], crc32.Update(crc32.Checksum(b[:12], table), table, b[16:]))
	return append(b, bytes.Join(frames, nil)...)
}

func fileName(base, id uint64) string { return fmt.Sprintf("%020d-%016x.seg", base, id) }

// TestScan checks the reference itself on a log of two segments made by hand: two frames, the second
// segment starting when both were durable, and two frames more of which the last says that the third was.
func TestScan(t *testing.T) {
	sum := func(s string) uint32 { return crc32.Checksum([]byte(s), table) }
	first := func() []byte {
		return file(7, 0, 0, 0, 0, frame(7, 1, 0, 0, 0, "one"), frame(7, 2, 1, sum("one"), 1, "two"))
	}
	second := func() []byte {
		return file(9, 7, 2, sum("two"), 2, frame(9, 3, 2, sum("two"), 0, "three"),
			frame(9, 4, 3, sum("three"), 0, "four"))
	}
	flip := func(b []byte, at int) []byte { b[at] ^= 4; return b }
	size := len(frame(7, 1, 0, 0, 0, "one"))
	tests := []struct {
		name          string
		first, second []byte
		frames        int
		class         Class
		refused       bool
	}{
		{"whole", first(), second(), 4, Clean, false},
		{"only the first", first(), nil, 2, Clean, false},
		{"torn last frame", first(), flip(second(), 4096+size+70), 3, Torn, false},
		{"last frame cut", first(), second()[:4096+size+10], 3, Torn, false},
		{"last frame gone", first(), second()[:4096+size], 3, Clean, false},
		{"a frame that the next one says was durable", first(), flip(second(), 4096+64), 2, Damaged, true},
		{"a frame before a durable segment", flip(first(), 4096+size+64), second(), 1, Damaged, false},
		{"the header of the second", first(), flip(second(), 50), 2, Damaged, true},
		{"the header of the first", flip(first(), 50), second(), 0, Damaged, true},
		{"a frame of another segment", first(), append(second()[:4096], frame(7, 3, 2, sum("two"), 0, "old")...), 2,
			Torn, false},
		{"a wrong link", first(), file(9, 8, 2, sum("two"), 2, frame(9, 3, 2, sum("two"), 0, "three")),
			0, Damaged, true},
		{"nothing", nil, nil, 0, Clean, false},
	}
	for _, tt := range tests {
		files := map[string][]byte{"state": {1}}
		if tt.first != nil {
			files[fileName(0, 7)] = tt.first
		}
		if tt.second != nil {
			files[fileName(2, 9)] = tt.second
		}
		got := Scan(files)
		if len(got.Frames) != tt.frames || got.Class != tt.class || got.Refused != tt.refused {
			t.Errorf("%s: %d frames, class %d, refused %v; want %d, %d, %v", tt.name, len(got.Frames), got.Class,
				got.Refused, tt.frames, tt.class, tt.refused)
		}
		for i, f := range got.Frames {
			if want := []string{"one", "two", "three", "four"}[i]; string(f.Payload) != want || f.Offset != int64(i) {
				t.Errorf("%s: frame %d = %+v, want %q", tt.name, i, f, want)
			}
		}
	}
}
