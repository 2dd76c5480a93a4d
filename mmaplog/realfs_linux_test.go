package mmaplog

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
)

// realFS is a small file system of its own.
type realFS struct {
	name     string
	mib      int64
	mkfs     []string // nil for tmpfs
	mappable bool
}

var realFSs = []realFS{
	{"tmpfs", 32, nil, true},
	{"ext4", 48, []string{"mkfs.ext4", "-q", "-F"}, true},
	{"btrfs", 64, []string{"mkfs.btrfs", "-q", "-K", "-m", "single", "-d", "single"}, false},
	{"xfs", 48, []string{"mkfs.xfs", "-q", "-K", "--unsupported", "-l", "size=6m", "-m", "reflink=1"}, false},
	{"xfs without reflinks", 48, []string{"mkfs.xfs", "-q", "-K", "--unsupported", "-l", "size=6m",
		"-m", "reflink=0"}, true},
}

// mountReal mounts one of them, or skips the test with the reason.
func mountReal(t *testing.T, r realFS) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
	unmount := func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }
	if r.mkfs == nil {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", r.mib)); err != nil {
			t.Skip("cannot mount a tmpfs: ", err)
		}
		t.Cleanup(unmount)
		return dir
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, r.mib<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(r.mkfs[0]); err != nil {
		t.Skip(r.mkfs[0], " is not here")
	}
	mkfs := exec.Command(r.mkfs[0], append(r.mkfs[1:len(r.mkfs):len(r.mkfs)], image)...)
	if out, err := mkfs.CombinedOutput(); err != nil {
		t.Skipf("%s: %v: %s", r.mkfs[0], err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a loop device, or the kernel has no %s: %v: %s", r.name, err, out)
	}
	t.Cleanup(unmount)
	return dir
}

// fillUpTo makes a file that leaves about free bytes.
func fillUpTo(t *testing.T, dir string, free int64) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const step = 1 << 20
	for size := int64(0); ; size += step {
		now, _, err := OS().Space(dir)
		if err != nil {
			t.Fatal(err)
		}
		if now < free+step {
			return ballast
		}
		if err := unix.Fallocate(int(f.Fd()), 0, size, step); err != nil {
			t.Fatalf("%d bytes are free: %v", now, err)
		}
	}
}

// boundlessFS does not tell how full it is, so that nothing stops a log before the kernel does.
type boundlessFS struct{ FS }

func (boundlessFS) Space(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported }

// TestRealFullDisk fills a real file system: an error, no signal, reads go on, nothing is half there, and it
// goes on when there is room; also after the log was opened again. Either the guard of free space refuses a
// segment, or the kernel does.
func TestRealFullDisk(t *testing.T) {
	for i, r := range realFSs {
		for _, level := range bothSinks {
			t.Run(r.name+" "+level.String(), func(t *testing.T) { fillReal(t, r, boundlessFS{OS()}, level) })
			if i < 2 {
				t.Run(r.name+" "+level.String()+" guarded", func(t *testing.T) { fillReal(t, r, OS(), level) })
			}
		}
	}
}

// stamped is a value that tells where it belongs.
func stamped(offset int64) string { return fmt.Sprintf("%d-%020000d", offset, offset) }

// wantStamped reads the whole log.
func wantStamped(t *testing.T, l *Log) {
	t.Helper()
	values, err := readValues(l)
	if err != nil || int64(len(values)) != l.End()-l.Start() {
		t.Fatalf("read %d values of [%d, %d): %v", len(values), l.Start(), l.End(), err)
	}
	for i, v := range values {
		if at := l.Start() + int64(i); v != stamped(at) {
			t.Fatalf("offset %d is not what was appended", at)
		}
	}
}

func fillReal(t *testing.T, r realFS, fs FS, level core.Ack) {
	dir := mountReal(t, r)
	room := int64(8 << 20)
	if r.name == "btrfs" {
		room += 17 << 20 // which it calls free and does not give
	}
	ballast := fillUpTo(t, dir, room)
	s := openTest(t, fs, filepath.Join(dir, "data"), Options{})
	o := LogOptions{Level: level, SegmentBytes: 1 << 20}
	l, err := s.OpenLog(16, 0, o)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = appendValue(l, stamped(l.End()))
	}
	wantCode(t, "append to the full disk", err, core.CodeStorageFull)
	t.Logf("after %d records: %v", l.End(), err)
	for range 3 {
		if err := appendValue(l, stamped(l.End())); err != nil {
			wantCode(t, "append again", err, core.CodeStorageFull)
		}
	}
	if l.End() < 30 {
		t.Errorf("full after %d records", l.End())
	}
	wantStamped(t, l)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// btrfs and XFS free in the background what was deleted.
	if err := exec.Command("sync", "-f", dir).Run(); err != nil {
		t.Fatal(err)
	}
	before := l.End()
	for l.End() < before+100 {
		if err := appendValue(l, stamped(l.End())); err != nil {
			t.Fatalf("append with room: %v", err)
		}
	}
	syncNow(l)
	end := l.End()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, OS(), filepath.Join(dir, "data"), Options{})
	if l, err = s.OpenLog(16, 0, o); err != nil || l.End() != end {
		t.Fatalf("opened again: end %v, want %d", err, end)
	}
	wantStamped(t, l)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRealSharedBlocks takes all space away while a log writes into blocks it has, but shares with a copy of
