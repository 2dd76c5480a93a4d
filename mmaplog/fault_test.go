package mmaplog

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

var bothSinks = []core.Ack{core.AckPage, core.AckDisk}

func TestFullDiskIsAnErrorAndPasses(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			fs := Heap()
			s := openTest(t, fs, "data", Options{})
			l := openLog(t, s, level)
			var kept []string
			fs.LimitSpace(700 << 10)
			var err error
			for _, v := range numbered(10_000, 1000) {
				if err = appendValue(l, v); err != nil {
					break
				}
				kept = append(kept, v)
			}
			wantCode(t, "append to a full disk", err, core.CodeStorageFull)
			if !core.Retryable(err) || l.Fenced() != nil {
				t.Errorf("error %v, fenced %v: want a retryable error and no fence", err, l.Fenced())
			}
			wantValues(t, l, kept...)
			fs.LimitSpace(-1)
			appendValues(t, l, "after")
			wantValues(t, l, append(kept, "after")...)
		})
	}
}

// TestFailedAddKeepsTheBatch fills the disk in the middle of a batch.
func TestFailedAddKeepsTheBatch(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			fs := Heap()
			l := openLog(t, openTest(t, fs, "data", Options{}), level)
			appendValues(t, l, "before")
			fs.LimitSpace(0)
			l.Begin(2)
			var kept []string
			var err error
			for _, v := range numbered(1000, 1000) {
				if _, err = l.Add(encodeRecord(v), 1); err != nil {
					break
				}
				kept = append(kept, v)
			}
			wantCode(t, "add", err, core.CodeStorageFull)
			if len(kept) < 100 {
				t.Fatalf("%d records fit a segment", len(kept))
			}
			if end, err := l.Publish(); err != nil || end != int64(1+len(kept)) {
				t.Fatalf("Publish = %d, %v; want %d", end, err, 1+len(kept))
			}
			wantValues(t, l, append([]string{"before"}, kept...)...)
		})
	}
}

// TestFailedWriteDropsTheBatch has the pwrite sink fail, also where the batch spans segments.
func TestFailedWriteDropsTheBatch(t *testing.T) {
	for _, records := range []int{1, 5, 600} {
		fs := Heap()
		s := openTest(t, fs, "data", Options{})
		l := openLog(t, s, core.AckDisk)
		appendValues(t, l, "before")
		l.Begin(2)
		for _, v := range numbered(records, 1000) {
			if _, err := l.Add(encodeRecord(v), 1); err != nil {
				t.Fatal(err)
			}
		}
		fs.FailWrites(syscall.ENOSPC)
		end, err := l.Publish()
		wantCode(t, "publish", err, core.CodeStorageFull)
		if end != 1 || l.End() != 1 {
			t.Fatalf("%d records: end %d after a failed write, want 1", records, end)
		}
		fs.FailWrites(nil)
		wantValues(t, l, "before")
		appendValues(t, l, "after")
		wantValues(t, l, "before", "after")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		l = openLog(t, openTest(t, fs, "data", Options{}), core.AckDisk)
		wantValues(t, l, "before", "after")
	}
}

