package mmaplog

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// keepsAll is a power cut that takes nothing.
type keepsAll struct{}

func (keepsAll) begin()         {}
func (keepsAll) survives() bool { return true }

// startScene is a log at page of a few segments, of which the first so many were made durable.
func startScene(t *testing.T, durable int) (*MemFS, []string) {
	t.Helper()
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(5)}) // no time passes: nothing syncs by itself
	l := openLog(t, s, core.AckPage)
	for i := range 3 {
		if i > 0 {
			if err := l.roll(0); err != nil { // unlike Roll it asks for no sync
				t.Fatal(err)
			}
		}
		appendValues(t, l, numbered(3, 50)...)
		if i < durable {
			syncNow(l)
		}
	}
	var paths []string
	for _, seg := range *l.segs.Load() {
		paths = append(paths, seg.path)
	}
	drainJanitor(s)
	return fs.crash(keepsAll{}), paths
}

// TestLostStart: a power cut kept later segments of a new log and not its first one.
func TestLostStart(t *testing.T) {
	for _, tt := range []struct {
		name    string
		durable int
		spoil   func(t *testing.T, fs *MemFS, first string)
		start   int64
		cut     int
	}{
		{"nothing was durable", 0, func(*testing.T, *MemFS, string) {}, 0, 2},
		{"nobody knows", 0, func(t *testing.T, fs *MemFS, _ string) {
			if err := fs.Remove("data/MANIFEST"); err != nil {
				t.Fatal(err)
			}
		}, 3, 0},
		{"the state is damaged", 0, func(_ *testing.T, fs *MemFS, first string) {
			fs.put(filepath.Join(filepath.Dir(first), stateName), []byte("?"))
		}, 3, 0},
		{"the state has the offsets reserved", 0, func(_ *testing.T, fs *MemFS, first string) {
			file := stateFile{ceiling: 100}
			fs.put(filepath.Join(filepath.Dir(first), stateName), file.encode(16, 0))
		}, 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs, paths := startScene(t, tt.durable)
			if err := fs.Remove(paths[0]); err != nil {
				t.Fatal(err)
			}
			_ = fs.Remove(filepath.Join(filepath.Dir(paths[0]), stateName))
			tt.spoil(t, fs, paths[0])
			s := openTest(t, fs, "data", Options{Clock: clock.NewManual(6)})
			l := openLog(t, s, core.AckPage)
			if l.Start() != tt.start || tt.start == 0 && l.End() != 0 {
				t.Fatalf("[%d, %d), want %d: %+v", l.Start(), l.End(), tt.start, l.Recovery())
			}
			names, err := fs.ReadDir(l.dir)
			if err != nil {
				t.Fatal(err)
			}
			aside := slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".cut") })
			if len(aside) != tt.cut || (l.Recovery().CutBytes > 0) != (tt.cut > 0) {
				t.Fatalf("set aside %v: %+v", aside, l.Recovery())
			}
			appendValues(t, l, "new")
			end := l.End()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, fs, "data", Options{Clock: clock.NewManual(7)})
			l = openLog(t, s, core.AckPage)
			if l.Start() != tt.start || l.End() != end || l.Recovery().CutBytes != 0 {
				t.Fatalf("again: [%d, %d): %+v", l.Start(), l.End(), l.Recovery())
			}
		})
	}
}

// TestTrimmedStartIsKept: the first segments were trimmed as soon as they could be, before anything else told
// of durable records, and the manifest is a new one that has heard nothing of it.
func TestTrimmedStartIsKept(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(5)})
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, numbered(3, 50)...)
	if err := l.roll(0); err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, numbered(3, 50)...)
	syncNow(l)
	if err := l.TrimTo(3); err != nil {
		t.Fatal(err)
	}
	drainJanitor(s)
	after := fs.crash(keepsAll{})
	if err := after.Remove("data/MANIFEST"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first time there is no manifest, the second time one that is new
		s := openTest(t, after, "data", Options{Clock: clock.NewManual(6)})
		l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes})
		if err != nil || l.Start() != 3 || l.End() != 6 {
			t.Fatalf("%v; [%d, %d): %+v", err, l.Start(), l.End(), l.Recovery())
		}
		after = after.crash(keepsAll{})
	}
}

// TestUselessFileBehindATruncation: a power cut left frames of the newest segment, nothing of which was
// durable, without their header. They tell what was durable when they were written, so they must not lie
// there when the log ends before that.
func TestUselessFileBehindATruncation(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(5)})
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, numbered(3, 50)...)
	syncNow(l)
	if err := l.roll(0); err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, numbered(3, 50)...)
	newest := (*l.segs.Load())[1].path
	drainJanitor(s)
	fs = fs.crash(keepsAll{})
	fs.put(newest, append(make([]byte, headerSize), fs.content(newest)[headerSize:]...))
	if err := fs.Remove("data/MANIFEST"); err != nil {
		t.Fatal(err)
	}

	s = openTest(t, fs, "data", Options{Clock: clock.NewManual(6)})
	l = openLog(t, s, core.AckPage)
	if l.Start() != 0 || l.End() != 3 {
		t.Fatalf("[%d, %d), want [0, 3): %+v", l.Start(), l.End(), l.Recovery())
	}
	names, err := fs.ReadDir(filepath.Dir(newest))
	if aside := filepath.Base(newest) + ".cut"; err != nil || !slices.Contains(names, aside) {
		t.Errorf("the frames without a header were not set aside: %q, %v", names, err)
	}
	if err := errors.Join(l.TruncateSuffix(1, 0), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, fs, "data", Options{Clock: clock.NewManual(7)})
	if l = openLog(t, s, core.AckPage); l.End() != 1 {
		t.Fatalf("truncated: [%d, %d): %+v", l.Start(), l.End(), l.Recovery())
	}
}