// the folder: each write needs a new block then. Through a map that would be a signal.
func TestRealSharedBlocks(t *testing.T) {
	for _, r := range realFSs[2:4] {
		t.Run(r.name, func(t *testing.T) {
			dir := mountReal(t, r)
			s := openTest(t, boundlessFS{OS()}, filepath.Join(dir, "data"), Options{})
			l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes})
			if err != nil {
				t.Fatal(err)
			}
			if err := appendValue(l, stamped(0)); err != nil {
				t.Fatal(err)
			}
			settle(s, l)
			copied := filepath.Join(dir, "copied")
			if out, err := exec.Command("cp", "-a", "--reflink=always", s.dir, copied).CombinedOutput(); err != nil {
				t.Fatalf("cp: %v: %s", err, out)
			}
			ballast := filepath.Join(dir, "ballast")
			fillWithBytes(t, ballast)
			for err == nil && l.End() < 12 { // what the segment has room for
				err = appendValue(l, stamped(l.End()))
			}
			wantCode(t, "append", err, core.CodeStorageFull)
			t.Log(err)
			wantStamped(t, l)
			if l.Fenced() != nil {
				t.Fatalf("fenced: %v", l.Fenced())
			}
			if err := errors.Join(os.Remove(ballast), exec.Command("sync", "-f", dir).Run()); err != nil {
				t.Fatal(err)
			}
			for l.End() < 50 {
				if err := appendValue(l, stamped(l.End())); err != nil {
					t.Fatalf("append with room: %v", err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, OS(), filepath.Join(dir, "data"), Options{})
			wantStamped(t, openLog(t, s, core.AckPage))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// fillWithBytes writes a file until not one block is left.
func fillWithBytes(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 4096; {
		_, err := f.Write(make([]byte, size))
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			size /= 4
		}
	}
}

// TestRealRun has a log with retention run on each file system: it maps where it may, its segments roll and
// go round, and it opens again as it was, also without having been closed.
func TestRealRun(t *testing.T) {
	for _, r := range realFSs {
		for _, level := range bothSinks {
			t.Run(r.name+" "+level.String(), func(t *testing.T) { runReal(t, r, level) })
		}
	}
}

func runReal(t *testing.T, r realFS, level core.Ack) {
	dir := filepath.Join(mountReal(t, r), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := OS().Mappable(dir); got != r.mappable {
		t.Fatalf("Mappable = %v, want %v", got, r.mappable)
	}
	ids := map[string]bool{} // of inodes
	s := openTest(t, OS(), dir, Options{})
	o := LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes, RetentionBytes: 600 << 10}
	l, err := s.OpenLog(16, 0, o)
	if err != nil {
		t.Fatal(err)
	}
	segments := map[*segment]bool{}
	for range 20 {
		for range 6 {
			if err := appendValue(l, stamped(l.End())); err != nil {
				t.Fatal(err)
			}
		}
		settle(s, l)
		for _, seg := range l.segs.recent() {
			segments[seg] = true
			ids[inode(t, seg.path)] = true
		}
		if mapped := l.w.mapped; mapped != (r.mappable && level == core.AckPage) {
			t.Fatalf("written through a map: %v", mapped)
		}
	}
	if l.Start() == 0 || len(ids) >= len(segments) {
		t.Errorf("start %d; %d segments in %d files, none was used twice", l.Start(), len(segments), len(ids))
	}
	wantStamped(t, l)
	end := l.End()
	copied := filepath.Join(t.TempDir(), "data")
	if out, err := exec.Command("cp", "-a", dir, copied).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{copied, dir} {
		s = openTest(t, OS(), dir, Options{})
		if l, err = s.OpenLog(16, 0, o); err != nil || l.End() != end {
			t.Fatalf("%s opened again: %v", dir, err)
		}
		wantStamped(t, l)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func inode(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Ino)
}

// TestOpenReadOnly opens folders on a file system that is mounted read-only: an error that says so and what
// to do, while the tools that only read go on.
func TestOpenReadOnly(t *testing.T) {
	dir := mountReal(t, realFSs[0])
	data := filepath.Join(dir, "data")
	s := openTest(t, OS(), data, Options{})
	appendValues(t, openLog(t, s, core.AckDisk), numbered(20, 1000)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skip("cannot make a file system read-only: ", err)
	}
	for _, folder := range []string{data, filepath.Join(dir, "new")} {
		_, err := Open(OS(), folder, Options{})
		wantCode(t, "open "+folder, err, core.CodeIO)
		if hint := core.HintFor(err); !errors.Is(err, syscall.EROFS) || !strings.Contains(hint, "remount,rw") {
			t.Errorf("open %s = %v, hint %q", folder, err, hint)
		}
	}
	folder, err := FindOffline(OS(), data)
	if err != nil || len(folder.Logs) != 1 {
		t.Fatalf("FindOffline = %+v, %v", folder, err)
	}
	report, err := Scan(t.Context(), OS(), folder.Logs[0], ScanOptions{})
	if err != nil || len(report.Damaged()) > 0 {
		t.Errorf("Scan = %+v, %v", report, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, openTest(t, OS(), data, Options{}), core.AckDisk)
	wantValues(t, l, numbered(20, 1000)...)
}

// TestRealReadOnly has a file system fail under a log: an error and a fence, no signal, and reads go on.
func TestRealReadOnly(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			dir := mountReal(t, realFSs[1])
			s := openTest(t, OS(), filepath.Join(dir, "data"), Options{})
			l, err := s.OpenLog(16, 0, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
			if err != nil {
				t.Fatal(err)
			}
			kept := numbered(50, 1000)
			appendValues(t, l, kept...)
			syncNow(l)
			// A file open for writing keeps a usual remount away; this is what the kernel does by itself
			// after an error.
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "abort"); err != nil {
				t.Skip("cannot make the file system fail: ", err)
			}
			for range 2000 {
				if err = appendValue(l, numbered(1, 1000)[0]); err != nil {
					break
				}
				syncNow(l)
			}
			if code := core.CodeOf(err); code != core.CodeIO && code != core.CodeLogFenced {
				t.Errorf("append = %v, want CodeIO or CodeLogFenced", err)
			}
			if l.Fenced() == nil {
				t.Error("the log is not fenced")
			}
			if f := l.Fenced(); !errors.Is(f, syscall.EROFS) && !errors.Is(f, syscall.EIO) {
				t.Errorf("fenced by %v", f)
			}
			t.Log(err)
			values, err := readValues(l)
			if err != nil || len(values) < len(kept) {
				t.Errorf("read %d values: %v", len(values), err)
			}
			_ = s.Close() // tells of the fence
		})
	}
}

// TestFewFiles runs logs in a child process that may open fewer files than the store has been told: others
// are closed when there is none left, and nothing fails.
func TestFewFiles(t *testing.T) {
	const name = "LEAT_TEST_FEW_FILES"
	if dir := os.Getenv(name); dir != "" {
		fewFiles(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFewFiles$", "-test.v")
	cmd.Env = append(os.Environ(), name+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fewFiles(t *testing.T, dir string) {
	limit := unix.Rlimit{Cur: 64, Max: 64}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Skip("cannot lower the limit: ", err)
	}
	s := openTest(t, OS(), dir, Options{FileBudget: 1 << 20})
	var logs []*Log
	var err error
	for i := 0; err == nil && i < 200; i++ {
		var l *Log
		if l, err = s.OpenLog(uint64(16+i), 0, LogOptions{SegmentBytes: core.MinSegmentBytes}); err == nil {
			if err = appendValue(l, "x"); err == nil {
				logs = append(logs, l)
			}
		}
	}
	if err != nil {
		t.Fatalf("%d logs, then %v", len(logs), err)
	}
	for _, l := range logs {
		appendValues(t, l, "y")
		if l.Fenced() != nil {
			t.Fatalf("fenced: %v", l.Fenced())
		}
	}
	for _, l := range logs {
		syncNow(l)
		if l.Fenced() != nil || l.DurableEnd() != 2 {
			t.Fatalf("durable end %d, fence %v", l.DurableEnd(), l.Fenced())
		}
		wantValues(t, l, "x", "y")
	}
}
