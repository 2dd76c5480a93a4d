package benchkit

import (
	"encoding/binary"
	"fmt"

	"github.com/leatbus/leat"
)

// loadKeys is the number of keys of every bus benchmark: enough to spread over the partitions.
const loadKeys = 4096

// minValueBytes is the part of a value that a load fills, little endian:
//
//	0 sequence of the key u64 | 8 intended time i64 | 16 number of the key u32 | 20 zero u32
const minValueBytes = 24

// load makes the messages of one topic, key after key, and remembers how many there were. It belongs
// to one goroutine.
type load struct {
	keys  [][]byte
	sent  []uint64 // by number of the key
	total int64
	next  uint32
	value []byte
}

func newLoad(valueBytes int) *load {
	l := &load{keys: make([][]byte, loadKeys), sent: make([]uint64, loadKeys), value: make([]byte, valueBytes)}
	for i := range l.keys {
		l.keys[i] = fmt.Appendf(nil, "key-%04d", i)
	}
	return l
}

// message gives the next message, valid until the next call.
func (l *load) message(intended int64) leat.Message {
	key := l.next
	le := binary.LittleEndian
	le.PutUint64(l.value[0:], l.sent[key])
	le.PutUint64(l.value[8:], uint64(intended))
	le.PutUint32(l.value[16:], key)
	l.sent[key]++
	l.total++
	if l.next++; l.next == loadKeys {
		l.next = 0
	}
	return leat.Message{Key: l.keys[key], Value: l.value}
}

// observe checks a delivered message and gives its intended time.
func observe(s *Sequences, m *leat.Message) (intended int64, ok bool) {
	if len(m.Value) < minValueBytes {
		return 0, false
	}
	le := binary.LittleEndian
	s.Observe(le.Uint32(m.Value[16:]), le.Uint64(m.Value[0:]))
	return int64(le.Uint64(m.Value[8:])), true
}
