package routing

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Hash returns the xxhash64, seed 0, of key. An empty key has a hash like any other; for a record
// without a key use Sticky.
//
// source: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
func Hash(key []byte) uint64 {
	if len(key) == 8 {
		return hash8(binary.LittleEndian.Uint64(key))
	}
	return xxhash.Sum64(key)
}

// Constants of xxhash64.
const (
	prime1 = 0x9E3779B185EBCA87
	prime2 = 0xC2B2AE3D27D4EB4F
	prime3 = 0x165667B19E3779F9
	prime4 = 0x85EBCA77C2B2AE63
	prime5 = 0x27D4EB2F165667C5
)

// hash8 is xxhash64 of eight bytes, read as little endian. Numeric ids are the commonest key, and the
// assembly of the general case costs them more for its call than for its work.
func hash8(word uint64) uint64 {
	hash := uint64(prime5+8) ^ bits.RotateLeft64(word*prime2, 31)*prime1
	hash = bits.RotateLeft64(hash, 27)*prime1 + prime4
	hash = (hash ^ hash>>33) * prime2
	hash = (hash ^ hash>>29) * prime3
	return hash ^ hash>>32
}
