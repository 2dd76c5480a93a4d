package routing

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// TestGolden freezes the way of a key to its partition. A failure means that existing topics would
// find their keys in other partitions: the code is wrong, not the table. The hashes are the published
// test vectors of xxHash.
func TestGolden(t *testing.T) {
	tests := []struct {
		key  string
		hash uint64
		slot int32
		p3   int32 // partition of 3
		p1k  int32 // partition of 1,000
	}{
		{"", 0xef46db3751d8e999, 15313, 2, 934},
		{"a", 0xd24ec4f1a98c6e5b, 13459, 2, 821},
		{"as", 0x1c330fb2d66be179, 1804, 0, 110},
		{"asd", 0x631c37ce72a97393, 6343, 1, 387},
		{"asdf", 0x415872f599cea71e, 4182, 0, 255},
		{"Call me Ishmael. Some years ago--never mind how long precisely-", 0x02a2e85470d6fd96, 168, 0, 10},
	}
	three, thousand := table(t, 3), table(t, 1000)
	for _, tt := range tests {
		hash := Hash([]byte(tt.key))
		if hash != tt.hash {
			t.Errorf("Hash(%q) = %#x, want %#x", tt.key, hash, tt.hash)
		}
		slot := Slot(hash)
		if slot != tt.slot {
			t.Errorf("Slot(%#x) = %d, want %d", hash, slot, tt.slot)
		}
		if got := three.Partition(slot); got != tt.p3 {
			t.Errorf("%q of 3 partitions: got %d, want %d", tt.key, got, tt.p3)
		}
		if got := thousand.Partition(slot); got != tt.p1k {
			t.Errorf("%q of 1,000 partitions: got %d, want %d", tt.key, got, tt.p1k)
		}
	}
}

func TestSlotBounds(t *testing.T) {
	tests := []struct {
		hash uint64
		want int32
	}{
		{0, 0},
		{1<<50 - 1, 0},
		{1 << 50, 1},
		{1 << 63, Slots / 2},
		{^uint64(0), Slots - 1},
	}
	for _, tt := range tests {
		if got := Slot(tt.hash); got != tt.want {
			t.Errorf("Slot(%#x) = %d, want %d", tt.hash, got, tt.want)
		}
	}
}

func TestNewTableBounds(t *testing.T) {
	for _, partitions := range []int32{-1 << 31, -1, 0, PartitionsMax + 1, 1<<31 - 1} {
		_, err := NewTable(partitions)
		if err == nil {
			t.Errorf("NewTable(%d) = nil error, want one", partitions)
			continue
		}
		for _, part := range []string{fmt.Sprint(partitions), "1 to 16384"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("NewTable(%d) = %q, want it to name %q", partitions, err, part)
			}
		}
	}
	var zero Table
	if zero.Partitions() != 1 || zero.Partition(Slots-1) != 0 {
		t.Errorf("zero Table: %d partitions, last slot in %d; want 1, 0",
			zero.Partitions(), zero.Partition(Slots-1))
	}
}

// TestTableIsEven checks every partition count: slots ascend over all partitions without a gap, and
// the shares differ by at most one.
func TestTableIsEven(t *testing.T) {
	step := int32(1)
	if testing.Short() {
		step = 37
	}
	for partitions := int32(1); partitions <= PartitionsMax; partitions += step {
		checkEven(t, table(t, partitions))
	}
	checkEven(t, table(t, PartitionsMax))
}

func checkEven(t *testing.T, table Table) {
	t.Helper()
	n := table.Partitions()
	least := Slots / n
	var current, held int32
	for slot := range int32(Slots) {
		partition := table.Partition(slot)
		if partition == current {
			held++
			continue
		}
		if partition != current+1 || held < least || held > least+1 {
			t.Fatalf("%d partitions: %d holds %d slots, then comes %d; want %d or one more, then the next",
				n, current, held, partition, least)
		}
		current, held = partition, 1
	}
	if current != n-1 || held < least {
		t.Fatalf("%d partitions: the last is %d with %d slots, want %d with at least %d",
			n, current, held, n-1, least)
	}
}

func TestPartitionPanicsOnABadSlot(t *testing.T) {
	for _, slot := range []int32{-1, Slots} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Partition(%d) did not panic", slot)
				}
			}()
			table(t, 4).Partition(slot)
		}()
	}
}

// TestKeysSpreadEvenly feeds the keys people really use, counters, to a busy topic: no partition may
// be off its share by more than 5 %. Binomial spread at this size is 1 %, so 5 % is five sigma.
func TestKeysSpreadEvenly(t *testing.T) {
	const partitions, perPartition = 64, 10_000
	makers := []struct {
		name string
		key  func(i int) []byte
	}{
		{"decimal", func(i int) []byte { return fmt.Append(nil, "user-", i) }},
		{"binary", func(i int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(i)) }},
		{"padded", func(i int) []byte { return fmt.Appendf(nil, "%036d", i) }},
	}
	for _, maker := range makers {
		t.Run(maker.name, func(t *testing.T) {
			table := table(t, partitions)
			var held [partitions]int
			for i := range partitions * perPartition {
				held[table.Partition(Slot(Hash(maker.key(i))))]++
			}
			for partition, n := range held {
				if n < perPartition*95/100 || n > perPartition*105/100 {
					t.Errorf("partition %d got %d keys of %d, want within 5 %%", partition, n, perPartition)
				}
			}
		})
	}
}

func TestRoutingAllocatesNothing(t *testing.T) {
	table, key := table(t, 48), []byte("order-4711")
	sticky := NewSticky(7)
	var sum int32
	allocs := testing.AllocsPerRun(1000, func() {
		sum += table.Partition(Slot(Hash(key))) + sticky.Partition(table, len(key))
	})
	if allocs != 0 {
		t.Errorf("%.1f allocations per key, want 0", allocs)
	}
	if sum == 0 {
		t.Error("every key went to partition 0")
	}
}

func table(t testing.TB, partitions int32) Table {
	t.Helper()
	table, err := NewTable(partitions)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

var sink int32

func BenchmarkPartition(b *testing.B) {
	for _, size := range []int{8, 16, 36, 128} {
		b.Run(fmt.Sprintf("key=%dB", size), func(b *testing.B) {
			table, key := table(b, 48), make([]byte, size)
			b.ReportAllocs()
			var i uint64
			for b.Loop() {
				i++
				binary.LittleEndian.PutUint64(key, i)
				sink += table.Partition(Slot(Hash(key)))
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}
