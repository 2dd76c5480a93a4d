package mmaplog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/leatbus/leat/core"
)

// fill writes a text to a new file.
func fill(t *testing.T, fs FS, name, text string) File {
	t.Helper()
	f, err := fs.Open(name, Create)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func wantText(t *testing.T, what string, f File, want string) {
	t.Helper()
	b := make([]byte, 100)
	n, _ := f.ReadAt(b, 0)
	if string(b[:n]) != want {
		t.Errorf("%s: read %q, want %q", what, b[:n], want)
	}
}

// TestFileBudgetGoesUnnoticed: whoever has a file has it, whatever happened to its name while it was closed.
func TestFileBudgetGoesUnnoticed(t *testing.T) {
	for name, fs := range map[string]FS{"os": OS(), "heap": Heap()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"x", "y"} {
				if err := fs.MkdirAll(filepath.Join(dir, sub)); err != nil {
					t.Fatal(err)
				}
			}
			b := newFileBudget(fs, 2)
			path := func(name string) string { return filepath.Join(dir, name) }
			moved, replaced := fill(t, b, path("x/a"), "a"), fill(t, b, path("x/b"), "b")
			removed := fill(t, b, path("c"), "c")
			fill(t, b, path("d"), "d")
			if n := b.count(); n > 2 {
				t.Errorf("%d files are open", n)
			}
			if err := b.Rename(path("x/a"), path("y/a")); err != nil {
				t.Fatal(err)
			}
			fill(t, b, path("x/a"), "other")
			wantText(t, "moved", moved, "a")
			if err := b.Rename(path("x/a"), path("x/b")); err != nil {
				t.Fatal(err)
			}
			if err := b.Remove(path("c")); err != nil {
				t.Fatal(err)
			}
			if err := b.Remove(path("none")); !errors.Is(err, errNotExist) {
				t.Error(err)
			}
			b.makeRoom(0)
			fill(t, b, path("c"), "other")
			for range 2 {
				wantText(t, "moved", moved, "a")
				wantText(t, "replaced", replaced, "b")
				wantText(t, "removed", removed, "c")
				b.makeRoom(0)
			}
			if n := b.count(); n != 2 {
				t.Errorf("%d files are open, want the two that have no name", n)
			}
			for _, f := range []File{moved, replaced, removed} {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
				if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
					t.Error("read of a closed file:", err)
				}
			}
			if n := b.count(); n != 0 {
				t.Errorf("%d files are open after the last close", n)
			}
		})
	}
}

// TestFileBudgetClosesTheLeastRecentlyUsed, and what has to be synced last.
func TestFileBudgetClosesTheLeastRecentlyUsed(t *testing.T) {
	b := newFileBudget(Heap(), 8)
	if err := b.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	var files []*fileHandle
	for i := range 8 {
		f := fill(t, b, fmt.Sprint("d/", i), "text").(*fileHandle)
		if i > 0 {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		files = append(files, f)
	}
	fill(t, b, "d/8", "text")
	wantText(t, "the third", files[2], "text")
	fill(t, b, "d/9", "text")
	fill(t, b, "d/10", "text")
	for i, f := range files {
		f.mu.Lock()
		open := f.file != nil
		f.mu.Unlock()
		if want := i != 1 && i != 3 && i != 4; open != want {
			t.Errorf("file %d is open: %v", i, open)
		}
	}
}

// TestFileBudgetKeepsSyncErrors: that a write was lost is told by the next sync, although the file was closed
// meanwhile.
func TestFileBudgetKeepsSyncErrors(t *testing.T) {
	fs := Heap()
	b := newFileBudget(fs, 8)
	if err := b.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	f := fill(t, b, "d/f", "text")
	fs.FailNextSync(syscall.EIO)
	b.makeRoom(0)
	for range 2 {
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Error("Sync:", err)
		}
		if err := f.WriteOut(0, 4); !errors.Is(err, syscall.EIO) {
			t.Error("WriteOut:", err)
		}
	}
	if n := b.count(); n != 1 {
		t.Errorf("%d files are open", n)
	}
}

// TestOneFile has logs written, read, trimmed and compacted with one file open at a time.
func TestOneFile(t *testing.T) {
	for name, fs := range map[string]FS{"os": OS(), "heap": Heap()} {
		for _, level := range bothSinks {
			t.Run(fmt.Sprint(name, "/", level), func(t *testing.T) { oneFile(t, fs, level) })
		}
	}
}

func oneFile(t *testing.T, fs FS, level core.Ack) {
	dir := t.TempDir()
	s := openTest(t, fs, dir, Options{FileBudget: 1})
	var writers sync.WaitGroup
	values := numbered(100, 9000)
	for p := range int32(4) {
		l, err := s.OpenLog(16, p, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		writers.Go(func() {
			r := l.Reader(0)
			defer r.Close()
			for _, v := range values {
				if err := appendValue(l, v); err != nil {
					t.Error(err)
					return
				}
				if _, err := r.Next(l.End()); err != nil {
					t.Error(err)
				}
			}
			settle(s, l)
			if err := l.TrimTo(10); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, fs, dir, Options{FileBudget: 1})
	for p := range int32(4) {
		l, err := s.OpenLog(16, p, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		wantValues(t, l, values[l.Start():]...)
	}
}

// rivalFS has something happen while a file is opened, and while one is closed.
type rivalFS struct {
	FS
	opening, closing func()
}

type rivalFile struct {
	File
	fs *rivalFS
}

func (r *rivalFS) Open(name string, mode OpenMode) (File, error) {
	f, err := r.FS.Open(name, mode)
	if again := r.opening; again != nil {
		r.opening = nil
		again()
	}
	return &rivalFile{f, r}, err
}

func (f *rivalFile) Close() error {
	if again := f.fs.closing; again != nil {
		f.fs.closing = nil
		again()
	}
	return f.File.Close()
}

// TestFileBudgetOpensTwice: two calls open a file again at the same time, and it is given up at once: each
// has a file all the same.
func TestFileBudgetOpensTwice(t *testing.T) {
	fs := &rivalFS{FS: Heap()}
	if err := fs.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	f := fill(t, newFileBudget(fs, 8), "d/f", "text")
	h, ok := f.(*fileHandle)
	if !ok {
		t.Fatalf("a %T", f)
	}
	if err := h.Sync(); err != nil {
		t.Fatal(err)
	}
	h.evict()
	fs.opening = func() {
		wantText(t, "the rival", h, "text")
		fs.closing = h.evict
	}
	wantText(t, "the other", h, "text")
	h.evict()
	wantText(t, "later", h, "text")
}
