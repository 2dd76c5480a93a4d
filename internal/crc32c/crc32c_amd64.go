//go:build amd64 && !leat_noasm

package crc32c

import "golang.org/x/sys/cpu"

// fast says that the processor has what the assembly needs.
var fast = cpu.X86.HasSSE42 && cpu.X86.HasPCLMULQDQ

// longest is the most words of one of three chains. A longer input is taken in pieces.
const longest = 128

// shifts has for each number L of words what a checksum is multiplied by to be moved L words on, and
// 2·L words on.
var shifts = makeShifts()

// makeShifts computes x^(64·L - 33) and x^(128·L - 33) modulo the polynomial, bit-reflected: the product of
// two reflected numbers is one bit short, and the CRC32 instruction that reduces it multiplies by x^32.
func makeShifts() (table [longest + 1][2]uint64) {
	const polynomial = 0x82f63b78
	power := uint32(1) // x^31: bit i of a reflected number is the coefficient of x^(31-i)
	for words := 1; words <= 2*longest; words++ {
		if words <= longest {
			table[words][0] = uint64(power)
		}
		if words%2 == 0 {
			table[words/2][1] = uint64(power)
		}
		for range 64 {
			power = power>>1 ^ polynomial&-(power&1)
		}
	}
	return table
}

// update is Update without the inversions.
//
//go:noescape
func update(crc uint32, p []byte) uint32

// header is Header without the inversions.
//
//go:noescape
func header(crc uint32, header *[64]byte) uint32

// seal is Words.Seal, with the seed inverted.
//
//go:noescape
func seal(w *Words, crc uint32)

// sumAndSeal is Words.SumAndSeal, with the seed inverted.
//
//go:noescape
func sumAndSeal(w *Words, crc uint32, payload []byte) uint32

// copySumAndSeal is Words.CopySumAndSeal of copied bytes, with the seed inverted.
//
//go:noescape
func copySumAndSeal(w *Words, crc uint32, dst *byte, payload []byte) uint32

// The lengths that copySumAndSeal takes: words, as many as are worth three chains and fit those.
const copiedMin, copiedMax = 128, 24 * longest

// Update adds p to a checksum.
func Update(crc uint32, p []byte) uint32 {
	if !fast {
		return updateSlow(crc, p)
	}
	return ^update(^crc, p)
}

// Header is the checksum of the first four bytes of header and of those from the ninth on, added to seed.
func Header(seed uint32, h *[64]byte) uint32 {
	if !fast {
		return headerSlow(seed, h)
	}
	return ^header(^seed, h)
}

// Seal puts the checksum of the rest, added to seed, into the high half of the first word.
func (w *Words) Seal(seed uint32) {
	if !fast {
		w.sealSlow(seed)
		return
	}
	seal(w, ^seed)
}

// SumAndSeal puts the checksum of payload into the low half of the seventh word, which is zero, then
// seals, and gives the checksum of payload.
func (w *Words) SumAndSeal(seed uint32, payload []byte) uint32 {
	if !fast {
		return w.sumAndSealSlow(seed, payload)
	}
	return sumAndSeal(w, ^seed, payload)
}

// CopySumAndSeal is a copy of payload to dst, which is as long at least, and SumAndSeal. For what one record
// takes it costs no more than SumAndSeal alone.
func (w *Words) CopySumAndSeal(seed uint32, dst, payload []byte) uint32 {
	if n := len(payload); fast && !watched && n >= copiedMin && n < copiedMax && n&7 == 0 {
		return copySumAndSeal(w, ^seed, &dst[:n][0], payload)
	}
	copy(dst[:len(payload)], payload)
	return w.SumAndSeal(seed, payload)
}
