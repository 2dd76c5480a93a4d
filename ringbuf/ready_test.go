package ringbuf

import "testing"

// TestSlabReady follows one entry: claimed is not ready, committed is, released is not, and neither
// an aborted entry nor a full slab is overlooked.
func TestSlabReady(t *testing.T) {
	s, err := NewSlab(minSlab)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, want bool) {
		t.Helper()
		if got := s.Ready(); got != want {
			t.Errorf("%s: Ready() = %v, want %v", when, got, want)
		}
	}
	check("empty", false)
	e, _ := s.TryClaim(16)
	check("claimed", false)
	s.Commit(e)
	check("committed", true)
	s.Next()
	s.Release()
	check("released", false)
	e, _ = s.TryClaim(16)
	s.Abort(e)
	check("aborted", true)
	s.Next()
	check("skipped", false)
	for {
		e, ok := s.TryClaim(s.MaxEntry() - headerSize)
		if !ok {
			break
		}
		s.Commit(e)
	}
	check("full", true)
}
