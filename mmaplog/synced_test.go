package mmaplog

import (
	"testing"
)

// TestSyncedIsTold: of each round that made something durable, with the records.
func TestSyncedIsTold(t *testing.T) {
	told := make(chan [2]int64, 8)
	synced := func(took, records int64) { told <- [2]int64{took, records} }
	s, err := Open(Heap(), "data", Options{Synced: synced})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	durable := make(chan int64, 8)
	l, err := s.OpenLog(16, 0, LogOptions{Durable: func(end int64, _ error) { durable <- end }})
	if err != nil {
		t.Fatal(err)
	}
	if l.AppendedBytes() != 0 {
		t.Errorf("%d bytes of an empty log", l.AppendedBytes())
	}
	if _, err := l.Append(1, make([]byte, 64), 3); err != nil {
		t.Fatal(err)
	}
	l.RequestSync()
	if end := <-durable; end != 3 {
		t.Errorf("durable end %d; want 3", end)
	}
	if got := <-told; got[0] < 0 || got[1] != 3 {
		t.Errorf("told %v; want 3 records", got)
	}
	if n := l.AppendedBytes(); n < 128 {
		t.Errorf("%d bytes appended; want a header and 64 bytes at least", n)
	}
}
