package queue

import (
	"encoding/binary"
	"sync/atomic"
)

// keyBytes is the size of a key: its number.
const keyBytes = 8

// nobody is the number of no key.
const nobody = int64(-1)

// keys gives messages keys at random, and checks that the messages of a key come in order. Messages of the
// key failing, if there is one, are refused each time.
type keys struct {
	failing int64
	last    []atomic.Uint32 // by key: the number of its newest message, plus 1
}

func newKeys(count int, failing int64) *keys {
	return &keys{failing: failing, last: make([]atomic.Uint32, count)}
}

// of is the key of a message. The multiplier is that of a linear congruential generator, source: Steele and
// Vigna, Computationally easy, spectrally good multipliers, 2021.
func (k *keys) of(message int64) int64 {
	x := (uint64(message) + 1) * 0xd1342543de82ef95
	x ^= x >> 32
	x *= 0xd1342543de82ef95
	return int64(x >> 32 % uint64(len(k.last)))
}

// refused is how many of the first n messages have the key that fails.
func (k *keys) refused(n int64) (refused int64) {
	for i := range n {
		if k.of(i) == k.failing {
			refused++
		}
	}
	return refused
}

// refuses reports whether work on messages with a key fails.
func (k *keys) refuses(key []byte) bool { return number(key) == k.failing }

// number is that of a key, or nobody.
func number(key []byte) int64 {
	if len(key) != keyBytes {
		return nobody
	}
	return int64(binary.LittleEndian.Uint64(key))
}

// ordered notes a message of a key and reports whether it is younger than those before it.
func (k *keys) ordered(key, value []byte) bool {
	at := number(key)
	if at < 0 || at >= int64(len(k.last)) || len(value) < 8 {
		return false
	}
	mine := uint32(binary.LittleEndian.Uint64(value)) + 1
	return k.last[at].Swap(mine) < mine
}
