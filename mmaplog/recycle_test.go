package mmaplog

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// opCount counts the operations of a MemFS.
type opCount struct {
	mu    sync.Mutex
	count map[string]int // guarded by mu
}

func countOps(fs *MemFS) *opCount {
	c := &opCount{count: map[string]int{}}
	fs.Hook(func(op, _ string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.count[op]++
	})
	return c
}

func (c *opCount) of(op string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[op]
}

// settle waits until the preparer and the janitor have done what they were asked for.
func settle(s *Store, l *Log) {
	syncNow(l)
	drainJanitor(s)
	drainJanitor(s) // a trim leaves files to another job
	l.prep.mu.Lock()
	for l.prep.busy != nil || l.prep.queued {
		if l.prep.busy != nil {
			l.prep.awaitLocked()
		} else {
			l.prep.mu.Unlock()
			runtime.Gosched()
			l.prep.mu.Lock()
		}
	}
	l.prep.mu.Unlock()
}

// TestSteadyRetentionMakesNoFile: once a log has as many segments as it keeps, its files go round.
func TestSteadyRetentionMakesNoFile(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			fs := Heap()
			s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
			l, err := s.OpenLog(16, 0, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes,
				RetentionBytes: 600 << 10})
			if err != nil {
				t.Fatal(err)
			}
			round := func(n int) (last []string) {
				for range n {
					last = numbered(40, 1000)
					appendValues(t, l, last...)
					settle(s, l)
				}
				return last
			}
			round(150)
			ops := countOps(fs)
			last := round(200)
			fs.Hook(nil)
			if l.Start() < 8000 || ops.of("rename") < 60 {
				t.Fatalf("start %d, %d renames: the log did not roll as expected", l.Start(), ops.of("rename"))
			}
			// The pool needs one file more the first time the preparer is faster than the janitor.
			if n := ops.of("create"); n > 1 {
				t.Errorf("%d files were made in steady state", n)
			}
			if n := ops.of("remove"); n != 0 {
				t.Errorf("%d files were deleted in steady state", n)
			}
			values, err := readValues(l)
			if err != nil || len(values) < len(last) {
				t.Fatalf("read %d values: %v", len(values), err)
			}
			for i, v := range last {
				if got := values[len(values)-len(last)+i]; got != v {
					t.Fatalf("value %d = %.30q, want %.30q", i, got, v)
				}
			}
		})
	}
}

