package mmaplog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// TestManyShareOneFlush: logs that are synced together cost one sync, if each was synced once before.
func TestManyShareOneFlush(t *testing.T) {
	const n = 40
	ways := map[string]func(*Store, []*Log){
		"on the caller": func(s *Store, logs []*Log) {
			if err := s.Sync(context.Background(), logs...); err != nil {
				t.Error(err)
			}
		},
		"on a worker": func(s *Store, logs []*Log) {
			s.RequestSyncs(logs)
			synctest.Wait()
		},
		"when it is time": func(*Store, []*Log) { pause(2 * time.Hour) },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := Heap()
				s := openTest(t, fs, "data", Options{FlushEvery: time.Hour})
				logs := openLogs(t, s, n)
				ops := countSyncs(fs)
				for round := range 3 {
					for _, l := range logs {
						appendValues(t, l, "v")
					}
					way(s, logs)
					for i, l := range logs {
						if l.DurableEnd() != int64(round+2) || l.Syncing() {
							t.Fatalf("log %d: durable end %d, want %d", i, l.DurableEnd(), round+2)
						}
					}
				}
				if syncs, outs := ops.of("sync"), ops.of("writeout"); syncs != 3 || outs != 3*(n-1) {
					t.Errorf("%d syncs and %d files written out in 3 rounds of %d logs", syncs, outs, n)
				}
			})
		})
	}
}

// TestFewAreSyncedEach: a few logs, those with a new segment and those whose file an earlier process made
// have a sync of their own.
func TestFewAreSyncedEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Heap()
		s := openTest(t, fs, "data", Options{FlushEvery: time.Hour})
		logs := openLogs(t, s, 10)
		ops := countSyncs(fs)
		syncAll := func(want int, logs ...*Log) {
			t.Helper()
			before := ops.of("sync")
			if err := s.Sync(t.Context(), logs...); err != nil {
				t.Fatal(err)
			}
			if n := ops.of("sync") - before; n != want || ops.of("writeout") > 0 {
				t.Errorf("%d syncs, %d files written out; want %d syncs", n, ops.of("writeout"), want)
			}
		}
		for _, l := range logs[:parallelMax] {
			appendValues(t, l, "v")
		}
		syncAll(parallelMax, logs...)
		for i := range parallelMax + 1 {
			fresh, err := s.OpenLog(17, int32(i), LogOptions{})
			if err != nil {
				t.Fatal(err)
			}
			appendValues(t, fresh, "v")
			logs = append(logs, fresh)
		}
		syncAll(parallelMax+1, logs...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, fs, "data", Options{FlushEvery: time.Hour})
		for i := range 10 {
			l, err := s.OpenLog(16, int32(i), LogOptions{SegmentBytes: core.MinSegmentBytes})
			if err != nil {
				t.Fatal(err)
			}
			appendValues(t, l, "v")
			logs[i] = l
		}
		syncAll(10, logs[:10]...)
	})
}

// TestFailedFlushFencesAllItCovers: nobody can tell which bytes the device lost. A file that cannot be
// written out fences its own log.
func TestFailedFlushFencesAllItCovers(t *testing.T) {
	const n = 10
	for name, tt := range map[string]struct {
		fail   func(*MemFS, error)
		fenced int
	}{
		"flush":     {(*MemFS).FailNextSync, n},
		"write out": {(*MemFS).FailNextWriteOut, 1},
	} {
		t.Run(name, func(t *testing.T) {
			fs := Heap()
			s := openTest(t, fs, "data", Options{FlushEvery: time.Hour})
			logs := openLogs(t, s, n)
			for _, l := range logs {
				appendValues(t, l, "v")
			}
			tt.fail(fs, syscall.EIO)
			wantCode(t, "Sync", s.Sync(t.Context(), logs...), core.CodeLogFenced)
			fenced := 0
			for i, l := range logs {
				if durable := l.DurableEnd(); l.Fenced() != nil && durable == 1 {
					fenced++
				} else if l.Fenced() != nil || durable != 2 {
					t.Errorf("log %d: durable end %d, fence %v", i, durable, l.Fenced())
				}
			}
			if fenced != tt.fenced {
				t.Errorf("%d logs fenced, want %d", fenced, tt.fenced)
			}
			ops := countSyncs(fs)
			rest := slices.DeleteFunc(slices.Clone(logs), func(l *Log) bool { return l.Fenced() != nil })
			for _, l := range rest {
				appendValues(t, l, "w")
			}
			_ = s.Sync(t.Context(), logs...)
			if err := s.Close(); !errors.Is(err, core.ErrLogFenced) {
				t.Errorf("Close = %v, want the fence", err)
			}
			if files := ops.byFile(); len(files) != len(rest) {
				t.Errorf("%d files were synced later, want those of %d logs", len(files), len(rest))
			}
		})
	}
}

