package mmaplog

import (
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// countingFS counts what is read from segments, and how often one is opened.
type countingFS struct {
	FS
	opened atomic.Int64
	read   atomic.Int64
}

func (c *countingFS) Open(name string, mode OpenMode) (File, error) {
	f, err := c.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	c.opened.Add(1)
	return &countingFile{f, c}, nil
}

type countingFile struct {
	File
	fs *countingFS
}

func (f *countingFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	f.fs.read.Add(int64(n))
	return n, err
}

// fillTimed appends batches of one record whose time is 10 times its offset.
func fillTimed(t testing.TB, l *Log, n, size int) {
	t.Helper()
	for i := range n {
		l.Begin(10 * int64(i))
		if _, err := l.Add(encodeRecord(string(make([]byte, size))), 1); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(); err != nil {
			t.Fatal(err)
		}
	}
	syncNow(l)
	drainJanitor(l.store)
}

// wantNear looks offsets and times up all over the log and checks what is found, and that it took little
// reading: the index of a segment, if it is not in memory, and a run.
func wantNear(t *testing.T, fs *countingFS, l *Log, each int64) {
	t.Helper()
	for offset := l.Start(); offset < l.End(); offset += each {
		before := fs.read.Load()
		r := l.Reader(offset)
		run, err := r.Next(l.End())
		if err != nil {
			t.Fatal(err)
		}
		if h := core.ParseFrameHeader(run); h.BaseOffset != offset {
			t.Fatalf("a reader at %d begins with %d", offset, h.BaseOffset)
		}
		_ = r.Close()
		if read := fs.read.Load() - before; read > 3*runBytes {
			t.Errorf("looking up offset %d read %d bytes", offset, read)
		}
		for _, at := range []int64{10 * offset, 10*offset - 9, 10*offset + 1} {
			before := fs.read.Load()
			got, err := l.OffsetAt(at)
			if want := (at + 9) / 10; got != want || err != nil {
				t.Errorf("OffsetAt(%d) = %d, %v, want %d", at, got, err, want)
			}
			if read := fs.read.Load() - before; read > 3*runBytes {
				t.Errorf("looking up time %d read %d bytes", at, read)
			}
		}
	}
}

func TestIndexBeginsNear(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			disk := Heap()
			fs := &countingFS{FS: disk}
			o := Options{Clock: clock.NewManual(1), HotBytes: 1, IndexBytes: 1 << 10}
			s := openTest(t, fs, "data", o)
			l, err := s.OpenLog(16, 0, LogOptions{Level: level, SegmentBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			n := 3_000
			fillTimed(t, l, n, 1000)
			if l.Segments() < 4 {
				t.Fatalf("%d segments, the test needs 4", l.Segments())
			}
			wantNear(t, fs, l, 37)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, fs, "data", o)
			l, err = s.OpenLog(16, 0, LogOptions{Level: level, SegmentBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			l.Reader(l.End() - 1).locate() // the first look has the last segment's index made
			drainJanitor(s)
			wantNear(t, fs, l, 37)
			for i := range 1_000 { // the index of the last segment goes on where recovery left it
				l.Begin(10 * int64(n+i))
				if _, err := l.Add(encodeRecord(string(make([]byte, 1000))), 1); err != nil {
					t.Fatal(err)
				}
				if _, err := l.Publish(); err != nil {
					t.Fatal(err)
				}
			}
			syncNow(l)
			drainJanitor(s)
			wantNear(t, fs, l, 37)
		})
	}
}

// TestIndexIsMadeAgain takes the footers away: a look-up finds the same, and the next one is fast again.
func TestIndexIsMadeAgain(t *testing.T) {
	fs := &countingFS{FS: Heap()}
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	fillTimed(t, openLog(t, s, core.AckDisk), 1_000, 1000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l := openLog(t, s, core.AckDisk)
	list := *l.segs.Load()
	for _, seg := range list[:len(list)-1] {
		seg.index.block.Store(nil) // recovery may have read it
		seg.indexHeld = false
		f, err := fs.Open(seg.path, ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeZeros(f, seg.header.size-footerSize, seg.header.size-footerSize+8); err != nil {
			t.Fatal(err)
		}
	}
	s.indexes = indexCache{budget: 1 << 20}
	for offset := int64(0); offset < l.End(); offset += 50 {
		if got, err := l.OffsetAt(10 * offset); got != offset || err != nil {
			t.Fatalf("OffsetAt(%d) = %d, %v", 10*offset, got, err)
		}
	}
	drainJanitor(s)
	wantNear(t, fs, l, 41)
	for _, seg := range list[:len(list)-1] {
		f, err := fs.Open(seg.path, ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		if _, footer, err := readTail(f, &seg.header); err != nil || footer.last.offset == 0 {
			t.Errorf("the footer of %s was not written again: %+v, %v", seg.path, footer, err)
		}
	}
}

func TestIndexCacheKeepsToItsBudget(t *testing.T) {
	c := indexCache{budget: 10 * firstEntries * indexEntryMemory}
	segs := make([]*segment, 30)
	for i := range segs {
		segs[i] = &segment{}
		if i > 0 {
			segs[0].indexUsed.Store(true) // somebody looks into the first one all the time
		}
		c.add(segs[i], newIndexBlock(firstEntries))
		if c.bytes > c.budget || len(c.held) > 10 {
			t.Fatalf("%d bytes in %d blocks, at most %d", c.bytes, len(c.held), c.budget)
		}
	}
	held := 0
	for _, s := range segs {
		if s.index.block.Load() != nil {
			held++
		}
	}
	if held != len(c.held) || segs[0].index.block.Load() == nil || segs[29].index.block.Load() == nil {
		t.Errorf("%d segments have a block, %d are counted; first %v, last %v", held, len(c.held),
			segs[0].index.block.Load() != nil, segs[29].index.block.Load() != nil)
	}
}

func TestIndexIsCut(t *testing.T) {
	var x sparseIndex
	base := segmentBase{offset: 100, index: 7}
	x.beginAt(headerSize)
	for i := int64(1); i <= 40; i++ {
		x.note(&base, headerSize+i*indexEvery, &logState{offset: 100 + 10*i, index: uint64(7 + i), time: i})
		x.note(&base, headerSize+i*indexEvery+8, &logState{offset: 101 + 10*i, index: uint64(8 + i), time: i})
	}
	if n := len(x.block.Load().list()); n != 40 {
		t.Fatalf("%d places, want 40", n)
	}
	before := x.block.Load()
	x.cutTo(headerSize + 20*indexEvery)
	if n := len(x.block.Load().list()); n != 20 {
		t.Errorf("%d places after the cut, want 20", n)
	}
	if n := len(before.list()); n != 40 {
		t.Errorf("a reader that holds the block from before has %d places", n)
	}
	for _, tt := range []struct{ offset, want int64 }{
		{100, headerSize}, {109, headerSize}, {110, headerSize + indexEvery}, {299, headerSize + 19*indexEvery},
		{305, headerSize + 20*indexEvery}, {9999, headerSize + 20*indexEvery},
	} {
		if got := x.block.Load().positionOf(tt.offset, &base); got != tt.want {
			t.Errorf("positionOf(%d) = %d, want %d", tt.offset, got, tt.want)
		}
	}
	if _, ok := x.block.Load().placeBefore(1); ok {
		t.Error("a place before time 1, where frames of time 1 may come before it")
	}
	if e, ok := x.block.Load().placeBefore(5); !ok || e.time != 4 {
		t.Errorf("placeBefore(5) = %+v, %v", e, ok)
	}
}
