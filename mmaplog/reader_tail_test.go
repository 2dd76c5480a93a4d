package mmaplog

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestReaderAtTheEnd follows a writer frame by frame, through segments and syncs, with several frames
// between two reads now and then. It must see every frame once, and hold a map only until it rests.
func TestReaderAtTheEnd(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	l := openLog(t, s, core.AckPage)
	r := l.Reader(0)
	defer r.Close()
	next, held := 0, 0
	const n = 20_000
	for i := 0; i < n; {
		for range 1 + i%3 {
			appendValues(t, l, fmt.Sprintf("%0*d", 8+i%100, i))
			i++
		}
		for r.Offset() < l.End() {
			run, err := r.Next(l.End())
			if err != nil {
				t.Fatal(err)
			}
			for ; len(run) > 0; next++ {
				h := core.ParseFrameHeader(run)
				if h.BaseOffset != int64(next) || h.Records != 1 {
					t.Fatalf("frame of offset %d with %d records, want offset %d", h.BaseOffset, h.Records, next)
				}
				record, _, err := core.DecodeRecord(run[core.FrameHeaderSize:h.Length])
				want := fmt.Appendf(nil, "%0*d", len(record.Value), next)
				if err != nil || !bytes.Equal(record.Value, want) {
					t.Fatalf("offset %d: value %q, error %v", next, record.Value, err)
				}
				run = run[h.Size():]
			}
		}
		if r.held != nil {
			held++
		}
		switch {
		case i%1000 < 3:
			syncNow(l)
		case i%777 < 3:
			res := r.seg.live.Load()
			before := res.pins.Load()
			if held := r.held != nil; held {
				r.Rest()
				if after := res.pins.Load(); after != before-1 {
					t.Fatalf("Rest at %d: %d pins, before it %d", i, after, before)
				}
			}
			r.Rest() // once more changes nothing
		case i%501 < 3:
			r.Seek(int64(next) - 1)
			next--
		}
	}
	if next < n {
		t.Errorf("read %d frames of %d", next, n)
	}
	if held < n/10 {
		t.Errorf("held the map at %d of %d reads", held, n)
	}
	if l.Segments() < 3 {
		t.Errorf("%d segments: too few to show anything", l.Segments())
	}
}

// TestReaderAtTheEndHasLimits shows that a reader that holds a map still stops at the limit, and at the end
// where the limit lies beyond.
func TestReaderAtTheEndHasLimits(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	l := openLog(t, s, core.AckPage)
	r := l.Reader(0)
	defer r.Close()
	appendValues(t, l, "a")
	if run, err := r.Next(1 << 40); err != nil || len(run) == 0 || r.held == nil {
		t.Fatalf("Next = %d bytes, %v; the map is held: %v", len(run), err, r.held != nil)
	}
	if run, err := r.Next(1 << 40); err != nil || run != nil {
		t.Fatalf("Next at the end = %d bytes, %v", len(run), err)
	}
	appendValues(t, l, "b", "c")
	if run, err := r.Next(2); err != nil || r.Offset() != 2 {
		t.Fatalf("Next(2) = %d bytes, %v, and the offset is %d", len(run), err, r.Offset())
	}
	if run, err := r.Next(1 << 40); err != nil || r.Offset() != 3 {
		t.Fatalf("Next = %d bytes, %v, and the offset is %d", len(run), err, r.Offset())
	}
}
