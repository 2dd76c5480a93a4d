package mmaplog

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// becomeQuiet makes everything durable and lets the watcher find that nothing happens any more. The store has
// a watcher of its own, whose job the janitor may not have yet when the log is not noted any more.
func becomeQuiet(l *Log, c *clock.Manual) {
	syncNow(l)
	for l.quiet.noted.Load() || l.keepAsked.Load() {
		c.Advance(keepEvery)
		l.store.watcher.look()
		runtime.Gosched()
	}
	drainJanitor(l.store)
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustState(t testing.TB, l *Log) stateFile {
	t.Helper()
	f, found, err := l.readState()
	if err != nil || !found {
		t.Fatalf("state: found %v, %v", found, err)
	}
	return f
}

func TestCleanOpenReadsNoFrame(t *testing.T) {
	for _, level := range bothSinks {
		fs := Heap()
		s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
		values := numbered(1000, 1000)
		appendValues(t, openLog(t, s, level), values...)
		mustClose(t, s)
		for range 2 { // an opening that changes nothing leaves the mark
			s = openTest(t, fs.Crash(1), "data", Options{Clock: clock.NewManual(1)})
			l := openLog(t, s, level)
			if got := l.Recovery(); got.Frames != 0 || got.Bytes != 0 || got.CutBytes != 0 {
				t.Fatalf("%v: recovery %+v, want nothing read", level, got)
			}
			wantValues(t, l, values...)
			mustClose(t, s)
		}
		s = openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
		l := openLog(t, s, level)
		appendValues(t, l, "next")
		if f := mustState(t, l); f.clean {
			t.Fatalf("%v: the clean mark is there after an append", level)
		}
		values = append(values, "next")
		after := fs.Crash(0)
		l = openLog(t, openTest(t, after, "data", Options{}), level)
		if l.End() < 1000 || !slices.Equal(mustRead(t, l), values[:l.End()]) {
			t.Fatalf("%v: after a power cut the log ends at %d", level, l.End())
		}
	}
}

func mustRead(t testing.TB, l *Log) []string {
	t.Helper()
	values, err := readValues(l)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// TestQuietLogHasACheckpoint: once nothing happens, all of it is known to be durable, and what follows is
// scanned from there.
func TestQuietLogHasACheckpoint(t *testing.T) {
	for _, level := range bothSinks {
		fs, c := Heap(), clock.NewManual(1)
		s := openTest(t, fs, "data", Options{Clock: c})
		l := openLog(t, s, level)
		values := numbered(500, 1000)
		appendValues(t, l, values...)
		becomeQuiet(l, c)
		f := mustState(t, l)
		if f.check.at.offset != 500 || f.check.at.index != 501 || f.clean {
			t.Fatalf("%v: state %+v, want a checkpoint at 500", level, f)
		}
		appendValues(t, l, "a", "b")
		syncNow(l)
		l = openLog(t, openTest(t, fs.Crash(1), "data", Options{}), level)
		if got := l.Recovery(); got.Frames != 2 {
			t.Fatalf("%v: recovery %+v, want 2 frames read", level, got)
		}
		wantValues(t, l, append(values, "a", "b")...)
	}
}

// TestQuietLogIsWrittenOnce: the checkpoint costs one file, however long nothing happens.
func TestQuietLogIsWrittenOnce(t *testing.T) {
	fs, c := Heap(), clock.NewManual(1)
	s := openTest(t, fs, "data", Options{Clock: c})
	l := openLog(t, s, core.AckPage)
	appendValues(t, l, "x")
	becomeQuiet(l, c)
	ops := countOps(fs)
	for range 5 {
		becomeQuiet(l, c)
	}
	if n := ops.of("rename"); n != 0 {
		t.Errorf("%d files replaced while nothing happened", n)
	}
}

// TestDamageOfTheLastSyncedFrames was cut as a torn tail before there were checkpoints.
func TestDamageOfTheLastSyncedFrames(t *testing.T) {
	for name, stop := range map[string]func(*Store, *Log, *clock.Manual){
		"quiet":  func(_ *Store, l *Log, c *clock.Manual) { becomeQuiet(l, c) },
		"closed": func(s *Store, _ *Log, _ *clock.Manual) { _ = s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			fs, c := Heap(), clock.NewManual(1)
			s := openTest(t, fs, "data", Options{Clock: c})
			l := openLog(t, s, core.AckDisk)
			appendValues(t, l, numbered(10, 100)...)
			path, at := (*l.segs.Load())[0].path, l.w.pos-20
			stop(s, l, c)
			after := fs.Crash(1)
			file := after.content(path)
			file[at] ^= 1
			after.put(path, file)
			l = openLog(t, openTest(t, after, "data", Options{}), core.AckDisk)
			if l.End() != 10 || l.Recovery().CutBytes != 0 {
				t.Fatalf("ends at %d, %+v: durable data was cut", l.End(), l.Recovery())
			}
			_, err := readValues(l)
			wantCode(t, "read", err, core.CodeCorrupt)
			appendValues(t, l, "next")
			syncNow(l)
			if file := after.content(path); file[at]^1 != fs.content(path)[at] {
				t.Error("the damaged frame was written over")
			}
		})
	}
}

// TestLostFilesAreDamage: what the state says was durable is not there.
func TestLostFilesAreDamage(t *testing.T) {
	for name, harm := range map[string]func(*MemFS, string) error{
		"gone":  func(fs *MemFS, path string) error { return fs.Remove(path) },
		"short": func(fs *MemFS, path string) error { fs.put(path, fs.content(path)[:headerSize+100]); return nil },
	} {
		fs := Heap()
		s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
		l := openLog(t, s, core.AckDisk)
		appendValues(t, l, numbered(10, 100)...)
		path := (*l.segs.Load())[0].path
		mustClose(t, s)
		if err := harm(fs, path); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, fs, "data", Options{})
		_, err := s.OpenLog(16, 0, LogOptions{})
		wantCode(t, name, err, core.CodeCorrupt)
	}
}