// TestRecycledSegmentsReopen: what an earlier life of a file left behind is never read, neither behind the
// end of the log nor behind that of a segment with a successor, and is not reported as cut.
func TestRecycledSegmentsReopen(t *testing.T) {
	for _, level := range bothSinks {
		for _, size := range []int{1003, 30_000} {
			t.Run(fmt.Sprint(level, size), func(t *testing.T) {
				fs := Heap()
				o := LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes, RetentionBytes: 600 << 10}
				next := 0
				for life := range 3 {
					s := openTest(t, fs, "data", Options{Clock: clock.NewManual(int64(life))})
					l, err := s.OpenLog(16, 0, o)
					if err != nil {
						t.Fatal(err)
					}
					if l.End() != int64(next) || l.Recovery().CutBytes != 0 {
						t.Fatalf("life %d: end %d, want %d: %+v", life, l.End(), next, l.Recovery())
					}
					for range 40 {
						for range max(1, 60_000/size) {
							// Of different lengths, so that stale frames lie at other places than new ones.
							appendValues(t, l, fmt.Sprintf("%d-%0*d", next, size+next%7*8, next))
							next++
						}
						settle(s, l)
					}
					values, err := readValues(l)
					if err != nil || l.Start()+int64(len(values)) != l.End() {
						t.Fatalf("life %d: read %d values from %d: %v", life, len(values), l.Start(), err)
					}
					for i, v := range values {
						n := int(l.Start()) + i
						if want := fmt.Sprintf("%d-%0*d", n, size+n%7*8, n); v != want {
							t.Fatalf("offset %d = %.30q", n, v)
						}
					}
					recycled := func(s *segment) bool { return s.header.recycled }
					if list := *l.segs.Load(); !slices.ContainsFunc(list, recycled) {
						t.Fatalf("life %d: none of %d segments is recycled", life, len(list))
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// TestPooledFileMovesBetweenLogs: a log gets the file another one dropped.
func TestPooledFileMovesBetweenLogs(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, numbered(600, 1000)...)
	settle(s, l)
	if err := l.TrimTo(l.End()); err != nil {
		t.Fatal(err)
	}
	drainJanitor(s)
	other, err := s.OpenLog(17, 3, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	values := numbered(300, 1000)
	appendValues(t, other, values...)
	if first := (*other.segs.Load())[0]; !first.header.recycled {
		t.Error("a file was made while there were some in the pool")
	}
	settle(s, other)
	after := fs.Crash(1) // all is synced: nothing may be missing
	wantValues(t, other, values...)
	s = openTest(t, after, "data", Options{Clock: clock.NewManual(2)})
	other, err = s.OpenLog(17, 3, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	wantValues(t, other, values...)
	l = openLog(t, s, core.AckPage)
	if l.End() != 600 {
		t.Errorf("end %d, want 600", l.End())
	}
}

func TestPoolIsBounded(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l := openLog(t, s, core.AckPage)
	for range 20 {
		appendValues(t, l, numbered(200, 1000)...)
		syncNow(l)
	}
	if err := l.TrimTo(l.End()); err != nil {
		t.Fatal(err)
	}
	settle(s, l)
	names, err := fs.ReadDir(l.dir)
	if err != nil || len(names) > l.Segments()+1+maxSpares+poolPerClass { // with the state
		t.Errorf("files %v, %v", names, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if names, err = fs.ReadDir(l.dir); err != nil || len(names) != 2 {
		t.Errorf("files after Close: %v, %v; want one segment and the state", names, err)
	}
}

// TestPinnedSegmentIsNotRecycled: whoever holds the map of a dropped segment keeps its bytes.
func TestPinnedSegmentIsNotRecycled(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, numbered(600, 1000)...)
	settle(s, l)
	res := (*l.segs.Load())[0].pinned()
	if res == nil {
		t.Fatal("the first segment is not open")
	}
	before := bytes.Clone(res.region.Bytes())
	if err := l.TrimTo(l.End()); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		appendValues(t, l, numbered(200, 900)...)
		settle(s, l)
		if err := l.TrimTo(l.End()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(res.region.Bytes(), before) {
		t.Error("the bytes of a pinned segment changed")
	}
	res.unpin()
}

// TestColdReaderOfARecycledFile: a reader that has the file of a trimmed segment open learns that its offset
// is gone, not that something is damaged.
func TestColdReaderOfARecycledFile(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1), NoMap: true})
	l := openLog(t, s, core.AckDisk)
	appendValues(t, l, numbered(600, 1000)...)
	settle(s, l)
	r := l.Reader(0)
	defer r.Close()
	if run, err := r.Next(l.End()); err != nil || len(run) == 0 || r.file == nil {
		t.Fatalf("read %d bytes: %v", len(run), err)
	}
	if err := l.TrimTo(l.End()); err != nil {
		t.Fatal(err)
	}
	drainJanitor(s)
	for range 8 { // more than there are spares
		appendValues(t, l, numbered(300, 900)...)
		settle(s, l)
	}
	// As if the trim had come between the check of the start and the read.
	if _, more, err := r.step(l.End()); more || core.CodeOf(err) != core.CodeOffsetOutOfRange {
		t.Errorf("read = %v, %v, want CodeOffsetOutOfRange", more, err)
	}
}

// TestBlankFileIsNoSegment: a spare that got the name of a segment, and nothing else, is ignored although it
// is full of the frames of an earlier one.
func TestBlankFileIsNoSegment(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l := openLog(t, s, core.AckDisk)
	values := numbered(600, 1000)
	appendValues(t, l, values...)
	settle(s, l)
	if err := l.TrimTo(l.End()); err != nil {
		t.Fatal(err)
	}
	drainJanitor(s)
	start := l.Start()
	p := l.reuse(core.MinSegmentBytes)
	if p == nil {
		t.Fatal("nothing was recycled")
	}
	if err := fs.Rename(p.path, filepath.Join(l.dir, segmentName(l.End(), p.id))); err != nil {
		t.Fatal(err)
	}
	p.res.unpin()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, openTest(t, fs, "data", Options{Clock: clock.NewManual(2)}), core.AckDisk)
	wantValues(t, l, values[start:]...)
	appendValues(t, l, "more")
	wantValues(t, l, append(values[start:], "more")...)
}
