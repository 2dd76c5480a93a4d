package mmaplog

import (
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

func TestLowSpace(t *testing.T) {
	for total, want := range map[int64]int64{
		0: 0, 16 << 20: 16 << 20 / 20, 1 << 30: 1 << 30 / 20, 80 << 30: 4 << 30, 1 << 50: 4 << 30,
	} {
		if got := lowSpace(total); got != want {
			t.Errorf("lowSpace(%d) = %d, want %d", total, got, want)
		}
	}
}

// TestLowSpaceRefusesNewSegments: below 5 % free what needs a new segment is refused, what fits is taken,
// reads go on, and it ends at 10 %, not before.
func TestLowSpaceRefusesNewSegments(t *testing.T) {
	const total = 100 << 20
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			fs := Heap()
			s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
			l := openLog(t, s, level)
			fs.SizeSpace(total/20+core.MinSegmentBytes, total) // for one segment
			var kept []string
			var err error
			for _, v := range numbered(1000, 1000) {
				if err = appendValue(l, v); err != nil {
					break
				}
				kept = append(kept, v)
			}
			wantCode(t, "append that needs a segment", err, core.CodeStorageFull)
			if !core.Retryable(err) || l.Fenced() != nil || !s.LowOnSpace() {
				t.Errorf("error %v, fence %v, low %v", err, l.Fenced(), s.LowOnSpace())
			}
			if len(kept) < 200 || len(kept) > 260 {
				t.Errorf("%d records were taken, want those of one segment", len(kept))
			}
			appendValues(t, l, "small") // fits what is left
			kept = append(kept, "small")
			wantValues(t, l, kept...)

			large := numbered(1, 20_000)[0]
			fs.SizeSpace(total/10+core.MinSegmentBytes-1, total)
			wantCode(t, "append below 10 %", appendValue(l, large), core.CodeStorageFull)
			if !s.LowOnSpace() {
				t.Error("refuses and does not say so")
			}
			fs.SizeSpace(total/10+10*core.MinSegmentBytes, total)
			if s.LowOnSpace() {
				t.Error("still refusing before somebody tries")
			}
			appendValues(t, l, large)
			wantValues(t, l, append(kept, large)...)
		})
	}
}

// TestLowSpaceLeavesRecycling: a log at its retention goes on where no file may be made.
func TestLowSpaceLeavesRecycling(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes,
		RetentionBytes: 600 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if i == 100 {
			fs.SizeSpace(1000, 100<<20)
		}
		appendValues(t, l, numbered(40, 1000)...)
		settle(s, l)
	}
	wantCode(t, "a new file", s.admitFile(core.MinSegmentBytes), core.CodeStorageFull)
}

// TestMapBudget: with more logs than maps all of them work, and the budget holds.
func TestMapBudget(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{Clock: clock.NewManual(1), MapBudget: 64})
	var logs []*Log
	for i := range 200 {
		l, err := s.OpenLog(uint64(16+i), 0, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, l)
		appendValues(t, l, "first")
		if n := s.maps.used.Load(); n > 64 {
			t.Fatalf("%d maps", n)
		}
	}
	for range 3 {
		for _, l := range logs[:20] {
			appendValues(t, l, numbered(100, 1000)...)
		}
	}
	for i, l := range logs {
		want := []string{"first"}
		if i < 20 {
			for range 3 {
				want = append(want, numbered(100, 1000)...)
			}
		}
		wantValues(t, l, want...)
	}
}

// TestScarceMapsAreGivenUp: where maps are few the segments a log has left give theirs up early.
func TestScarceMapsAreGivenUp(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{Clock: clock.NewManual(1), MapBudget: 64})
	l := openLog(t, s, core.AckPage)
	for range 60 {
		appendValues(t, l, numbered(250, 1000)...)
		settle(s, l)
	}
	drainJanitor(s)
	if n := s.maps.used.Load(); n >= 64 || !l.w.mapped {
		t.Errorf("%d maps, the current segment is mapped: %v", n, l.w.mapped)
	}
}

// TestMapsOfLeastUseAreGivenUp: what is read stays mapped, what nobody looks at goes.
func TestMapsOfLeastUseAreGivenUp(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{Clock: clock.NewManual(1), MapBudget: 64, HotBytes: 1 << 30})
	l := openLog(t, s, core.AckPage)
	r := l.Reader(0)
	defer r.Close()
	for range 55 {
		appendValues(t, l, numbered(60, 4000)...)
		if err := l.Roll(); err != nil {
			t.Fatal(err)
		}
		settle(s, l)
		r.Seek(0)
		run, err := r.NextPinned(l.End()) // of the first segment
		if err != nil || run == nil {
			t.Fatal(run, err)
		}
		run.Release()
	}
	drainJanitor(s)
	mapped := func(s *segment) bool { return s.live.Load() != nil }
	list := *l.segs.Load()
	n := len(list)
	if !mapped(list[0]) || mapped(list[1]) || mapped(list[2]) || !mapped(list[n-2]) || !mapped(list[n-1]) {
		t.Errorf("of %d segments: first %v, %v, %v, last %v, %v", n, mapped(list[0]), mapped(list[1]),
			mapped(list[2]), mapped(list[n-2]), mapped(list[n-1]))
	}
}
