//go:build linux

package mmaplog

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// TestIdleLogsAreSmall: a thousand partitions with one record each hold little memory and no
// goroutines of their own.
func TestIdleLogsAreSmall(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("measures memory")
	}
	s := openTest(t, OS(), t.TempDir(), Options{})
	before := residentBytes(t)
	for i := range int32(1000) {
		l, err := s.OpenLog(16, i, LogOptions{Level: bothSinks[i%2]})
		if err != nil {
			t.Fatal(err)
		}
		appendValues(t, l, "x")
	}
	for _, l := range s.logs {
		syncNow(l)
	}
	debug.FreeOSMemory()
	grown := residentBytes(t) - before
	t.Logf("%d KiB for a thousand logs", grown>>10)
	if grown > 60<<20 {
		t.Errorf("%d bytes for a thousand logs, want at most 60 MiB", grown)
	}
}

func residentBytes(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestDurableAppendWritesLittle: a small synced append writes a page or two, not a whole large folio.
func TestDurableAppendWritesLittle(t *testing.T) {
	for _, level := range bothSinks {
		s := openTest(t, OS(), t.TempDir(), Options{})
		l := openLog(t, s, level)
		appendValues(t, l, "first")
		syncNow(l)
		before, ok := bytesWritten()
		if !ok || !s.mappable {
			t.Skip("/proc/self/io is not readable, or no disk below")
		}
		const appends = 20
		for range appends {
			appendValues(t, l, strings.Repeat("x", 200))
			syncNow(l)
		}
		after, _ := bytesWritten()
		if per := (after - before) / appends; per > 16<<10 {
			t.Errorf("level %v: %d bytes written per synced append", level, per)
		} else {
			t.Logf("level %v: %d bytes written per synced append", level, per)
		}
	}
}

func bytesWritten() (int64, bool) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