// manyCrash appends to many logs, syncs them together, cuts the power somewhere and answers what is wrong
// with what is left.
func manyCrash(seed uint64, lie func(*MemFS), spoil func(*Log)) error {
	const n = parallelMax + 3
	dice := dice(seed)
	fs := Heap()
	if lie != nil {
		lie(fs)
	}
	s, err := Open(fs, "data", Options{Clock: clock.NewManual(1)})
	if err != nil {
		return err
	}
	defer s.Close()
	value := func(log int, offset int64) string {
		return fmt.Sprintf("%d-%d-%0*d", log, offset, offset%700, seed)
	}
	logs := make([]*Log, n)
	for i := range logs {
		if logs[i], err = s.OpenLog(16, int32(i), LogOptions{SegmentBytes: core.MinSegmentBytes}); err != nil {
			return err
		}
	}
	// Cut before some operation of a round, or when all is done: the disk goes on, we look at the copy.
	var mu sync.Mutex // the preparer works beside us
	var after *MemFS
	var durable [n]int64
	countdown := int64(dice.next() % 60)
	cut := func() {
		mu.Lock()
		defer mu.Unlock()
		if after == nil {
			for i, l := range logs {
				durable[i] = l.DurableEnd()
			}
			after = fs.Crash(seed)
		}
	}
	rounds := 2 + dice.next()%6
	fs.Hook(func(op, _ string) {
		if op == "writeout" || op == "sync" {
			mu.Lock()
			countdown--
			now := countdown == 0
			mu.Unlock()
			if now {
				cut()
			}
		}
	})
	for range rounds {
		for i, l := range logs {
			for range dice.next() % 3 {
				if err := appendValue(l, value(i, l.End())); err != nil {
					return err
				}
			}
			if spoil != nil {
				spoil(l)
			}
		}
		if err := s.Sync(context.Background(), logs...); err != nil {
			return err
		}
	}
	cut()
	fs.Hook(nil)
	return checkMany(after, durable[:], value)
}

func checkMany(fs *MemFS, durable []int64, value func(log int, offset int64) string) error {
	s, err := Open(fs, "data", Options{Clock: clock.NewManual(1)})
	if err != nil {
		return err
	}
	defer s.Close()
	for i, want := range durable {
		l, err := s.OpenLog(16, int32(i), LogOptions{SegmentBytes: core.MinSegmentBytes})
		if err != nil {
			return fmt.Errorf("log %d: %w", i, err)
		}
		got, err := readValues(l)
		if err != nil || int64(len(got)) < want {
			return fmt.Errorf("log %d: %d records are left, %d were durable, error %v", i, len(got), want, err)
		}
		for offset, v := range got {
			if v != value(i, int64(offset)) {
				return fmt.Errorf("log %d: record %d is another one", i, offset)
			}
		}
	}
	return nil
}

func TestManyLoseNothingDurable(t *testing.T) {
	for seed := range uint64(scaled(600)) {
		if err := manyCrash(seed, nil, nil); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestManyCrashFindsMistakes is the negative control of TestManyLoseNothingDurable.
func TestManyCrashFindsMistakes(t *testing.T) {
	// notSynced has files take part that were never synced as a whole.
	notSynced := func(l *Log) {
		for _, s := range *l.segs.Load() {
			s.entrySynced.Store(true)
		}
	}
	for name, mistake := range map[string]struct {
		lie   func(*MemFS)
		spoil func(*Log)
	}{
		"no flush":          {lie: func(m *MemFS) { m.IgnoreFlush(true) }},
		"file never synced": {spoil: notSynced},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(scaled(600)) {
				if err := manyCrash(seed, mistake.lie, mistake.spoil); err != nil {
					t.Log("found:", err)
					return
				}
			}
			t.Fatal("not found")
		})
	}
}

// TestWriteOutIsNotDurable: what the disk has taken is lost in a power cut until a sync that began later
// has returned.
func TestWriteOutIsNotDurable(t *testing.T) {
	fs := Heap()
	if err := errors.Join(fs.MkdirAll("d"), fs.SyncDir(".")); err != nil {
		t.Fatal(err)
	}
	var files [2]File
	for i, name := range []string{"d/a", "d/b"} {
		f, err := fs.Open(name, Create)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("old"), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), fs.SyncDir("d")); err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	survives := func(what string, want bool) {
		t.Helper()
		always := true
		for seed := range uint64(50) {
			f, err := fs.Crash(seed).Open("d/a", ReadOnly)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 3)
			if _, err := f.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			always = always && string(got) == "new"
		}
		if always != want {
			t.Errorf("%s: survives every power cut: %v, want %v", what, always, want)
		}
	}
	write := func() {
		t.Helper()
		if _, err := files[0].WriteAt([]byte("new"), 0); err != nil {
			t.Fatal(err)
		}
	}
	hung, release := fs.HangNextSync()
	done := make(chan error)
	go func() { done <- files[1].Sync() }()
	<-hung
	write()
	survives("written", false)
	if err := files[0].WriteOut(0, 3); err != nil {
		t.Fatal(err)
	}
	survives("written out", false)
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	survives("a sync that began before has returned", false)
	fs.FailNextSync(syscall.EIO)
	if files[1].Sync() == nil || files[1].Sync() != nil {
		t.Fatal("want one failed sync and one that works")
	}
	survives("the sync failed, a second one worked", false)
	if err := errors.Join(files[0].WriteOut(0, 3), files[1].Sync()); err != nil {
		t.Fatal(err)
	}
	survives("written out again, another file synced", true)
}
