package routing

import (
	"math"
	"slices"
	"testing"
)

func TestStickyTurns(t *testing.T) {
	tests := []struct {
		name    string
		seed    uint64
		records []int // bytes
		want    []int32
	}{
		{"stays until the bytes are reached", 0,
			[]int{StickyBytes - 2, 1, 1, 1}, []int32{0, 0, 0, 1}},
		{"the record that passes the mark does not move", 0,
			[]int{StickyBytes - 1, 1000, 1}, []int32{0, 0, 1}},
		{"starts at the seed", 5,
			[]int{1, StickyBytes, 1}, []int32{2, 2, 0}},
		{"a large record takes one turn", 0,
			[]int{StickyBytes, 16 << 20, 1}, []int32{0, 1, 2}},
		{"a length past all bounds", 1,
			[]int{1, math.MaxInt, math.MaxInt, 1}, []int32{1, 1, 2, 0}},
		{"the seed wraps", math.MaxUint64,
			[]int{StickyBytes, 1}, []int32{0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sticky, table := NewSticky(tt.seed), table(t, 3)
			var got []int32
			for _, bytes := range tt.records {
				got = append(got, sticky.Partition(table, bytes))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("records of %v bytes went to %v, want %v", tt.records, got, tt.want)
			}
		})
	}
}

func TestStickyLeavesEvenOnEmptyRecords(t *testing.T) {
	for _, bytes := range []int{0, -1} {
		sticky, table := NewSticky(0), table(t, 2)
		for range StickyBytes {
			sticky.Partition(table, bytes)
		}
		if got := sticky.Partition(table, bytes); got != 1 {
			t.Errorf("after %d records of %d bytes: partition %d, want 1", StickyBytes, bytes, got)
		}
	}
}

// TestStickyIsEven: over whole rounds every partition gets exactly its share, from any start.
func TestStickyIsEven(t *testing.T) {
	for _, partitions := range []int32{1, 2, 7, 100} {
		for seed := range uint64(partitions) {
			sticky, table := NewSticky(seed), table(t, partitions)
			held := make([]int, partitions)
			for range int(partitions) * 3 * StickyBytes / 1024 {
				held[sticky.Partition(table, 1024)] += 1024
			}
			for partition, bytes := range held {
				if bytes != 3*StickyBytes {
					t.Fatalf("seed %d: partition %d of %d got %d bytes, want %d",
						seed, partition, partitions, bytes, 3*StickyBytes)
				}
			}
		}
	}
}

// TestStickyFollowsATableThatShrinks: the answer stays in range when the next table has fewer
// partitions, as after a topic was deleted and made again.
func TestStickyFollowsATableThatShrinks(t *testing.T) {
	sticky := NewSticky(9)
	if got := sticky.Partition(table(t, 10), 1); got != 9 {
		t.Errorf("of 10 partitions: got %d, want 9", got)
	}
	if got := sticky.Partition(table(t, 4), 1); got != 1 {
		t.Errorf("of 4 partitions: got %d, want 1", got)
	}
}

func BenchmarkSticky(b *testing.B) {
	sticky, table := NewSticky(0), table(b, 48)
	b.ReportAllocs()
	for b.Loop() {
		sink += sticky.Partition(table, 64)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
