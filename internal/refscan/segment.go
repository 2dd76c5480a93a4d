package refscan

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
)

type segment struct {
	file                                          []byte
	id, previous, ordinal, base, index, prev, end uint64
	created, durable, durableIndex                uint64
	recycled                                      bool
	from, term, size                              uint64 // from: where what is before ends
}

// place is what the next frame must continue.
type place struct{ offset, index, prev, time, term uint64 }

var (
	le         = binary.LittleEndian
	table      = crc32.MakeTable(crc32.Castagnoli)
	name       = regexp.MustCompile(`^(\d{20})-([0-9a-f]{16})\.seg$`)
	endOfFrame = func(at uint64) uint64 { return (at + 7) &^ 7 }
)

// accept reads frames as long as each continues the one before.
func accept(s *segment, p place, at uint64) (frames []Frame, _ place, _ uint64) {
	for {
		f, ok := frameAt(s, at)
		if !ok {
			return frames, p, at
		}
		next := endOfFrame(at + uint64(len(f)))
		if f[62]&15 != 4 { // fillers stand outside
			if le.Uint64(f[8:]) != p.index || le.Uint64(f[16:]) != p.offset || uint64(le.Uint32(f[44:])) != p.prev ||
				int64(le.Uint64(f[24:])) < int64(p.time) || uint64(le.Uint32(f[40:])) < p.term {
				return frames, p, at
			}
			n := le.Uint16(f[58:])
			frames = append(frames, Frame{int64(p.offset), int(n), f[64:]})
			p = place{p.offset + uint64(n), p.index + 1, uint64(le.Uint32(f[48:])), le.Uint64(f[24:]),
				uint64(le.Uint32(f[40:]))}
		}
		at = next
	}
}

// frameAt gives the frame at a position if it is whole and right by itself.
func frameAt(s *segment, at uint64) ([]byte, bool) {
	if at+64 > s.end {
		return nil, false
	}
	n := uint64(le.Uint32(s.file[at:]))
	if n < 64 || n > s.end-at || endOfFrame(at+n) > s.end {
		return nil, false
	}
	f := s.file[at : at+n]
	ok := headerRight(s, at) && crc32.Checksum(f[64:], table) == le.Uint32(f[48:])
	return f, ok && len(bytes.Trim(s.file[at+n:endOfFrame(at+n)], "\x00")) == 0
}

// begin is the place of the first frame.
func (s *segment) begin(time uint64) place {
	return place{s.base, s.index, s.prev, max(time, s.created), s.term}
}

// left reports whether something of a frame is behind the end: any byte, but in a recycled file a header.
func left(s *segment, from, index uint64) bool {
	for at := from; at+64 <= s.end && s.recycled; at += 8 {
		if n := uint64(le.Uint32(s.file[at:])); n >= 64 && headerRight(s, at) && le.Uint64(s.file[at+8:]) >= index {
			return true
		}
	}
	return !s.recycled && len(bytes.TrimLeft(s.file[min(from, s.end):s.end], "\x00")) > 0
}

// headerRight reports whether 64 bytes are the header of a frame of the segment.
func headerRight(s *segment, at uint64) bool {
	h, seed := s.file[at:at+64], crc32.Checksum(le.AppendUint64(nil, s.id), table)
	return crc32.Update(crc32.Update(seed, table, h[:4]), table, h[8:]) == le.Uint32(h[4:]) && h[63] == 1 &&
		h[62] <= 4 && le.Uint16(h[58:]) <= 4096
}

// evidence is the highest index that a younger frame says was durable.
func evidence(s *segment, from, index uint64) (known uint64) {
	for at := from; at+64 <= s.end; at += 8 {
		f, ok := frameAt(s, at)
		if i := le.Uint64(s.file[at+8:]); ok && i >= index {
			if lag := uint64(le.Uint16(f[60:])); lag != 65535 && i > lag {
				known = max(known, i-1-lag)
			}
		}
	}
	return known
}

// sorted reads the headers: the segments by ordinal, and the files that have none.
func sorted(files map[string][]byte) (good, broken []*segment) {
	for file, b := range files {
		m := name.FindStringSubmatch(file)
		if m == nil {
			continue
		}
		base, _ := strconv.ParseUint(m[1], 10, 63)
		id, _ := strconv.ParseUint(m[2], 16, 64)
		b = append(bytes.Clone(b), make([]byte, max(0, 4096-len(b)))...) // missing reads as zeros
		s := &segment{file: b, size: uint64(len(files[file])), id: id, base: base, end: uint64(len(b)) &^ 7}
		if string(b[:8]) != "LEATSEGM" || le.Uint32(b[8:]) != 1 || le.Uint32(b[16:])&^1 != 0 ||
			crc32.Update(crc32.Checksum(b[:12], table), table, b[16:4096]) != le.Uint32(b[12:]) {
			broken = append(broken, s)
			continue
		}
		s.previous, s.ordinal, s.index = le.Uint64(b[48:]), le.Uint64(b[56:]), le.Uint64(b[72:])
		s.prev, s.created = uint64(le.Uint32(b[80:])), le.Uint64(b[104:])
		s.durable, s.durableIndex, s.end = le.Uint64(b[112:]), le.Uint64(b[120:]), le.Uint64(b[96:])
		s.file = append(b, make([]byte, max(0, int64(s.end)-int64(len(b))))...)
		s.recycled, s.from, s.term = b[20]&2 != 0, s.base, uint64(le.Uint32(b[36:]))
		if b[16]&1 != 0 {
			s.from = le.Uint64(b[128:])
		}
		good = append(good, s)
	}
	slices.SortFunc(good, func(a, b *segment) int { return int(int64(a.ordinal - b.ordinal)) })
	return good, broken
}
