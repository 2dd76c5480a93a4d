package ringbuf

import (
	"bytes"
	"testing"
)

// TestSlabTakeOwn walks a slab several laps with entries that their producer takes itself, in between
// entries that are committed and aborted.
func TestSlabTakeOwn(t *testing.T) {
	s, err := NewSlab(minSlab)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		other, ok := s.TryClaim(i % 200)
		if !ok {
			t.Fatalf("no room for entry %d", i)
		}
		own, ok := s.TryClaim(1 + i%300)
		if !ok {
			t.Fatalf("no room for own entry %d", i)
		}
		for at := range own.Bytes {
			if own.Bytes[at] != 0 {
				t.Fatalf("entry %d: byte %d is not zero", i, at)
			}
			own.Bytes[at] = byte(i) | 1
		}
		if s.TakeOwn(own) {
			t.Fatalf("entry %d was taken before the one claimed earlier", i)
		}
		if i%2 == 0 {
			s.Abort(other)
		} else {
			s.Commit(other)
			if _, ok := s.Next(); !ok {
				t.Fatalf("entry before own entry %d not found", i)
			}
		}
		if got, ok := s.Next(); ok {
			t.Fatalf("Next = %d bytes, the next entry is not committed", len(got))
		}
		if s.More() {
			t.Fatalf("entry %d: there is more before own entry", i)
		}
		if !s.TakeOwn(own) {
			t.Fatalf("own entry %d was not taken", i)
		}
		if want := bytes.Repeat([]byte{byte(i) | 1}, 1+i%300); !bytes.Equal(own.Bytes, want) {
			t.Fatalf("own entry %d changed", i)
		}
		if s.Empty() {
			t.Fatalf("entry %d: the slab is empty before the release", i)
		}
		s.Release()
		if !s.Empty() {
			t.Fatalf("%d bytes left after entry %d", s.Pending(), i)
		}
	}
	for at, b := range s.bytes {
		if b != 0 {
			t.Fatalf("byte %d of the empty slab is %d", at, b)
		}
	}
}