func TestWriteErrorFences(t *testing.T) {
	fs := Heap()
	told := make(chan error, 1)
	s := openTest(t, fs, "data", Options{})
	l, err := s.OpenLog(16, 0, LogOptions{Durable: func(_ int64, err error) {
		if err != nil {
			told <- err
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	appendValues(t, l, "before")
	fs.FailWrites(syscall.EIO)
	wantCode(t, "publish", appendValue(l, "lost"), core.CodeIO)
	fs.FailWrites(nil)
	wantCode(t, "callback", <-told, core.CodeLogFenced)
	wantCode(t, "append after", appendValue(l, "again"), core.CodeLogFenced)
	wantValues(t, l, "before")
}

func TestSyncErrorFencesForGood(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			fs := Heap()
			s := openTest(t, fs, "data", Options{})
			var calls []error
			l, err := s.OpenLog(16, 0, LogOptions{Level: level, Durable: func(_ int64, err error) {
				calls = append(calls, err)
			}})
			if err != nil {
				t.Fatal(err)
			}
			appendValues(t, l, "safe")
			syncNow(l)
			appendValues(t, l, "lost")
			fs.FailNextSync(syscall.EIO)
			syncNow(l)
			syncNow(l) // the disk is well again: a second sync would lie
			if len(calls) != 2 || calls[0] != nil || !errors.Is(calls[1], core.ErrLogFenced) {
				t.Fatalf("callbacks %v, want nil and one fence", calls)
			}
			if l.DurableEnd() != 1 || l.End() != 2 {
				t.Fatalf("durable end %d, end %d; want 1 and 2", l.DurableEnd(), l.End())
			}
			wantCode(t, "append", appendValue(l, "x"), core.CodeLogFenced)
			wantValues(t, l, "safe", "lost")
			if err := s.Close(); !errors.Is(err, core.ErrLogFenced) {
				t.Fatalf("Close = %v, want the fence", err)
			}
		})
	}
}

func TestReadErrorIsAnError(t *testing.T) {
	fs := Heap()
	l := openLog(t, openTest(t, fs, "data", Options{NoMap: true}), core.AckDisk)
	appendValues(t, l, "a")
	fs.FailReads(syscall.EIO)
	_, err := readValues(l)
	wantCode(t, "read", err, core.CodeIO)
	fs.FailReads(nil)
	wantValues(t, l, "a")
}

// TestPageSyncStartsInTime appends all the time and measures, in virtual time, when syncs begin.
func TestPageSyncStartsInTime(t *testing.T) {
	for _, took := range []time.Duration{0, 30 * time.Millisecond, 200 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			fs := Heap()
			s := openTest(t, fs, "data", Options{})
			l := openLog(t, s, core.AckPage)
			var mu sync.Mutex
			var begun []time.Time
			fs.Hook(func(op, _ string) {
				if op == "msync" {
					mu.Lock()
					begun = append(begun, time.Now())
					mu.Unlock()
					pause(took)
				}
			})
			start := time.Now()
			for time.Since(start) < 2*time.Second {
				appendValues(t, l, "x")
				pause(time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			before := start
			for i, at := range begun {
				if gap := at.Sub(before) - took*time.Duration(min(i, 1)); gap > 60*time.Millisecond {
					t.Errorf("sync %d (of %v each) begins %v after the one before", i, took, gap)
				}
				before = at
			}
			if len(begun) < 8 || l.DurableEnd() < l.End()-500 {
				t.Errorf("%d syncs, durable end %d of %d", len(begun), l.DurableEnd(), l.End())
			}
			fs.Hook(nil)
		})
	}
}

func TestManyBytesSyncEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, Heap(), "data", Options{FlushBytes: 100_000, FlushEvery: time.Hour})
		l := openLog(t, s, core.AckPage)
		appendValues(t, l, numbered(90, 1000)...)
		synctest.Wait()
		if l.DurableEnd() != 0 {
			t.Fatalf("durable end %d before FlushBytes", l.DurableEnd())
		}
		appendValues(t, l, numbered(30, 1000)...)
		synctest.Wait()
		if l.DurableEnd() < 90 || l.UnsyncedBytes() >= 100_000 {
			t.Fatalf("durable end %d, unsynced %d after FlushBytes", l.DurableEnd(), l.UnsyncedBytes())
		}
	})
}

