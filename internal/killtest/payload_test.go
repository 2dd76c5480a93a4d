package killtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"

	"github.com/cespare/xxhash/v2"
)

// payloadHeader is the start of every value: producer u64, sequence u64, length u32 of the value, and
// CRC32C of the value without these last four bytes.
const payloadHeader = 24

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// filler is what values are filled from.
var filler = func() []byte {
	b := make([]byte, 1<<20)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(b) // never fails
	return b
}()

// payloadSize draws the length of a value: mostly small, now and then larger than a segment of
// 256 KiB, so that segments end at all kinds of places.
func payloadSize(r *rand.Rand) int {
	switch d := r.IntN(2000); {
	case d == 0:
		return payloadHeader + 200<<10 + r.IntN(150<<10)
	case d < 100:
		return payloadHeader + 4<<10 + r.IntN(24<<10)
	case d < 600:
		return payloadHeader + 200 + r.IntN(4<<10)
	}
	return payloadHeader + r.IntN(200)
}

// putPayload appends a value of size bytes to dst.
func putPayload(dst []byte, producer, sequence uint64, size int) []byte {
	at := len(dst)
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, producer)
	dst = le.AppendUint64(dst, sequence)
	dst = le.AppendUint32(dst, uint32(size))
	dst = le.AppendUint32(dst, 0)
	from := int((producer*31 + sequence*8191) % uint64(len(filler)/2))
	dst = append(dst, filler[from:from+size-payloadHeader]...)
	le.PutUint32(dst[at+20:], payloadSum(dst[at:]))
	return dst
}

func payloadSum(value []byte) uint32 {
	return crc32.Update(crc32.Checksum(value[:20], castagnoli), castagnoli, value[payloadHeader:])
}

// parsePayload reads a value and checks that it is as it was made.
func parsePayload(value []byte) (producer, sequence uint64, err error) {
	if len(value) < payloadHeader {
		return 0, 0, fmt.Errorf("value of %d bytes, at least %d", len(value), payloadHeader)
	}
	le := binary.LittleEndian
	producer, sequence = le.Uint64(value), le.Uint64(value[8:])
	switch {
	case le.Uint32(value[16:]) != uint32(len(value)):
		err = fmt.Errorf("value of %d bytes, made with %d", len(value), le.Uint32(value[16:]))
	case le.Uint32(value[20:]) != payloadSum(value):
		err = errors.New("value does not match its own checksum")
	}
	return producer, sequence, err
}

// recordHash covers all that the publisher gave.
func recordHash(key, value []byte) uint64 {
	return xxhash.Sum64(key) ^ xxhash.Sum64(value)*0x9e3779b97f4a7c15
}
