package mmaplog

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/leatbus/leat/core"
)

// cost is what this process used so far.
type cost struct{ written, writeCalls, faults int64 }

func costs(t *testing.T) (c cost) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("no /proc/self/io here: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "write_bytes: %d", &c.written)
		_, _ = fmt.Sscanf(line, "syscw: %d", &c.writeCalls)
	}
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	c.faults = use.Minflt
	return c
}

// TestCostOfADurableAppend: one that syncs itself writes its page, with one call, and neither allocates nor
// faults. A store that dirtied whole folios, or converted blocks, would write a multiple.
func TestCostOfADurableAppend(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates and faults")
	}
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
		t.Skip("the test folder is in memory: nothing is written to a disk")
	}
	s := openTest(t, OS(), dir, Options{})
	l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckDisk, SegmentBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	record := make([]byte, 256)
	core.PutRecord(record, []byte("key"), make([]byte, 200), nil, 0, 0)
	record = record[:core.Align8(core.RecordHeaderSize+3+200)]
	// The segment after the current one is being prepared from a quarter of it on; we measure behind that.
	for l.w.seg == nil || l.w.seg.header.size < 4<<20 || l.w.pos < 2<<20 {
		if _, err := l.Append(1, record, 1); err != nil {
			t.Fatal(err)
		}
	}
	settle(s, l)
	const n = 400
	before := costs(t)
	allocs := testing.AllocsPerRun(n-1, func() {
		end, err := l.Append(1, record, 1)
		if err == nil {
			err = l.SyncTo(t.Context(), end)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	after := costs(t)
	written := float64(after.written-before.written) / n
	calls := float64(after.writeCalls-before.writeCalls) / n
	faults := float64(after.faults-before.faults) / n
	t.Logf("per durable append: %.0f bytes written, %.2f write calls, %.2f faults, %.2f allocations",
		written, calls, faults, allocs)
	if written < 4096 || written > 4608 {
		t.Errorf("%.0f bytes written per append, want a page and at most 4.5 KB", written)
	}
	if calls > 1.1 || faults > 2 || allocs > 0.5 {
		t.Errorf("%.2f write calls, %.2f faults and %.2f allocations per append", calls, faults, allocs)
	}
}

// TestManyOnARealDisk has the kernel write out many files and flush once.
func TestManyOnARealDisk(t *testing.T) {
	s := openTest(t, OS(), t.TempDir(), Options{})
	logs := openLogs(t, s, parallelMax+2)
	if (*logs[0].segs.Load())[0].live.Load().device == 0 {
		t.Skip("the test folder's file system has no write-out that a sync of another file completes")
	}
	for round := range 3 {
		for _, l := range logs {
			appendValues(t, l, "v")
			if l.flushDevice() == 0 {
				t.Fatal("the log would have a sync of its own")
			}
		}
		if err := s.Sync(t.Context(), logs...); err != nil {
			t.Fatal(err)
		}
		for i, l := range logs {
			if l.DurableEnd() != int64(round+2) {
				t.Errorf("log %d: durable end %d, want %d", i, l.DurableEnd(), round+2)
			}
		}
	}
}
