package crc32c

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Words are 64 bytes as eight little-endian words. The high half of the first one holds the checksum of
// the rest.
type Words [8]uint64

// Checksum is the checksum of p.
func Checksum(p []byte) uint32 { return Update(0, p) }

// updateSlow is Update without assembly.
func updateSlow(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// headerSlow is Header without assembly.
func headerSlow(seed uint32, header *[64]byte) uint32 {
	crc := crc32.Update(seed, castagnoli, header[:4])
	return crc32.Update(crc, castagnoli, header[8:])
}

// headers lends what sealSlow checksums: hash/crc32 lets its argument escape.
var headers = sync.Pool{New: func() any { return new([64]byte) }}

// sealSlow is Words.Seal without assembly.
func (w *Words) sealSlow(seed uint32) {
	header := headers.Get().(*[64]byte)
	for i, word := range w {
		binary.LittleEndian.PutUint64(header[8*i:], word)
	}
	w[0] = w[0]&(1<<32-1) | uint64(headerSlow(seed, header))<<32
	headers.Put(header)
}

// sumAndSealSlow is Words.SumAndSeal without assembly.
func (w *Words) sumAndSealSlow(seed uint32, payload []byte) uint32 {
	crc := Checksum(payload)
	w[6] |= uint64(crc)
	w.Seal(seed)
	return crc
}
