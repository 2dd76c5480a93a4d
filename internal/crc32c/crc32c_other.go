//go:build !amd64 || leat_noasm

package crc32c

// Update adds p to a checksum.
func Update(crc uint32, p []byte) uint32 { return updateSlow(crc, p) }

// Header is the checksum of the first four bytes of header and of those from the ninth on, added to seed.
func Header(seed uint32, header *[64]byte) uint32 { return headerSlow(seed, header) }

// Seal puts the checksum of the rest, added to seed, into the high half of the first word.
func (w *Words) Seal(seed uint32) { w.sealSlow(seed) }

// SumAndSeal puts the checksum of payload into the low half of the seventh word, which is zero, then
// seals, and gives the checksum of payload.
func (w *Words) SumAndSeal(seed uint32, payload []byte) uint32 {
	return w.sumAndSealSlow(seed, payload)
}

// CopySumAndSeal is a copy of payload to dst, which is as long at least, and SumAndSeal.
func (w *Words) CopySumAndSeal(seed uint32, dst, payload []byte) uint32 {
	copy(dst[:len(payload)], payload)
	return w.sumAndSealSlow(seed, payload)
}
