package mmaplog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/leatbus/leat/core"
)

// The file is a head and edits of one size, which therefore never lie across the sectors of a disk.
// docs/format.md has the layout.
const (
	manifestMagic   = "LEATMANI"
	manifestVersion = 1
	editSize        = 128
)

// editKind says what an edit tells.
type editKind uint8

const (
	editCreated      editKind = 1 + iota // a segment was started
	editSealed                           // it was left and is durable
	editDropped                          // it goes
	editTruncated                        // it is written again and durable no more
	editTopicRemoved                     // all segments of a topic go
	editOpened                           // a store begins to change things
	editClosed                           // a store was closed in order, if nothing follows
)

// manifestEdit is one line of the manifest. Its header is complete in the first, second and fourth kind, but
// for durable, which is not kept; the third has topic, partition and id.
type manifestEdit struct {
	kind   editKind
	older  bool // all older segments of the log go, too; of a dropped one
	header segmentHeader
	end    int64    // position behind the last frame of a sealed segment; 0 if it is not known
	last   logState // and what the next one continues
}

func (e *manifestEdit) append(dst []byte) []byte {
	le := binary.LittleEndian
	start := len(dst)
	dst = append(dst, make([]byte, editSize)...)
	b, h := dst[start:], &e.header
	b[4] = byte(e.kind)
	if e.older {
		b[5] = editOlder
	}
	le.PutUint64(b[8:], h.topic)
	le.PutUint32(b[16:], uint32(h.partition))
	le.PutUint32(b[20:], h.base.term)
	le.PutUint64(b[24:], h.id)
	le.PutUint64(b[32:], h.previousID)
	le.PutUint64(b[40:], h.ordinal)
	le.PutUint64(b[48:], uint64(h.base.offset))
	le.PutUint64(b[56:], h.base.index)
	le.PutUint32(b[64:], h.base.prevCRC)
	le.PutUint32(b[68:], uint32(h.size/pageSize))
	le.PutUint32(b[72:], uint32(h.dataEnd/8))
	le.PutUint32(b[76:], h.features())
	le.PutUint64(b[80:], uint64(h.created))
	if h.gap {
		b[6] = byte(featureGap)
		le.PutUint64(b[112:], uint64(h.gapFrom))
	}
	if e.end > 0 {
		le.PutUint32(b[88:], uint32(e.end/8))
		le.PutUint32(b[92:], e.last.prevCRC)
		le.PutUint32(b[96:], uint32(e.last.offset-h.base.offset))
		le.PutUint32(b[100:], uint32(e.last.index-h.base.index))
		le.PutUint64(b[104:], uint64(e.last.time))
	}
	le.PutUint32(b, editCRC(b))
	return dst
}

// editFirst is set in an edit that is the only one of its segment, in a manifest that was written anew.
const editFirst = 1

// editOlder is set in the drop of a segment with which all older ones go.
const editOlder = 2

// appendFirst appends a copy of e as the only edit of its segment.
func (b rawEdit) appendFirst(dst []byte) []byte {
	dst = append(dst, b...)
	c := dst[len(dst)-editSize:]
	c[5] |= editFirst
	binary.LittleEndian.PutUint32(c, editCRC(c))
	return dst
}

func editCRC(b []byte) uint32 { return core.Checksum(b[4:editSize]) }

// rawEdit is an edit whose checksum was compared.
type rawEdit []byte

func (b rawEdit) kind() editKind { return editKind(b[4]) }
func (b rawEdit) first() bool    { return b.kind() == editCreated || b[5]&editFirst != 0 }
func (b rawEdit) older() bool    { return b[5]&editOlder != 0 }
func (b rawEdit) topic() uint64  { return binary.LittleEndian.Uint64(b[8:]) }
func (b rawEdit) id() uint64     { return binary.LittleEndian.Uint64(b[24:]) }
func (b rawEdit) previousID() uint64 {
	return binary.LittleEndian.Uint64(b[32:])
}
func (b rawEdit) ordinal() uint64 { return binary.LittleEndian.Uint64(b[40:]) }
func (b rawEdit) size() int64     { return int64(binary.LittleEndian.Uint32(b[68:])) * pageSize }
func (b rawEdit) base() int64     { return int64(binary.LittleEndian.Uint64(b[48:])) }
func (b rawEdit) key() logKey {
	return logKey{b.topic(), int32(binary.LittleEndian.Uint32(b[16:]))}
}

// change is by how much the edit changes the number of segments, if it is the first to do so.
func (b rawEdit) change() int {
	switch {
	case b.first():
		return 1
	case b.kind() == editDropped:
		return -1
	}
	return 0
}

