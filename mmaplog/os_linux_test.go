package mmaplog

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
)

// TestColdPagesAreNeverTouched takes away the pages of the map that lie outside the hot window: the
// whole log still reads, and goes on.
func TestColdPagesAreNeverTouched(t *testing.T) {
	s := openTest(t, OS(), t.TempDir(), Options{HotBytes: 64 << 10})
	if !s.mappable {
		t.Skip("the test folder's file system is written by system calls only")
	}
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage, SegmentBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	values := numbered(1500, 1000)
	appendValues(t, l, values...)
	syncNow(l)
	list := *l.segs.Load()
	seg := list[len(list)-1]
	res := seg.pinned()
	if res == nil || res.region == nil || l.w.pos < 300<<10 {
		t.Fatalf("the last segment is not mapped or too short: %d", l.w.pos)
	}
	defer res.unpin()
	cold := (l.w.pos - 64<<10) &^ (pageSize - 1)
	if err := unix.Mprotect(res.region.Bytes()[:cold], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	wantValues(t, l, values...)
	appendValues(t, l, "more")
	syncNow(l)
	wantValues(t, l, append(values, "more")...)

	// The control: without the window the same read does touch them, and gets an error, not a crash.
	s.opts.HotBytes = 1 << 40
	seg.unmapped.Store(0)
	_, err = readValues(l)
	wantCode(t, "read of a page that is gone", err, core.CodeIO)
	wantCode(t, "append after it", appendValue(l, "x"), core.CodeLogFenced)
	if debug.SetPanicOnFault(false) {
		t.Error("SetPanicOnFault was left on")
	}
}

// TestFaultOfTheWriterFences: a store into a page that is gone.
func TestFaultOfTheWriterFences(t *testing.T) {
	s := openTest(t, OS(), t.TempDir(), Options{})
	if !s.mappable {
		t.Skip("the test folder's file system is written by system calls only")
	}
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, "a")
	if err := os.Truncate((*l.segs.Load())[0].path, 0); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "append", appendValue(l, "b"), core.CodeIO)
	wantCode(t, "append", appendValue(l, "c"), core.CodeLogFenced)
}

// TestFaultOfACopyingSumFences: a record that is summed while it is copied faults in assembly.
func TestFaultOfACopyingSumFences(t *testing.T) {
	s := openTest(t, OS(), t.TempDir(), Options{})
	if !s.mappable {
		t.Skip("the test folder's file system is written by system calls only")
	}
	l := openLog(t, s, core.AckPage)
	record := encodeRecord(string(make([]byte, 300)))
	if _, err := l.Append(1, record, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate((*l.segs.Load())[0].path, 0); err != nil {
		t.Fatal(err)
	}
	_, err := l.Append(1, record, 1)
	wantCode(t, "append", err, core.CodeIO)
	_, err = l.Append(1, record, 1)
	wantCode(t, "append", err, core.CodeLogFenced)
}

// TestFullFileSystem fills a real one: no signal, no lost record, and it goes on when there is room.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("needs the right to mount: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, OS(), filepath.Join(dir, "data"), Options{})
	for i, level := range bothSinks {
		l, err := s.OpenLog(uint64(16+i), 0, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for j := 0; err == nil; j++ {
			v := fmt.Sprintf("%d-%01000d", j, j)
			if err = appendValue(l, v); err == nil {
				kept = append(kept, v)
			}
		}
		if len(kept) == 0 && i == 0 {
			t.Fatal("nothing was appended")
		}
		wantCode(t, "append", err, core.CodeStorageFull)
		wantValues(t, l, kept...)
		if i == 0 {
			continue
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		appendValues(t, l, "after")
		wantValues(t, l, append(kept, "after")...)
	}
}

func TestPermissionIsNamed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	_, err := Open(OS(), dir, Options{})
	wantCode(t, "open", err, core.CodePermission)
}

func TestModes(t *testing.T) {
	before := unix.Umask(0)
	defer unix.Umask(before)
	root := filepath.Join(t.TempDir(), "data")
	s := openTest(t, OS(), root, Options{})
	appendValues(t, openLog(t, s, core.AckPage), "x")
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		want := os.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCachedPages: pages that were written are in memory, those nobody touched are not.
func TestCachedPages(t *testing.T) {
	f, err := OS().Open(filepath.Join(t.TempDir(), "file"), Create)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(zeros[:], 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(1 << 20); err != nil {
		t.Fatal(err)
	}
	if f.Cached(1 << 20) {
		t.Error("pages nobody touched are called cached")
	}
	if !f.Cached(int64(len(zeros))) {
		t.Skip("the kernel does not tell which pages are in memory: it is older than 6.5")
	}
}
