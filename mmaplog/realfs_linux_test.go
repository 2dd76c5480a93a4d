package mmaplog

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
)

// realFS is a small file system of its own.
type realFS struct {
	name     string
	mib      int
	mkfs     []string // nil for tmpfs
	mappable bool
}

var realFSs = []realFS{
	{"tmpfs", 16, nil, true},
	{"ext4", 64, []string{"mkfs.ext4", "-q", "-F"}, true},
	{"btrfs", 128, []string{"mkfs.btrfs", "-q"}, false},
	{"xfs", 320, []string{"mkfs.xfs", "-q", "-m", "reflink=1"}, false},
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
	if err := os.Truncate(image, int64(r.mib)<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(r.mkfs[0]); err != nil {
		t.Skip(r.mkfs[0], " is not here")
	}
	if out, err := exec.Command(r.mkfs[0], append(r.mkfs[1:], image)...).CombinedOutput(); err != nil {
		t.Skipf("%s: %v: %s", r.mkfs[0], err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a loop device: %v: %s", err, out)
	}
	t.Cleanup(unmount)
	return dir
}

// TestRealFullDisk fills a real file system: an error, no signal, reads go on, nothing is half there, and it
// goes on when there is room; also after the log was opened again.
func TestRealFullDisk(t *testing.T) {
	for _, r := range realFSs {
		for _, level := range bothSinks {
			t.Run(r.name+" "+level.String(), func(t *testing.T) { fillReal(t, r, level) })
		}
	}
}

func fillReal(t *testing.T, r realFS, level core.Ack) {
	dir := mountReal(t, r)
	if got := OS().Mappable(dir); got != r.mappable {
		t.Errorf("Mappable = %v, want %v", got, r.mappable)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, r.mib<<20/3), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, OS(), filepath.Join(dir, "data"), Options{})
	o := LogOptions{Level: level, SegmentBytes: 1 << 20}
	l, err := s.OpenLog(16, 0, o)
	if err != nil {
		t.Fatal(err)
	}
	value := func(i int64) string { return fmt.Sprintf("%d-%020000d", i, i) }
	for err == nil {
		err = appendValue(l, value(l.End()))
	}
	wantCode(t, "append to the full disk", err, core.CodeStorageFull)
	for range 3 {
		if err := appendValue(l, value(l.End())); err != nil {
			wantCode(t, "append again", err, core.CodeStorageFull)
		}
	}
	check := func(l *Log) {
		t.Helper()
		r := l.Reader(0)
		defer r.Close()
		for n := int64(0); n < l.End(); {
			run, err := r.Next(l.End())
			if err != nil || len(run) == 0 {
				t.Fatalf("read at %d of %d: %d bytes, %v", n, l.End(), len(run), err)
			}
			for len(run) > 0 {
				h := core.ParseFrameHeader(run)
				record, _, err := core.DecodeRecord(run[core.FrameHeaderSize:h.Length])
				if err != nil || string(record.Value) != value(n) {
					t.Fatalf("offset %d is not what was appended: %v", n, err)
				}
				n++
				run = run[h.Size():]
			}
		}
	}
	check(l)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	unix.Sync() // btrfs frees what was deleted when it commits
	before := l.End()
	for l.End() < before+100 {
		if err := appendValue(l, value(l.End())); err != nil {
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
	check(l)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
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
			values, err := readValues(l)
			if err != nil || len(values) < len(kept) {
				t.Errorf("read %d values: %v", len(values), err)
			}
			_ = s.Close() // tells of the fence
		})
	}
}

// TestFewFiles runs logs in a child process that may open few files: an error of the call and no fence, and
// when there are more files all goes on.
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
	s := openTest(t, OS(), dir, Options{})
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
	if !errors.Is(err, syscall.EMFILE) || core.CodeOf(err) != core.CodeIO || len(logs) < 10 {
		t.Fatalf("%d logs, then %v", len(logs), err)
	}
	for _, l := range logs {
		appendValues(t, l, "y")
		if l.Fenced() != nil {
			t.Fatalf("fenced: %v", l.Fenced())
		}
	}
	limit.Cur, limit.Max = 1000, 1000
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Skip("cannot raise the limit again: ", err)
	}
	for _, l := range logs {
		syncNow(l)
		if l.Fenced() != nil || l.DurableEnd() != 2 {
			t.Fatalf("durable end %d, fence %v, with files again", l.DurableEnd(), l.Fenced())
		}
		wantValues(t, l, "x", "y")
	}
}