// decode reads an edit and checks what it says of a segment.
func (b rawEdit) decode() (manifestEdit, error) {
	le := binary.LittleEndian
	e := manifestEdit{kind: b.kind(), older: b.older()}
	h := &e.header
	h.topic, h.partition, h.id = le.Uint64(b[8:]), int32(le.Uint32(b[16:])), le.Uint64(b[24:])
	if e.kind < editCreated || e.kind > editClosed {
		return e, fmt.Errorf("edit of kind %d", e.kind)
	}
	if !e.kind.ofSegment() {
		return e, nil
	}
	h.previousID, h.ordinal = le.Uint64(b[32:]), le.Uint64(b[40:])
	h.base = segmentBase{offset: int64(le.Uint64(b[48:])), index: le.Uint64(b[56:]),
		prevCRC: le.Uint32(b[64:]), term: le.Uint32(b[20:])}
	h.size, h.dataEnd = int64(le.Uint32(b[68:]))*pageSize, int64(le.Uint32(b[72:]))*8
	h.setFeatures(le.Uint32(b[76:]))
	h.created = int64(le.Uint64(b[80:]))
	if h.gap = b[6]&byte(featureGap) != 0; h.gap {
		h.gapFrom = int64(le.Uint64(b[112:]))
	}
	if e.end = int64(le.Uint32(b[88:])) * 8; e.end > 0 {
		e.last = logState{
			offset: h.base.offset + int64(le.Uint32(b[96:])), index: h.base.index + uint64(le.Uint32(b[100:])),
			prevCRC: le.Uint32(b[92:]), time: int64(le.Uint64(b[104:])),
		}
	}
	if e.end != 0 && (e.end < headerSize || e.end > h.dataEnd || e.kind != editSealed) {
		return e, fmt.Errorf("segment %016x ends at %d of %d", h.id, e.end, h.dataEnd)
	}
	return e, h.check()
}

// ofSegment tells whether edits of the kind have the whole header of a segment.
func (k editKind) ofSegment() bool {
	return k == editCreated || k == editSealed || k == editTruncated
}

// appendManifestHead appends what a manifest begins with.
func appendManifestHead(dst []byte) []byte {
	le := binary.LittleEndian
	start := len(dst)
	dst = append(dst, make([]byte, editSize)...)
	b := dst[start:]
	copy(b, manifestMagic)
	le.PutUint32(b[8:], manifestVersion)
	le.PutUint32(b[12:], manifestHeadCRC(b))
	return dst
}

func manifestHeadCRC(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:12], table), table, b[16:editSize])
}

// manifestImage is what is in a manifest, checked as far as checksums go.
type manifestImage struct {
	chunks [][]byte // of manifestChunk bytes each, but for the last one
	logs   map[logKey]*knownLog
	closed bool  // it ends with the mark of an orderly close
	end    int64 // where the next edit goes
	edits  int
	live   int // segments, about
}

// knownLog is what a manifest tells of a log: the numbers of its edits, in order. As long as each is the only
// one of its segment, which continues the one before, as in a manifest that was written anew, plain is set:
// then the edits are what they come to, and the first ones, sealed in number, are of sealed segments.
type knownLog struct {
	edits  []int32
	plain  bool
	sealed int
	bytes  int64 // of the files of those
}

func (m *manifestImage) edit(n int32) rawEdit {
	const each = manifestChunk / editSize
	chunk, at := m.chunks[uint32(n+1)/each], uint32(n+1)%each*editSize
	return rawEdit(chunk[at : at+editSize : at+editSize])
}

// look keeps plain and what goes with it when e is about to be added.
func (l *knownLog) look(m *manifestImage, e rawEdit) {
	n := len(l.edits)
	l.plain = e.first() && e.kind() != editTruncated
	if n > 0 && l.plain {
		last := m.edit(l.edits[n-1])
		l.plain = e.previousID() == last.id() && e.ordinal() > last.ordinal()
	}
	if l.plain && l.sealed == n && e.kind() == editSealed {
		l.sealed++
		l.bytes += e.size()
	}
}

// apply adds edit number i to those of its log and gives that log, nil if the edit has none.
func (m *manifestImage) apply(log *knownLog, e rawEdit, i int32) *knownLog {
	switch e.kind() {
	case editCreated, editSealed, editDropped, editTruncated:
	case editTopicRemoved:
		for key := range m.logs {
			if key.topic == e.topic() {
				delete(m.logs, key)
			}
		}
		return nil
	default:
		return nil
	}
	if log == nil {
		log = &knownLog{plain: true}
		m.logs[e.key()] = log
	}
	if log.plain {
		log.look(m, e)
	}
	log.edits = append(log.edits, i)
	m.live += e.change()
	return log
}
