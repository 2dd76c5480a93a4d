package demo

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/leatbus/leat"
)

// The value of a message, little endian:
//
//	0 sequence of the key u64 | 8 intended time i64 | 16 number of the key u32 | 20 mark u32 | 24 mix u64
//
// mix is a product of the fields before it, so that a changed bit shows.
const (
	valueBytes = 32
	valueMark  = uint32(0x7461656c) // "leat"
	mixFactor  = uint64(0x9e3779b97f4a7c15)
)

// payload is a decoded value.
type payload struct {
	sequence uint64
	intended int64 // nanoseconds on Mono
	key      uint32
}

func (p *payload) mix() uint64 {
	return (p.sequence*mixFactor^uint64(p.intended))*mixFactor ^ uint64(p.key)
}

// put encodes into dst, valueBytes long.
func (p *payload) put(dst []byte) {
	le := binary.LittleEndian
	_ = dst[valueBytes-1]
	le.PutUint64(dst[0:], p.sequence)
	le.PutUint64(dst[8:], uint64(p.intended))
	le.PutUint32(dst[16:], p.key)
	le.PutUint32(dst[20:], valueMark)
	le.PutUint64(dst[24:], p.mix())
}

// parsePayload decodes a message and reports whether its key and value are what was published.
func parsePayload(m *leat.Message, keys [][]byte) (payload, bool) {
	if len(m.Value) != valueBytes {
		return payload{}, false
	}
	le := binary.LittleEndian
	p := payload{
		sequence: le.Uint64(m.Value[0:]),
		intended: int64(le.Uint64(m.Value[8:])),
		key:      le.Uint32(m.Value[16:]),
	}
	intact := le.Uint32(m.Value[20:]) == valueMark && le.Uint64(m.Value[24:]) == p.mix() &&
		uint64(p.key) < uint64(len(keys)) && bytes.Equal(m.Key, keys[p.key])
	return p, intact
}

// makeKeys gives the keys by number.
func makeKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key-%04d", i)
	}
	return keys
}
