package routing

import "fmt"

const (
	// slotBits is how many leading bits of a hash name its slot.
	slotBits = 14
	// Slots is the number of slots of a topic.
	Slots = 1 << slotBits
	// PartitionsMax is the largest number of partitions of a topic: each needs a slot of its own.
	PartitionsMax = Slots
)

// Slot returns the slot of a hash, in [0, Slots).
func Slot(hash uint64) int32 { return int32(hash >> (64 - slotBits)) }

// Table maps slots to the partitions of one topic. It is immutable and may be used by any number of
// goroutines. The zero Table has one partition.
type Table struct {
	last int32 // highest partition
}

// NewTable returns the table of a new topic: slot s belongs to partition s·partitions/Slots, rounded
// down. It refuses counts outside [1, PartitionsMax].
func NewTable(partitions int32) (Table, error) {
	if partitions < 1 || partitions > PartitionsMax {
		return Table{}, fmt.Errorf("routing: %d partitions: want 1 to %d", partitions, PartitionsMax)
	}
	return Table{last: partitions - 1}, nil
}

// Partitions returns the number of partitions.
func (t Table) Partitions() int32 { return t.last + 1 }

// Partition returns the partition, in [0, Partitions), that owns slot. It panics if slot is not in
// [0, Slots), which Slot never returns.
func (t Table) Partition(slot int32) int32 {
	if uint32(slot) >= Slots {
		panic("routing: slot out of range")
	}
	// At most 2^14 times 2^14: no overflow.
	return slot * (t.last + 1) >> slotBits
}
