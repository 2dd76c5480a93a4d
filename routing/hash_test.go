package routing

import (
	"encoding/binary"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// TestHashAgreesWithTheLibrary holds the short way for eight bytes to the library, on words that set
// single bits and on a walk through the rest.
func TestHashAgreesWithTheLibrary(t *testing.T) {
	words := []uint64{0, ^uint64(0)}
	for bit := range 64 {
		words = append(words, 1<<bit, ^uint64(1<<bit))
	}
	for i := range uint64(100_000) {
		words = append(words, i*0x9E3779B97F4A7C15)
	}
	for _, word := range words {
		key := binary.LittleEndian.AppendUint64(nil, word)
		if got, want := Hash(key), xxhash.Sum64(key); got != want {
			t.Fatalf("Hash(%x) = %#x, want %#x", key, got, want)
		}
	}
	for length := range 100 {
		key := make([]byte, length)
		if got, want := Hash(key), xxhash.Sum64(key); got != want {
			t.Fatalf("Hash of %d zero bytes = %#x, want %#x", length, got, want)
		}
	}
}