// orderlyRun lives a few lives, each ended in order or by a power cut, and knows what must be there.
type orderlyRun struct {
	seed   uint64
	level  core.Ack
	dice   dice
	fs     *MemFS
	values []string // by offset
	cleans int      // openings that read nothing
}

func (r *orderlyRun) run() error {
	for life := range 6 {
		if err := r.live(life); err != nil {
			return fmt.Errorf("LEAT_SEED=%d, level %v, life %d: %w", r.seed, r.level, life, err)
		}
	}
	return nil
}

func (r *orderlyRun) live(life int) error {
	c := clock.NewManual(1)
	s, err := Open(r.fs, "data", Options{Clock: c, NoMap: r.seed%3 == 0})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	l, err := s.OpenLog(16, 0, LogOptions{Level: r.level, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		return err
	}
	if l.Recovery().Frames == 0 && l.End() > 0 {
		r.cleans++
	}
	got, err := readValues(l)
	if err != nil || l.End() > int64(len(r.values)) || !slices.Equal(got, r.values[:l.End()]) {
		return fmt.Errorf("ends at %d, %d values, %w", l.End(), len(got), err)
	}
	durable := int64(len(r.values))
	if l.End() < durable {
		return fmt.Errorf("ends at %d, %d were durable", l.End(), durable)
	}
	for range r.dice.next() % 40 {
		v := fmt.Sprintf("%d/%d/%0*d", life, l.End(), r.dice.next()%3000, 1)
		r.values = append(r.values, v)
		if err := appendValue(l, v); err != nil {
			return err
		}
		switch r.dice.next() % 8 {
		case 0:
			syncNow(l)
		case 1:
			if r.dice.next()%4 == 0 {
				becomeQuiet(l, c)
			}
		}
	}
	return r.stop(s, l)
}

// stop ends a life and forgets what may be lost with it.
func (r *orderlyRun) stop(s *Store, l *Log) error {
	how := r.dice.next() % 3
	if how > 0 {
		if err := s.Close(); err != nil {
			return err
		}
	}
	if how == 1 {
		return nil // the next life is of the same boot
	}
	durable := l.DurableEnd()
	r.fs = r.fs.Crash(r.seed<<8 | r.dice.next()%256)
	return r.forget(durable)
}

// forget drops what a power cut took. What was not durable may be there or not: the log is asked, on a
// copy.
func (r *orderlyRun) forget(durable int64) error {
	s, err := Open(r.fs.Crash(0), "data", Options{})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	l, err := s.OpenLog(16, 0, LogOptions{Level: r.level, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		return err
	}
	if l.End() < durable {
		return fmt.Errorf("ends at %d, %d were durable", l.End(), durable)
	}
	r.values = r.values[:min(l.End(), int64(len(r.values)))]
	return nil
}

func TestOrderlyAndOtherEnds(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			cleans := 0
			for seed := range uint64(scaled(150)) {
				r := &orderlyRun{seed: seed, level: level, dice: dice(seed), fs: Heap()}
				if err := r.run(); err != nil {
					t.Fatal(err)
				}
				cleans += r.cleans
			}
			if cleans == 0 {
				t.Error("no life began after an orderly end")
			}
		})
	}
}

// TestFirstAppendWaitsForTheMark: if the clean mark cannot be taken away, nothing is appended.
func TestFirstAppendWaitsForTheMark(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	appendValues(t, openLog(t, s, core.AckDisk), "x")
	mustClose(t, s)
	s = openTest(t, fs, "data", Options{Clock: clock.NewManual(1)})
	l := openLog(t, s, core.AckDisk)
	fs.FailWrites(errors.New("no"))
	if err := appendValue(l, "y"); core.CodeOf(err) != core.CodeIO {
		t.Fatalf("append: %v", err)
	}
	fs.FailWrites(nil)
	if f := mustState(t, l); !f.clean && l.End() != 1 {
		t.Fatalf("state %+v, end %d", f, l.End())
	}
	appendValues(t, l, "y")
	wantValues(t, l, "x", "y")
}

func TestBootID(t *testing.T) {
	a, b := Heap(), Heap()
	if !a.BootID().same(b.BootID()) || a.BootID().same(a.Crash(1).BootID()) || (BootID{}).same(BootID{}) {
		t.Error("boot ids do not tell starts apart")
	}
	if runtime.GOOS == "linux" && !OS().BootID().same(OS().BootID()) {
		t.Error("no boot id on Linux")
	}
}
