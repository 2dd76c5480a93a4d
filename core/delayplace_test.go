package core

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestDelayPlaces(t *testing.T) {
	want := []DelayPlace{{Due: -1}, {0, 0, 0}, {5, 0, 9}, {5, 1, 2}, {5, 1, 3}, {5, 65535, 1}, {6, 0, 0}}
	got := slices.Clone(want)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, DelayPlace.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("sorted %v, want %v", got, want)
	}
	for _, p := range want[1:] {
		if again, err := ParseDelayPlace(p.String()); again != p || err != nil {
			t.Errorf("ParseDelayPlace(%v) = %v, %v", p, again, err)
		}
	}
	if p, err := ParseDelayPlace(""); p.Compare(want[0]) != 0 || err != nil {
		t.Errorf("the empty place is %v, %v", p, err)
	}
	for _, text := range []string{"1.2", "1.2.3.4", "-1.0.0", "1.65536.0", "1.0.-1", "01.0.0", "1.+1.0", "1.0.x",
		" 1.0.0", "9223372036854775808.0.0"} {
		if p, err := ParseDelayPlace(text); CodeOf(err) != CodeInvalidConfig || err == nil {
			t.Errorf("ParseDelayPlace(%q) = %v, %v; want CodeInvalidConfig", text, p, err)
		}
	}
	// What is listed by a place on a node is what comes before it, or is it.
	for _, at := range want {
		for _, p := range want {
			listed := DelayEntry{Due: p.Due, Offset: p.Offset}.Compare(at.On(p.Node)) <= 0
			if p.Due >= 0 && listed != (p.Compare(at) <= 0) {
				t.Errorf("%v is listed by %v: %v", p, at, listed)
			}
		}
	}
}

// FuzzDelayPlace: what is read is written in the same way.
func FuzzDelayPlace(f *testing.F) {
	f.Add("1767225600000.1.42")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseDelayPlace(text)
		if err == nil && text != "" && (p.String() != text || p.Due < 0 || p.Offset < 0) {
			t.Errorf("%q became %+v", text, p)
		}
	})
}