// TestHangingSync: a disk that does not answer stops one log's durable end and nothing else.
func TestHangingSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Heap()
		s := openTest(t, fs, "data", Options{UnsyncedMax: 50_000})
		l := openLog(t, s, core.AckPage)
		other, err := s.OpenLog(17, 0, LogOptions{Level: core.AckDisk})
		if err != nil {
			t.Fatal(err)
		}
		hung, release := fs.HangNextSync()
		appendValues(t, l, "x")
		<-hung
		appendValues(t, other, "y")
		other.RequestSync()
		synctest.Wait()
		if other.DurableEnd() != 1 || l.DurableEnd() != 0 {
			t.Fatalf("durable ends %d and %d, want 1 and 0", other.DurableEnd(), l.DurableEnd())
		}
		for !l.Saturated() {
			appendValues(t, l, numbered(1, 1000)...)
		}
		if n := l.UnsyncedBytes(); n < 50_000 || n > 52_000 {
			t.Fatalf("saturated at %d bytes, want 50,000", n)
		}
		release()
		pause(time.Second)
		if l.Saturated() || l.DurableEnd() != l.End() {
			t.Fatalf("durable end %d of %d after the disk answered", l.DurableEnd(), l.End())
		}
	})
}

// TestGroupCommit: requests made while a sync runs share the next one.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Heap()
		s := openTest(t, fs, "data", Options{FlushEvery: time.Hour})
		rounds := 0
		l, err := s.OpenLog(16, 0, LogOptions{Durable: func(int64, error) { rounds++ }})
		if err != nil {
			t.Fatal(err)
		}
		hung, release := fs.HangNextSync()
		appendValues(t, l, "first")
		l.RequestSync()
		<-hung
		for _, v := range numbered(64, 10) {
			appendValues(t, l, v)
			l.RequestSync()
		}
		release()
		synctest.Wait()
		if rounds != 2 || l.DurableEnd() != 65 {
			t.Fatalf("%d rounds, durable end %d; want 2 and 65", rounds, l.DurableEnd())
		}
	})
}

// ghostFS is full as far as frames are concerned, and removes nothing.
type ghostFS struct {
	FS
	full atomic.Bool
}

type ghostFile struct {
	File
	fs *ghostFS
}

func (g *ghostFS) Open(name string, mode OpenMode) (File, error) {
	f, err := g.FS.Open(name, mode)
	return &ghostFile{f, g}, err
}

func (g *ghostFS) Remove(name string) error {
	if g.full.Load() {
		return syscall.ENOSPC
	}
	return g.FS.Remove(name)
}

func (f *ghostFile) WriteAt(p []byte, at int64) (int, error) {
	if f.fs.full.Load() && at >= headerSize && p[0] != 0 {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(p, at)
}

// TestSegmentThatWasGivenUp has the file of a segment whose first batch was not written stay beside the one
// that took its place, which a kill in time does too.
func TestSegmentThatWasGivenUp(t *testing.T) {
	for _, before := range []int{0, 200} { // records, in the first segment
		fs := &ghostFS{FS: Heap()}
		s := openTest(t, fs, "data", Options{})
		l := openLog(t, s, core.AckDisk)
		want := numbered(before, 1000)
		appendValues(t, l, want...)
		settle(s, l)
		fs.full.Store(true)
		large := strings.Repeat("x", 100_100)
		wantCode(t, "append", appendValue(l, large), core.CodeStorageFull)
		drainJanitor(s)
		fs.full.Store(false)
		want = append(want, large, "more")
		appendValues(t, l, want[before:]...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		names, err := fs.ReadDir(l.dir)
		if err != nil || strings.Count(strings.Join(names, " "), ".seg") != l.Segments()+1 {
			t.Fatalf("%v of %d segments: %v", names, l.Segments(), err)
		}
		if err := fs.Remove(filepath.Join("data", manifestName)); err != nil { // it was on the full disk too
			t.Fatal(err)
		}
		folder, err := FindOffline(fs, "data")
		if err != nil {
			t.Fatal(err)
		}
		if report, err := Scan(t.Context(), fs, folder.Logs[0], ScanOptions{}); err != nil ||
			len(report.Damaged()) > 0 || report.End != int64(len(want)) {
			t.Errorf("Scan = %+v, %v", report, err)
		}
		for range 2 {
			s = openTest(t, fs, "data", Options{})
			wantValues(t, openLog(t, s, core.AckDisk), want...)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
