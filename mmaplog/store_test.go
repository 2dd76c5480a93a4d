package mmaplog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
)

func bothFS(t *testing.T, f func(t *testing.T, fs FS, dir string)) {
	t.Run("os", func(t *testing.T) { f(t, OS(), filepath.Join(t.TempDir(), "data")) })
	t.Run("heap", func(t *testing.T) { f(t, Heap(), "data") })
}

func TestSecondOpenIsLocked(t *testing.T) {
	bothFS(t, func(t *testing.T, fs FS, dir string) {
		s := openTest(t, fs, dir, Options{})
		_, err := Open(fs, dir, Options{})
		wantCode(t, "second open", err, core.CodeLocked)
		if !bytes.Contains([]byte(err.Error()), []byte("data")) {
			t.Errorf("error %q does not name the folder", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		openTest(t, fs, dir, Options{})
	})
}

func TestNewerVersionsAreRefused(t *testing.T) {
	for text, code := range map[string]core.Code{
		"leat data format 2\n": core.CodeVersionTooNew,
		"leat data format 0\n": core.CodeCorrupt,
		"something else":       core.CodeCorrupt,
		"":                     core.CodeCorrupt,
	} {
		fs, _ := smallLog(t, 1, 0)
		fs.put("data/FORMAT", []byte(text))
		_, err := Open(fs, "data", Options{})
		wantCode(t, fmt.Sprintf("FORMAT %q", text), err, code)
		if string(fs.content("data/FORMAT")) != text {
			t.Error("FORMAT was changed")
		}
	}
	for _, at := range []int{8, headerSize + 63} { // version of the segment, of its first frame
		fs, path := smallLog(t, 2, 2)
		file := fs.content(path)
		file[at] = 9
		setPageCRC(file)
		h := core.ParseFrameHeader(file[headerSize:])
		h.Encode(file[headerSize:], core.Checksum(idOfTest))
		fs.put(path, file)
		_, err := openTest(t, fs, "data", Options{}).OpenLog(16, 0, LogOptions{})
		wantCode(t, "open log", err, core.CodeVersionTooNew)
		if !bytes.Equal(fs.content(path), file) {
			t.Error("the segment was changed")
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{FlushEvery: time.Millisecond}, {FlushBytes: -1}, {UnsyncedMax: -1}, {HotBytes: -1},
	} {
		_, err := Open(Heap(), "data", o)
		wantCode(t, fmt.Sprintf("%+v", o), err, core.CodeInvalidConfig)
	}
	s := openTest(t, Heap(), "data", Options{})
	for _, o := range []LogOptions{
		{SegmentBytes: 1000}, {SegmentBytes: 128 << 20}, {SegmentBytes: 300 << 10}, {RetentionBytes: -1},
	} {
		_, err := s.OpenLog(16, 0, o)
		wantCode(t, fmt.Sprintf("%+v", o), err, core.CodeInvalidConfig)
	}
	_, err := s.OpenLog(16, -1, LogOptions{})
	wantCode(t, "partition -1", err, core.CodePartitionUnknown)
	openLog(t, s, core.AckDisk)
	_, err = s.OpenLog(16, 0, LogOptions{})
	wantCode(t, "second OpenLog", err, core.CodeInternal)
}

func TestNoFileBeforeTheFirstRecord(t *testing.T) {
	bothFS(t, func(t *testing.T, files FS, dir string) {
		s := openTest(t, files, dir, Options{})
		l := openLog(t, s, core.AckPage)
		l.Begin(1)
		if end, err := l.Publish(); end != 0 || err != nil {
			t.Fatalf("Publish of nothing = %d, %v", end, err)
		}
		syncNow(l)
		wantValues(t, l)
		if at, err := l.OffsetAt(5); at != 0 || err != nil {
			t.Errorf("OffsetAt of an empty log = %d, %v", at, err)
		}
		if _, err := files.ReadDir(l.dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the log's folder exists: %v", err)
		}
		appendValues(t, l, "x")
		if ids, err := s.Topics(); err != nil || !slices.Equal(ids, []uint64{16}) {
			t.Errorf("Topics = %v, %v", ids, err)
		}
	})
}

func TestRemoveTopic(t *testing.T) {
	bothFS(t, func(t *testing.T, fs FS, dir string) {
		s := openTest(t, fs, dir, Options{})
		l := openLog(t, s, core.AckPage)
		other, err := s.OpenLog(17, 2, LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		appendValues(t, l, numbered(500, 1000)...)
		appendValues(t, other, "stays")
		if err := s.RemoveTopic(16); err != nil {
			t.Fatal(err)
		}
		if ids, err := s.Topics(); err != nil || !slices.Equal(ids, []uint64{17}) {
			t.Fatalf("Topics = %v, %v", ids, err)
		}
		wantCode(t, "append", appendValue(l, "x"), core.CodeClosed)
		_, err = l.Reader(0).Next(1)
		wantCode(t, "read", err, core.CodeClosed)
		wantValues(t, other, "stays")
		if err := s.RemoveTopic(99); err != nil {
			t.Fatal(err)
		}
		wantValues(t, openLog(t, s, core.AckPage)) // the id may be opened again, empty
	})
}

// TestLargeFrames: a batch larger than a segment of its class gets a larger one.
func TestLargeFrames(t *testing.T) {
	for _, level := range bothSinks {
		l := openLog(t, openTest(t, OS(), t.TempDir(), Options{}), level)
		var want []string
		for _, size := range []int{10, 200 << 10, 300 << 10, 16<<20 - 64, 5, 1 << 20} {
			v := string(bytes.Repeat([]byte{byte(size)}, size))
			appendValues(t, l, v)
			want = append(want, v)
		}
		wantValues(t, l, want...)
	}
	l := openLog(t, openTest(t, Heap(), "data", Options{}), core.AckPage)
	for _, bad := range []struct{ size, n int }{{0, 0}, {24, 0}, {25, 1}, {16, 1}, {24, 5000}, {33 << 20, 1}} {
		_, err := l.Add(make([]byte, bad.size), bad.n)
		wantCode(t, fmt.Sprint(bad), err, core.CodeInvalidRecord)
	}
}

// TestMergeLimits: small batches merge into frames of at most 64 KiB and 4,096 records.
func TestMergeLimits(t *testing.T) {
	l := openLog(t, openTest(t, Heap(), "data", Options{}), core.AckPage)
	l.Begin(1)
	record := encodeRecord("")
	for range 10_000 {
		if _, err := l.Add(record, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Publish(); err != nil {
		t.Fatal(err)
	}
	perFrame := core.MergeFrameBytes / len(record)
	all := readRuns(t, l)
	full, total, frames := 0, 0, uint64(0)
	for ; len(all) > 0; frames++ {
		h := core.ParseFrameHeader(all)
		if h.PayloadBytes() > core.MergeFrameBytes || h.Index != frames+1 {
			t.Fatalf("frame %d: %d records, %d bytes", h.Index, h.Records, h.PayloadBytes())
		}
		if int(h.Records) == perFrame {
			full++
		}
		total += int(h.Records)
		all = all[h.Size():]
	}
	// Short ones are the last one and the one that filled a segment.
	if total != 10_000 || full < int(frames)-2 {
		t.Fatalf("%d records in %d frames, %d of them full", total, frames, full)
	}
}

// TestSetRetention: a log that keeps everything is cut when that changes, and grows again after it.
func TestSetRetention(t *testing.T) {
	bothFS(t, func(t *testing.T, fs FS, dir string) {
		s := openTest(t, fs, dir, Options{})
		l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes})
		if err != nil {
			t.Fatal(err)
		}
		fill := func() {
			for range 10 {
				appendValues(t, l, numbered(200, 1000)...)
				syncNow(l)
			}
			drainJanitor(s)
		}
		fill()
		if l.Start() != 0 || l.Segments() < 8 {
			t.Fatalf("%d segments from %d before the change", l.Segments(), l.Start())
		}
		l.SetRetention(Retention{Bytes: 600 << 10})
		drainJanitor(s)
		if l.Start() == 0 || l.Segments() > 4 {
			t.Errorf("%d segments from %d after a lower limit", l.Segments(), l.Start())
		}
		l.SetRetention(Retention{})
		start := l.Start()
		fill()
		if l.Start() != start {
			t.Errorf("start moved from %d to %d with nothing to enforce", start, l.Start())
		}
	})
}

func TestRetentionBytes(t *testing.T) {
	bothFS(t, func(t *testing.T, fs FS, dir string) {
		s := openTest(t, fs, dir, Options{})
		l, err := s.OpenLog(16, 0, LogOptions{Level: core.AckPage, SegmentBytes: core.MinSegmentBytes,
			RetentionBytes: 600 << 10})
		if err != nil {
			t.Fatal(err)
		}
		kept := l.Reader(0)
		appendValues(t, l, numbered(100, 1000)...)
		run, err := kept.Next(l.End())
		if err != nil {
			t.Fatal(err)
		}
		copied := bytes.Clone(run)
		for range 20 {
			appendValues(t, l, numbered(200, 1000)...)
			syncNow(l)
		}
		drainJanitor(s)
		if l.Bytes() > 1<<20 || l.Start() == 0 || l.Segments() > 4 {
			t.Errorf("%d bytes in %d segments from %d", l.Bytes(), l.Segments(), l.Start())
		}
		if !bytes.Equal(run, copied) {
			t.Error("a kept run changed before the next call")
		}
		_, err = kept.Next(l.End())
		wantCode(t, "read of a trimmed offset", err, core.CodeOffsetOutOfRange)
		if want := fmt.Sprintf("[%d, %d)", l.Start(), l.End()); !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("error %q does not name the range %s", err, want)
		}
		// A round of the syncer's own may have dropped another segment behind the janitor's last task.
		var names []string
		if !eventually(func() bool {
			drainJanitor(s)
			names, err = fs.ReadDir(l.dir)
			return err == nil && len(names) <= l.Segments()+1+maxSpares+poolPerClass // with the state
		}) {
			t.Errorf("files %v, %v", names, err)
		}
		kept.Seek(l.Start())
		if run, err = kept.Next(l.End()); err != nil || len(run) == 0 {
			t.Fatalf("read from the start: %v", err)
		}
		copied = append(copied[:0], run...)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(run, copied) {
			t.Error("a kept run changed by Close")
		}
		_, err = kept.Next(l.End())
		wantCode(t, "read after Close", err, core.CodeClosed)
		_ = kept.Close()
	})
}

// drainJanitor waits until the jobs queued so far are done.
func drainJanitor(s *Store) {
	done := make(chan struct{})
	s.janitor.do(func() { close(done) })
	<-done
}

// TestSpareIsUsed: with the spare ready a roll takes it instead of making a file.
func TestSpareIsUsed(t *testing.T) {
	l := openLog(t, openTest(t, Heap(), "data", Options{}), core.AckPage)
	appendValues(t, l, numbered(150, 1000)...)
	var spare *prepared
	for spare == nil {
		runtime.Gosched()
		l.prep.mu.Lock()
		if len(l.prep.spares) > 0 {
			spare = l.prep.spares[0]
		}
		l.prep.mu.Unlock()
	}
	appendValues(t, l, numbered(150, 1000)...)
	if got := (*l.segs.Load())[1].header.id; got != spare.id {
		t.Errorf("segment %x in use, prepared was %x", got, spare.id)
	}
}

// TestWriterReadersRetention runs all of it at once; the race detector watches.
func TestWriterReadersRetention(t *testing.T) {
	for _, level := range bothSinks {
		bothFS(t, func(t *testing.T, fs FS, dir string) {
			s := openTest(t, fs, dir, Options{HotBytes: 100 << 10, FlushEvery: 2 * time.Millisecond})
			l, err := s.OpenLog(16, 0, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes,
				RetentionBytes: 512 << 10})
			if err != nil {
				t.Fatal(err)
			}
			total := int64(scaled(12_000))
			var done atomic.Bool
			var wg sync.WaitGroup
			for id := range 3 {
				wg.Go(func() { followLog(t, l, id, &done, total) })
			}
			for i := range total {
				l.Begin(i)
				if _, err := l.Add(encodeRecord(fmt.Sprintf("%d %0*d", i, 50+int(i)%800, i)), 1); err != nil {
					t.Error(err)
					break
				}
				if _, err := l.Publish(); err != nil {
					t.Error(err)
					break
				}
				if i%64 == 0 {
					l.RequestSync()
				}
			}
			done.Store(true)
			wg.Wait()
		})
	}
}

// followLog reads until the end, jumping ahead when it was overtaken by retention.
func followLog(t *testing.T, l *Log, id int, done *atomic.Bool, total int64) {
	r := l.Reader(0)
	defer r.Close()
	for r.Offset() < total {
		ended := done.Load()
		limit := l.End()
		if id == 1 {
			limit = l.DurableEnd()
		}
		at := r.Offset()
		run, err := r.Next(limit)
		if core.CodeOf(err) == core.CodeOffsetOutOfRange && err != nil {
			r.Seek(l.Start())
			continue
		}
		if err != nil {
			t.Errorf("reader %d at %d: %v", id, at, err)
			return
		}
		if run == nil && ended && limit == l.End() {
			return
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			record, _, err := core.DecodeRecord(run[core.FrameHeaderSize:h.Length])
			want := fmt.Sprintf("%d %0*d", at, 50+int(at)%800, at)
			if err != nil || h.BaseOffset != at || string(record.Value) != want {
				t.Errorf("reader %d at %d: frame of %d holds %.30q, %v", id, at, h.BaseOffset, record.Value, err)
				return
			}
			at, run = h.NextOffset(), run[h.Size():]
		}
	}
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, level := range bothSinks {
		s := openTest(t, OS(), t.TempDir(), Options{FlushEvery: time.Hour})
		l, err := s.OpenLog(16, 0, LogOptions{Level: level})
		if err != nil {
			t.Fatal(err)
		}
		record, now := encodeRecord("a value of some length"), int64(1)
		publish := func() {
			now++
			l.Begin(now)
			for range 3 {
				if _, err := l.Add(record, 1); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Publish(); err != nil {
				t.Fatal(err)
			}
		}
		publish()
		if n := testing.AllocsPerRun(200, publish); n != 0 {
			t.Errorf("level %v: %v allocations per batch", level, n)
		}
		r := l.Reader(0)
		read := func() {
			r.Seek(0)
			for {
				run, err := r.Next(l.End())
				if err != nil {
					t.Fatal(err)
				}
				if run == nil {
					return
				}
			}
		}
		read()
		if n := testing.AllocsPerRun(100, read); n != 0 {
			t.Errorf("level %v: %v allocations per read", level, n)
		}
		_ = r.Close()
	}
}

// TestNotes: a small file of the folder is complete or as it was before, wherever the power is cut.
func TestNotes(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{})
	if text, err := s.Note("NODE"); err != nil || text != "" {
		t.Fatalf("a note that is not there: %q, %v", text, err)
	}
	if err := s.WriteNote("NODE", "first\n"); err != nil {
		t.Fatal(err)
	}
	var crashed []*MemFS
	fs.Hook(func(string, string) { crashed = append(crashed, fs.Crash(uint64(len(crashed)))) })
	err := s.WriteNote("NODE", "second\n")
	fs.Hook(nil)
	if err != nil || len(crashed) < 4 {
		t.Fatalf("WriteNote: %v after %d steps", err, len(crashed))
	}
	for step, after := range append(crashed, fs.Crash(99)) {
		again := openTest(t, after, "data", Options{})
		text, err := again.Note("NODE")
		last := step == len(crashed)
		if err != nil || text != "second\n" && (last || text != "first\n") {
			t.Errorf("power cut at step %d: %q, %v", step, text, err)
		}
		if err := again.WriteNote("NODE", "third\n"); err != nil {
			t.Errorf("power cut at step %d: writing again: %v", step, err)
		}
	}
}
