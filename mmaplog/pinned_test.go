package mmaplog

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestPinnedRunsOutliveTheLog keeps runs over appends, a trim and the end of the store: each stays what it
// was.
func TestPinnedRunsOutliveTheLog(t *testing.T) {
	for _, level := range []core.Ack{core.AckPage, core.AckDisk} {
		for name, fs := range map[string]FS{"os": OS(), "heap": Heap()} {
			t.Run(fmt.Sprint(level, "/", name), func(t *testing.T) {
				s := openTest(t, fs, t.TempDir(), Options{})
				l := openLog(t, s, level)
				values := numbered(scaled(240), 20<<10)
				appendValues(t, l, values[:len(values)/2]...)
				r := l.Reader(0)
				var runs []*Pinned
				var copies [][]byte
				for {
					run, err := r.NextPinned(l.End())
					if err != nil {
						t.Fatal(err)
					}
					if run == nil {
						break
					}
					runs = append(runs, run)
					copies = append(copies, slices.Clone(run.Bytes()))
				}
				appendValues(t, l, values[len(values)/2:]...)
				syncNow(l)
				if err := l.TrimTo(l.End()); err != nil || l.Start() == 0 {
					t.Fatal("nothing was trimmed", err)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				mapped, next := 0, 0
				for i, run := range runs {
					if run.Mapped() {
						mapped++
					}
					if !bytes.Equal(run.Bytes(), copies[i]) {
						t.Fatalf("run %d changed", i)
					}
					next = wantRun(t, run.Bytes(), values, next)
					run.Release()
				}
				if next != len(values)/2 {
					t.Errorf("read %d values, want %d", next, len(values)/2)
				}
				want := 0
				if level == core.AckPage && fs.Mappable(".") {
					want = min(maxPinned, len(runs))
				}
				if mapped != want {
					t.Errorf("%d of %d runs are parts of a map", mapped, len(runs))
				}
				if n := s.maps.used.Load(); n != 0 {
					t.Errorf("%d maps are left after the last release", n)
				}
			})
		}
	}
}

// wantRun compares the records of a run with values from next on, and gives the next after them.
func wantRun(t *testing.T, run []byte, values []string, next int) int {
	t.Helper()
	for len(run) > 0 {
		h := core.ParseFrameHeader(run)
		for records := run[core.FrameHeaderSize:h.Length]; len(records) > 0; next++ {
			rec, n, err := core.DecodeRecord(records)
			if err != nil {
				t.Fatal(err)
			}
			if string(rec.Value) != values[next] {
				t.Fatalf("record %d is %.40q", next, rec.Value)
			}
			records = records[n:]
		}
		run = run[h.Size():]
	}
	return next
}

// TestPinnedRunsAreBounded: released runs make room for new ones in the map, and a second Release of a run
// that was reused elsewhere does nothing.
func TestPinnedRunsAreBounded(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, numbered(3*maxPinned, 100)...)
	r := l.Reader(0)
	defer r.Close()
	take := func(limit int64) *Pinned {
		t.Helper()
		run, err := r.NextPinned(limit)
		if err != nil || run == nil {
			t.Fatal(run, err)
		}
		return run
	}
	var held []*Pinned
	for i := range maxPinned {
		held = append(held, take(int64(i+1)))
	}
	if run := take(maxPinned + 1); run.Mapped() {
		t.Error("a run too many is a part of the map")
	}
	held[0].Release()
	held[0].Release()
	if !take(maxPinned + 2).Mapped() {
		t.Error("no run of the map after one was released")
	}
	if run := take(maxPinned + 3); run.Mapped() {
		t.Error("a second Release made room")
	}
}

// TestPinnedReadsWhatNextReads interleaves the two ways of reading.
func TestPinnedReadsWhatNextReads(t *testing.T) {
	for _, options := range []Options{{}, {HotBytes: 64 << 10}, {NoMap: true}} {
		s := openTest(t, Heap(), "data", options)
		l := openLog(t, s, core.AckPage)
		values := numbered(400, 3000)
		appendValues(t, l, values...)
		r := l.Reader(0)
		defer r.Close()
		next := 0
		for i := 0; next < len(values); i++ {
			if i%3 == 0 {
				run, err := r.Next(l.End())
				if err != nil {
					t.Fatal(err)
				}
				next = wantRun(t, run, values, next)
				continue
			}
			run, err := r.NextPinned(min(l.End(), int64(next+1+i%40)))
			if err != nil {
				t.Fatal(err)
			}
			next = wantRun(t, run.Bytes(), values, next)
			run.Release()
		}
		if run, err := r.NextPinned(l.End()); run != nil || err != nil {
			t.Errorf("%v, %v behind the end", run, err)
		}
	}
}
