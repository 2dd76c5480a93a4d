package mmaplog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
)

// openLogs opens n logs of level disk whose first segment is synced, so that it needs no folder any more.
func openLogs(t testing.TB, s *Store, n int) []*Log {
	t.Helper()
	logs := make([]*Log, n)
	for i := range logs {
		var err error
		logs[i], err = s.OpenLog(16, int32(i), LogOptions{SegmentBytes: core.MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		appendValues(t, logs[i], "first")
	}
	for _, l := range logs {
		syncNow(l)
	}
	return logs
}

// syncCounter counts the syncs and write-outs of segment files, by kind and by file.
type syncCounter struct {
	mu    sync.Mutex
	kinds map[string]int
	files map[string]int
}

func countSyncs(fs *MemFS) *syncCounter {
	c := &syncCounter{kinds: map[string]int{}, files: map[string]int{}}
	fs.Hook(func(op, name string) {
		segment := strings.HasPrefix(filepath.Base(name), "spare-") || strings.HasSuffix(name, ".seg")
		if segment && (op == "sync" || op == "msync" || op == "writeout") {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.kinds[op]++
			c.files[name]++
		}
	})
	return c
}

func (c *syncCounter) of(op string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kinds[op]
}

func (c *syncCounter) byFile() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.files)
}

func TestSyncMakesDurable(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			s := openTest(t, Heap(), "data", Options{FlushEvery: time.Hour})
			var told []int64
			l, err := s.OpenLog(16, 0, LogOptions{Level: level, Durable: func(end int64, _ error) {
				told = append(told, end) // on this goroutine, or the race detector sees it
			}})
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			if err := l.Sync(ctx); err != nil {
				t.Fatalf("Sync of an empty log = %v", err)
			}
			for i := range 3 {
				appendValues(t, l, "v")
				if err := l.Sync(ctx); err != nil || l.DurableEnd() != int64(i+1) || len(told) != i+1 {
					t.Fatalf("Sync = %v, durable end %d, told %v; want %d", err, l.DurableEnd(), told, i+1)
				}
			}
			if err := l.SyncTo(ctx, 1000); err != nil {
				t.Errorf("SyncTo beyond the end = %v", err)
			}
			appendValues(t, l, "w")
			if err := l.SyncTo(ctx, 3); err != nil || l.DurableEnd() != 3 {
				t.Errorf("SyncTo what is durable = %v, durable end %d; want no sync", err, l.DurableEnd())
			}
		})
	}
}

// TestSyncSharesRounds has callers come while a round hangs: they share the next one.
func TestSyncSharesRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Heap()
		s := openTest(t, fs, "data", Options{FlushEvery: time.Hour})
		l := openLogs(t, s, 1)[0]
		ops := countSyncs(fs)
		hung, release := fs.HangNextSync()
		appendValues(t, l, "hangs")
		errs := make(chan error, 65)
		go func() { errs <- l.Sync(context.Background()) }()
		<-hung
		for _, v := range numbered(64, 10) {
			appendValues(t, l, v)
			go func() { errs <- l.Sync(context.Background()) }()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Sync(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Sync behind a disk that hangs, with a context that ended = %v", err)
		}
		synctest.Wait()
		if !l.Syncing() || len(errs) > 0 {
			t.Errorf("syncing %v, %d returned while the disk hangs", l.Syncing(), len(errs))
		}
		release()
		for range 65 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := ops.of("sync"); n != 2 || l.DurableEnd() != 66 || l.Syncing() {
			t.Errorf("%d syncs, durable end %d, syncing %v; want 2 and 66", n, l.DurableEnd(), l.Syncing())
		}
	})
}

// TestSyncAfterClose: whoever comes too late gets an error, not a wait.
func TestSyncAfterClose(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	l := openLogs(t, s, 1)[0]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Errorf("Sync after Close, which synced everything = %v", err)
	}
	l.marks.durableEnd.Store(0)
	wantCode(t, "Sync", l.Sync(t.Context()), core.CodeClosed)
}

