package benchkit

import (
	"math/rand/v2"
	"testing"
)

func TestSequences(t *testing.T) {
	tests := []struct {
		name      string
		observed  []uint64
		published uint64
		want      Verdict
	}{
		{"nothing at all", nil, 0, Verdict{}},
		{"nothing of three", nil, 3, Verdict{Lost: 3}},
		{"all in order", []uint64{0, 1, 2}, 3, Verdict{Delivered: 3}},
		{"one missing inside", []uint64{0, 2, 3}, 4, Verdict{Delivered: 3, Lost: 1}},
		{"one missing at the end", []uint64{0, 1}, 3, Verdict{Delivered: 2, Lost: 1}},
		{"one missing at the start", []uint64{1, 2}, 3, Verdict{Delivered: 2, Lost: 1}},
		{"one twice", []uint64{0, 1, 1, 2}, 3, Verdict{Delivered: 4, Duplicated: 1}},
		{"old one twice", []uint64{0, 1, 2, 0}, 3, Verdict{Delivered: 4, Duplicated: 1}},
		{"two swapped", []uint64{0, 2, 1, 3}, 4, Verdict{Delivered: 4, Reordered: 1}},
		{"late and twice", []uint64{1, 0, 0}, 2, Verdict{Delivered: 3, Reordered: 1, Duplicated: 1}},
		{"three turned round", []uint64{2, 1, 0}, 3, Verdict{Delivered: 3, Reordered: 2}},
		{"a wide gap", []uint64{0, 100}, 101, Verdict{Delivered: 2, Lost: 99}},
		{"invented", []uint64{0, 1, 2}, 2, Verdict{Delivered: 3, Duplicated: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewSequences(2)
			for _, sequence := range tt.observed {
				s.Observe(1, sequence)
			}
			if got := s.Against([]uint64{0, tt.published}); got != tt.want {
				t.Errorf("Against(%d) after %v = %+v; want %+v", tt.published, tt.observed, got, tt.want)
			}
		})
	}
}

func TestSequencesOfUnknownKey(t *testing.T) {
	if NewSequences(4).Observe(4, 0) {
		t.Error("Observe of key 4 of 4 = true; want false")
	}
}

func TestSeenDoesNotMissWhatFollows(t *testing.T) {
	s := NewSequences(1)
	s.Observe(0, 0)
	s.Observe(0, 2)
	want := Verdict{Delivered: 2, Lost: 1}
	if got := s.Seen(); got != want {
		t.Errorf("Seen() = %+v; want %+v", got, want)
	}
}

// TestSequencesAgainstAModel compares with sets and lists, for streams that are at most 32 late.
func TestSequencesAgainstAModel(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := NewSequences(1)
		var want Verdict
		seen, highest := map[uint64]bool{}, int64(-1)
		for range 400 {
			sequence := uint64(max(0, highest+1+int64(random.IntN(4))-int64(random.IntN(5))*int64(random.IntN(8))))
			s.Observe(0, sequence)
			want.Delivered++
			switch {
			case seen[sequence]:
				want.Duplicated++
			case int64(sequence) < highest:
				want.Reordered++
			}
			seen[sequence] = true
			highest = max(highest, int64(sequence))
		}
		want.Lost = highest + 1 - int64(len(seen))
		if got := s.Seen(); got != want {
			t.Fatalf("seed %d: Seen() = %+v; want %+v", seed, got, want)
		}
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	s, next := NewSequences(8), uint64(0)
	if n := testing.AllocsPerRun(1000, func() { s.Observe(3, next); next += 1 + next&1 }); n != 0 {
		t.Errorf("Observe allocates %v times; want 0", n)
	}
}
