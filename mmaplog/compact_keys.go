package mmaplog

// keyTable knows the newest offset of each key of a part of a log. It compares the bytes of keys, so that
// two keys with one hash stay apart, and never takes more memory than its budget.
type keyTable struct {
	budget int64
	slots  []keySlot // open addressing; the length is a power of two
	used   int
	chunks [][]byte // of key bytes; keys do not lie across two
	fill   int      // of the last chunk
}

type keySlot struct {
	hash   uint64
	offset int64  // + 1; 0 for a free slot
	chunk  uint32 // where the key is
	at     uint16
	length uint16
}

const (
	keySlotBytes = 24
	keyChunk     = 64 << 10 // more than the longest key
	firstSlots   = 1 << 10
)

func newKeyTable(budget int64) *keyTable { return &keyTable{budget: budget, fill: keyChunk} }

// put notes that key is at offset, which is above all before. It reports false if there is no room for
// another key; nothing is changed then.
func (t *keyTable) put(hash uint64, key []byte, offset int64) bool {
	if s := t.find(hash, key); s != nil && s.offset != 0 {
		s.offset = offset + 1
		return true
	}
	slots := len(t.slots)
	if 4*(t.used+1) > 3*slots {
		slots = max(firstSlots, 2*slots)
	}
	chunks := len(t.chunks)
	if t.fill+len(key) > keyChunk {
		chunks++
	}
	need := int64(slots)*keySlotBytes + int64(chunks)*keyChunk
	if slots > len(t.slots) {
		need += int64(len(t.slots)) * keySlotBytes // both are there while it grows
	}
	if need > t.budget && t.used > 0 {
		return false
	}
	t.grow(slots)
	if chunks > len(t.chunks) {
		t.chunks = append(t.chunks, make([]byte, keyChunk))
		t.fill = 0
	}
	s := t.find(hash, key)
	*s = keySlot{hash: hash, offset: offset + 1, chunk: uint32(len(t.chunks) - 1), at: uint16(t.fill),
		length: uint16(len(key))}
	t.fill += copy(t.chunks[s.chunk][t.fill:], key)
	t.used++
	return true
}

// newest is the highest offset that key was put with.
func (t *keyTable) newest(hash uint64, key []byte) (offset int64, ok bool) {
	if s := t.find(hash, key); s != nil && s.offset != 0 {
		return s.offset - 1, true
	}
	return 0, false
}

// find gives the slot of a key, a free one if it is not there, and nil if there are no slots.
func (t *keyTable) find(hash uint64, key []byte) *keySlot {
	mask := len(t.slots) - 1
	for i := int(hash) & mask; mask >= 0; i = (i + 1) & mask {
		s := &t.slots[i]
		if s.offset == 0 || s.hash == hash && string(t.key(s)) == string(key) {
			return s
		}
	}
	return nil
}

func (t *keyTable) key(s *keySlot) []byte {
	return t.chunks[s.chunk][s.at:][:s.length]
}

func (t *keyTable) grow(slots int) {
	if slots == len(t.slots) {
		return
	}
	old := t.slots
	t.slots = make([]keySlot, slots)
	for i := range old {
		if s := &old[i]; s.offset != 0 {
			*t.free(s.hash) = *s
		}
	}
}

// free gives the slot for a key that is not in the table.
func (t *keyTable) free(hash uint64) *keySlot {
	mask := len(t.slots) - 1
	i := int(hash) & mask
	for t.slots[i].offset != 0 {
		i = (i + 1) & mask
	}
	return &t.slots[i]
}