// TestFailedSyncIsTheLast: whichever way a log is synced, after the first failure no acknowledgement comes
// and the disk is not asked about that file again.
func TestFailedSyncIsTheLast(t *testing.T) {
	ways := map[string]func(*Store, *Log) error{
		"Log.Sync":   func(_ *Store, l *Log) error { return l.Sync(context.Background()) },
		"Store.Sync": func(s *Store, l *Log) error { return s.Sync(context.Background(), l) },
		"worker": func(_ *Store, l *Log) error {
			l.RequestSync()
			syncNow(l)
			return l.Fenced()
		},
	}
	for name, way := range ways {
		for _, level := range bothSinks {
			t.Run(fmt.Sprint(name, level), func(t *testing.T) {
				fs := Heap()
				s := openTest(t, fs, "data", Options{})
				l := openLog(t, s, level)
				appendValues(t, l, "safe")
				if err := way(s, l); err != nil {
					t.Fatal(err)
				}
				appendValues(t, l, "lost")
				ops := countSyncs(fs)
				fs.FailNextSync(syscall.EIO)
				wantCode(t, "first sync", way(s, l), core.CodeLogFenced)
				for range 3 {
					wantCode(t, "later sync", way(s, l), core.CodeLogFenced)
				}
				wantCode(t, "append", appendValue(l, "x"), core.CodeLogFenced)
				if err := s.Close(); !errors.Is(err, core.ErrLogFenced) {
					t.Errorf("Close = %v, want the fence", err)
				}
				files := ops.byFile()
				for name, n := range files {
					if n != 1 || len(files) != 1 {
						t.Errorf("%s was synced %d times, want one sync of one file", name, n)
					}
				}
				if len(files) == 0 || l.DurableEnd() != 1 {
					t.Errorf("syncs %v, durable end %d; want 1", files, l.DurableEnd())
				}
			})
		}
	}
}

// TestHangingDisks hangs as many logs as there are workers, for 30 seconds each. Callers that sync for
// themselves go on, requests get another worker soon, up to a bound, and what is unsynced stays bounded.
func TestHangingDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Heap()
		s := openTest(t, fs, "data", Options{UnsyncedMax: 20_000, FlushEvery: time.Hour})
		logs := openLogs(t, s, syncWorkersMax+2)
		last, self := logs[syncWorkersMax], logs[syncWorkersMax+1]
		var releases []func()
		for i, l := range logs[:syncWorkersMax] {
			hung, release := fs.HangNextSync()
			releases = append(releases, release)
			appendValues(t, l, "hangs")
			l.RequestSync()
			begun := time.Now()
			<-hung
			if waited := time.Since(begun); i >= syncWorkers && waited > 2*stuckAfter {
				t.Errorf("log %d waited %v for a worker", i, waited)
			}
		}
		appendValues(t, last, "waits")
		last.RequestSync()
		appendValues(t, self, "goes on")
		if err := self.Sync(t.Context()); err != nil || self.DurableEnd() != 2 {
			t.Errorf("Sync beside %d hanging logs = %v", syncWorkersMax, err)
		}
		for !logs[0].Saturated() {
			appendValues(t, logs[0], numbered(1, 1000)...)
		}
		pause(30 * time.Second)
		if last.DurableEnd() != 1 || s.syncer.workers != syncWorkersMax {
			t.Errorf("durable end %d, %d workers; want 1 and %d", last.DurableEnd(), s.syncer.workers, syncWorkersMax)
		}
		if n := logs[0].UnsyncedBytes(); n > 22_000 || last.Saturated() {
			t.Errorf("%d unsynced bytes; another log is saturated: %v", n, last.Saturated())
		}
		for _, release := range releases {
			release()
		}
		pause(2 * time.Hour) // some records wait for the flush
		for i, l := range logs {
			if l.DurableEnd() != l.End() {
				t.Errorf("log %d: durable end %d of %d after the disks answered", i, l.DurableEnd(), l.End())
			}
		}
		if s.syncer.workers > syncWorkers+1 {
			t.Errorf("%d workers are left", s.syncer.workers)
		}
	})
}
