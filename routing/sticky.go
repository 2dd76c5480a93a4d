package routing

// StickyBytes is how many bytes Sticky sends to one partition before it turns to the next.
const StickyBytes = 64 << 10

// Sticky spreads records without a key: it stays with one partition until StickyBytes went there, so
// that batches fill, then takes the next, so that every partition gets its share. It belongs to one
// goroutine. The zero Sticky starts at partition 0.
//
// source: KIP-480, KIP-794
type Sticky struct {
	turn uint64 // counts partitions, modulo their number
	sent int    // bytes of this turn, less than StickyBytes between calls
}

// NewSticky returns a Sticky that starts at partition seed modulo the number of partitions. Producers
// with seeds of their own do not move over the partitions in step.
func NewSticky(seed uint64) Sticky { return Sticky{turn: seed} }

// Partition returns the partition of t for the next record, which is recordBytes long on the wire. The
// record that reaches StickyBytes still goes to the old partition; one of no bytes counts as one.
func (s *Sticky) Partition(t Table, recordBytes int) int32 {
	partition := int32(s.turn % uint64(t.Partitions()))
	// The clamp keeps sent from overflowing, whatever length is passed in.
	s.sent += min(max(recordBytes, 1), StickyBytes)
	if s.sent >= StickyBytes {
		s.turn++
		s.sent = 0
	}
	return partition
}
