package mmaplog

import (
	"path/filepath"
	"testing"

	"github.com/leatbus/leat/core"
)

// poolFile puts a file of size bytes into the pool, as recycle does.
func poolFile(t *testing.T, l *Log, size int64) uint64 {
	t.Helper()
	id := l.newID()
	path := filepath.Join(l.dir, spareName(id))
	f, err := l.store.fs.Open(path, Create)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Allocate(size); err != nil {
		t.Fatal(err)
	}
	l.store.pool.put(pooled{id: id, path: path, size: size})
	return id
}

// TestRecycledFileOvertakesANewOne: who fills a new file takes one that came into the pool instead, and the
// next one goes on with the file that was begun.
func TestRecycledFileOvertakesANewOne(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			const size = 8 << 20
			s := openTest(t, Heap(), "data", Options{})
			l := openLog(t, s, level)
			appendValues(t, l, "a")
			settle(s, l)
			recycled := uint64(0)
			p, err := l.prepareFile(size, func(File, int64) {
				if recycled == 0 {
					recycled = poolFile(t, l, size)
				}
			})
			if err != nil || p.id != recycled || !p.recycled {
				t.Fatalf("got %+v, error %v: want the file in the pool", p, err)
			}
			s.janitor.discard(p)
			begun := l.prep.halfway
			if begun == nil || begun.zeroed == 0 || begun.zeroed == size {
				t.Fatalf("%+v is left: want a file that was begun", begun)
			}
			filled := int64(0)
			p, err = l.prepareFile(size, func(File, int64) { filled += paceEvery })
			if err != nil || p != begun || !p.filled {
				t.Fatalf("got %+v, error %v: want the file that was begun", p, err)
			}
			if filled >= size {
				t.Errorf("%d bytes were filled: want only what was missing", filled)
			}
			s.janitor.discard(p)
		})
	}
}

// TestHalfFilledFileGoesWithTheLog: it is removed when the log is closed.
func TestHalfFilledFileGoesWithTheLog(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{})
	l := openLog(t, s, core.AckDisk)
	appendValues(t, l, "a")
	p, err := l.newFile(core.MinSegmentBytes)
	if err != nil {
		t.Fatal(err)
	}
	l.putHalfway(p)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Open(p.path, ReadOnly); err == nil {
		t.Error("the file is still there")
	}
}

// TestNoNewFileWhileOneComes: a log whose trimmed segments are about to be recycled waits for them, and makes
// a new file only when they turned out to be of no use.
func TestNoNewFileWhileOneComes(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, "a")
	settle(s, l)
	p := &l.prep
	next := func() int64 {
		p.mu.Lock()
		defer p.mu.Unlock()
		size, _ := l.nextJobLocked()
		return size
	}
	p.mu.Lock()
	have := len(p.spares)
	p.keep, p.size = have+1, core.MinSegmentBytes
	p.mu.Unlock()
	if next() == 0 {
		t.Fatal("no file is to be made")
	}
	p.coming.Add(2)
	if size := next(); size != 0 {
		t.Errorf("a file of %d bytes is to be made while others come", size)
	}
	l.fileCame()
	if size := next(); size != 0 {
		t.Errorf("a file of %d bytes is to be made while another comes", size)
	}
	l.fileCame()
	settle(s, l)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spares) != have+1 {
		t.Errorf("%d spares: want %d", len(p.spares), have+1)
	}
}
