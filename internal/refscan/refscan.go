package refscan

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
)

// Class says how a log is.
type Class int

// The classes.
const (
	Clean Class = iota
	Torn
	Damaged
)

// Frame is one good frame.
type Frame struct {
	Offset  int64
	Records int
	Payload []byte
}

// Result is what Scan found.
type Result struct {
	Frames  []Frame // from the log's start up to the first that is not good
	Class   Class
	Refused bool // opening must not change or open the log
}

type segment struct {
	file                                          []byte
	id, previous, ordinal, base, index, prev, end uint64
	created, durable, durableIndex                uint64
	recycled                                      bool
}

// place is what the next frame must continue.
type place struct{ offset, index, prev, time uint64 }

var (
	le         = binary.LittleEndian
	table      = crc32.MakeTable(crc32.Castagnoli)
	name       = regexp.MustCompile(`^(\d{20})-([0-9a-f]{16})\.seg$`)
	endOfFrame = func(at uint64) uint64 { return (at + 7) &^ 7 }
)

// Scan reads the files of a log by their names.
func Scan(files map[string][]byte) Result {
	good, broken := sorted(files)
	var d, di uint64
	for _, s := range good {
		d, di = max(d, s.durable), max(di, s.durableIndex)
	}
	var chain []*segment // from the oldest to the one where scanning starts
	for i := range good {
		if good[i].base <= d {
			chain = []*segment{good[i]}
		}
	}
	lost := false
	if len(chain) > 0 {
		for before := find(good, chain[0].previous); before != nil; before = find(good, chain[0].previous) {
			chain = slices.Insert(chain, 0, before)
		}
		lost = good[0].ordinal < chain[0].ordinal
	}
	for _, b := range broken { // a file whose header is gone and that the next one names
		lost = lost || slices.ContainsFunc(good, func(s *segment) bool { return s.previous == b.id })
	}
	return judge(good, broken, chain, d, di, lost)
}

// judge goes through the chain, finds its younger segments, and looks at what is left.
func judge(good, broken, chain []*segment, d, di uint64, lost bool) (r Result) {
	p, at, rest, damaged := place{index: 1}, uint64(0), chain, lost
	for i := 0; i < len(chain); i++ {
		s, frames := chain[i], []Frame(nil)
		p = place{s.base, s.index, s.prev, max(p.time, s.created)}
		frames, p, at = accept(s, p)
		if !damaged {
			r.Frames = append(r.Frames, frames...)
		}
		if i+1 < len(rest) { // known durable as a whole
			damaged = damaged || p.offset != rest[i+1].base || p.index != rest[i+1].index
		} else if j := slices.IndexFunc(good, func(n *segment) bool {
			return n.previous == s.id && n.ordinal > s.ordinal && n.base == p.offset &&
				n.index == p.index && n.prev == p.prev
		}); j >= 0 {
			chain = append(chain, good[j])
		}
	}
	r.Refused = lost && len(chain) > 0 && good[0].ordinal < chain[0].ordinal || d > p.offset || di >= p.index
	torn := false
	for _, s := range good {
		from, rejected := uint64(4096), true
		if n := len(chain); n > 0 && s == chain[n-1] {
			from, rejected = at, false
		} else if slices.Contains(chain, s) {
			continue
		}
		torn = torn || rejected || left(s, from, p.index)
		r.Refused = r.Refused || evidence(s, from, p.index) >= p.index
	}
	for _, b := range broken {
		_, ok := frameAt(b, 4096)
		blank := len(bytes.Trim(b.file[:min(4096, len(b.file))], "\x00")) == 0
		known := evidence(b, 4096, p.index)
		missing := b.base > p.offset && len(good) == 0
		lost := missing || (ok || known > 0) && (!blank || known >= p.index)
		r.Refused = r.Refused || b.base >= p.offset && lost
	}
	if damaged || r.Refused {
		r.Class = Damaged
	} else if torn {
		r.Class = Torn
	}
	return r
}

// accept reads frames as long as each continues the one before.
func accept(s *segment, p place) (frames []Frame, _ place, at uint64) {
	for at = 4096; ; {
		f, ok := frameAt(s, at)
		if !ok {
			return frames, p, at
		}
		next := endOfFrame(at + uint64(len(f)))
		if f[62]&15 != 4 { // fillers stand outside
			if le.Uint64(f[8:]) != p.index || le.Uint64(f[16:]) != p.offset || uint64(le.Uint32(f[44:])) != p.prev ||
				int64(le.Uint64(f[24:])) < int64(p.time) {
				return frames, p, at
			}
			n := le.Uint16(f[58:])
			frames = append(frames, Frame{int64(p.offset), int(n), f[64:]})
			p = place{p.offset + uint64(n), p.index + 1, uint64(le.Uint32(f[48:])), le.Uint64(f[24:])}
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

func find(good []*segment, id uint64) *segment {
	for _, s := range good {
		if s.id == id {
			return s
		}
	}
	return nil
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
		s := &segment{file: b, id: id, base: base, end: uint64(len(b)) &^ 7}
		if string(b[:8]) != "LEATSEGM" || le.Uint32(b[8:]) != 1 || le.Uint32(b[16:]) != 0 ||
			crc32.Update(crc32.Checksum(b[:12], table), table, b[16:4096]) != le.Uint32(b[12:]) {
			broken = append(broken, s)
			continue
		}
		s.previous, s.ordinal, s.index = le.Uint64(b[48:]), le.Uint64(b[56:]), le.Uint64(b[72:])
		s.prev, s.created = uint64(le.Uint32(b[80:])), le.Uint64(b[104:])
		s.durable, s.durableIndex, s.end = le.Uint64(b[112:]), le.Uint64(b[120:]), le.Uint64(b[96:])
		s.file = append(b, make([]byte, max(0, int64(s.end)-int64(len(b))))...)
		s.recycled = b[20]&2 != 0
		good = append(good, s)
	}
	slices.SortFunc(good, func(a, b *segment) int { return int(int64(a.ordinal - b.ordinal)) })
	return good, broken
}
