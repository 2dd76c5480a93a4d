package mmaplog

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
)

// threadCosts is what this thread has done so far.
type threadCosts struct {
	calls   int64 // that read or write
	written int64 // bytes by them
	faults  int64
}

func costsOfThread(t *testing.T) (c threadCosts) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/io", unix.Gettid()))
	if err != nil {
		t.Skip("the kernel does not count what a thread reads and writes: ", err)
	}
	for line := range strings.Lines(string(text)) {
		var name string
		var n int64
		if _, err := fmt.Sscan(line, &name, &n); err != nil {
			t.Fatal(err)
		}
		switch name {
		case "syscr:", "syscw:":
			c.calls += n
		case "wchar:":
			c.written += n
		}
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		t.Fatal(err)
	}
	c.faults = usage.Minflt + usage.Majflt
	return c
}

// TestAppendIsNoSystemCall: at page the thread that appends reads and writes nothing by system call, and
// takes fewer faults than there are pages.
func TestAppendIsNoSystemCall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes faults of its own")
	}
	s := openTest(t, OS(), t.TempDir(), Options{})
	if !s.mappable {
		t.Skip("the test folder's file system is written by system calls only")
	}
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage})
	if err != nil {
		t.Fatal(err)
	}
	record := encodeRecord(strings.Repeat("x", 256))
	size := int64(core.FrameHeaderSize + len(record))
	appendMany := func(n int64) {
		for range n {
			if _, err := l.Append(1, record, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	for l.w.seg == nil || l.w.seg.header.size < 16<<20 { // the segments double from 256 KiB on
		appendMany(1)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const appends = 20_000 // fewer than fit the segment: no roll
	looking := costsOfThread(t)
	before := costsOfThread(t)
	appendMany(appends)
	after := costsOfThread(t)
	calls := after.calls - before.calls - (before.calls - looking.calls)
	written := after.written - before.written
	faults := after.faults - before.faults
	t.Logf("%d appends of %d bytes: %d system calls, %d bytes written by them, %d faults, %d pages", appends,
		size, calls, written, faults, appends*size/pageSize)
	if calls != 0 || written != 0 {
		t.Errorf("%d system calls of the appending thread wrote %d bytes, want none", calls, written)
	}
	if pages := appends * size / pageSize; faults > pages {
		t.Errorf("%d faults for %d pages", faults, pages)
	}
}
